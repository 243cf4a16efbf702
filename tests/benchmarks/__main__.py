"""Measure the engines beside SentenceTransformer in one run: `python -m tests.benchmarks MODEL [--plot DOCS/NAME]`.

Prints a table; every figure is a median, and every ratio is to the reference measured between the same two moments.
`--against COMMAND` adds another server to the HTTP rows: a shell command with {port} in it, answering POST /predict
under the token bench-token; give it twice for one client and for sixteen, where they are started differently.
"""

import argparse
import platform
from pathlib import Path

from embedding.model.machine import available_cores
from tests.benchmarks.engines import fidelity_rows, speed_rows
from tests.benchmarks.http import http_rows, process_rows
from tests.benchmarks.table import Row, as_text, plot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a SentenceTransformer")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each engine")
    parser.add_argument("--against", action="append", default=[], metavar="COMMAND", help="another server, see above")
    parser.add_argument("--plot", type=Path, help="write NAME.png and NAME.svg too")
    parser.add_argument("--name", help="what the model is called in the title; by default its folder")
    options = parser.parse_args()
    rows: list[Row] = []
    for part in (
        speed_rows(options.model, options.rounds),
        fidelity_rows(options.model),
        http_rows(options.model, options.against),
        process_rows(options.model),
    ):
        rows += part
    title = f"{options.name or options.model.name} on {machine()}"
    print(as_text(title, rows))
    if options.plot:
        plot(title, rows, options.plot)


def machine() -> str:
    """The processor, its cores that are ours, and the instructions that matter to int8."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{platform.processor() or platform.machine()}, {available_cores()} cores"
    name = info.split("model name")[1].split(":")[1].split("\n")[0].strip()
    flags = set(info.split("flags")[1].split(":")[1].split("\n")[0].split())
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx_vnni": "AVX-VNNI"}
    return f"{name}, {available_cores()} cores, {' '.join(said for flag, said in known.items() if flag in flags)}"


if __name__ == "__main__":
    main()
