"""A job's texts a second beside its engine's own: `python -m tests.benchmarks.corpus MODEL [--documents 50000]`.

The engine's own: the same texts in memory, sorted by length, tokenized and embedded in large calls, nothing read and
nothing written. Both take turns, a part of the documents at a time; then the command runs once over them all.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import orjson

from embedding.corpus import SHARDS, Job, Progress, Shard, ShardReport, describe, embed_corpus, open_input
from embedding.corpus.local import local_map
from embedding.model import Engine, load_engine
from embedding.settings import CorpusSettings, Settings
from tests.benchmarks.__main__ import machine
from tests.benchmarks.engines import WORDS
from tests.cli import peak_memory

PARTS = 10
CALL_TEXTS = 256
SHORTEST = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a SentenceTransformer")
    parser.add_argument("--documents", type=int, default=50_000, help="how many are made")
    parser.add_argument("--longest", type=int, default=400, metavar="WORDS", help=f"of them, from {SHORTEST} up")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    settings = Settings.read(model_id=str(options.model), precision=options.precision)
    engine = load_engine(settings)
    texts = list(_texts(options.documents, options.longest))
    made = f"{options.documents:,} documents of {SHORTEST} to {options.longest} words"
    print(f"{made}, {engine.info.model} in {engine.info.precision} on {machine()}")
    rates: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PARTS):
            part = texts[number::PARTS]
            file = _write(part, Path(folder) / f"part{number}.jsonl")
            output = Path(folder) / f"part{number}"
            own = _rate(lambda part=part: _own(engine, part), len(part))
            job = _rate(lambda file=file, output=output: _job(engine, options.model.name, file, output), len(part))
            rates.append((own, job))
            print(f"  {len(part):,} documents: engine {own:,.1f} texts/s, job {job:,.1f} texts/s, {job / own:.3f}")
        ratio = median(job / own for own, job in rates)
        print(f"median: {ratio:.3f} of the engine's own texts/s")
        _command(_write(texts, Path(folder) / "all.jsonl"), Path(folder) / "all", options.model, options.precision)


def _texts(count: int, longest: int) -> Iterator[str]:
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield " ".join(rng.choice(WORDS, rng.integers(SHORTEST, longest + 1)))


def _write(texts: list[str], path: Path) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps({"text": text}) for text in texts))
    return path


def _rate(work: Callable[[], None], texts: int) -> float:
    start = time.perf_counter()
    work()
    return texts / (time.perf_counter() - start)


def _own(engine: Engine, texts: list[str]) -> None:
    ordered = sorted(texts, key=len)
    for start in range(0, len(ordered), CALL_TEXTS):
        engine.embed(engine.tokenize(ordered[start : start + CALL_TEXTS], "document"))


def _job(engine: Engine, name: str, file: Path, output: Path) -> None:
    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        return local_map(engine, job, shards, output / SHARDS)

    with Path(os.devnull).open("w") as nowhere:
        model = describe(engine, name)
        input = open_input(str(file), output, CorpusSettings.read())
        embed_corpus(input, output, model, map, progress=Progress(nowhere))


def _command(file: Path, output: Path, model: Path, precision: str) -> None:
    """The command as a user runs it, over all of them."""
    start = time.perf_counter()
    peak = peak_memory("embed", str(file), "--output", str(output), "--model", str(model), "--precision", precision)
    counts = json.loads((output / "manifest.json").read_text())["counts"]
    rate = counts["documents"] / (time.perf_counter() - start)
    size = file.stat().st_size / 1e6
    print(f"the command over all {size:,.0f} MB: {rate:,.1f} texts/s from its start, {peak:,} MB of memory at most")


if __name__ == "__main__":
    main()
