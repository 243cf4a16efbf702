"""arXiv-shaped JSONL end to end with an engine that costs nothing: `python -m tests.benchmarks.arxiv [--rows 50000]`.

It says what reading, cutting and writing cost beside the engine, in seconds of the processor, and what 100 appended
rows cost. It ends with an error where the counts do not add up, or the append embeds more than what was appended.
"""

import argparse
import io
import json
import tempfile
import time
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from embedding.corpus import SHARDS, Progress, Summary
from tests.corpora import Corpus, WordEngine, arxiv_rows

APPENDED = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "arxiv.jsonl", Path(folder) / "vectors"
        made = arxiv_rows(rows + APPENDED)
        with source.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in islice(made, rows))
        print(f"{rows:,} rows, {source.stat().st_size / 1e6:,.0f} MB")
        summary = _embed("all", source, output)
        assert (summary.rows, summary.documents, summary.rejects) == (rows, rows, 0), summary
        assert pq.read_table(output / SHARDS, columns=["row"])["row"].to_pylist() == list(range(rows))
        before = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).iterdir()}
        with source.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in made)
        appended = _embed(f"{APPENDED} appended", source, output)
        after = {path.name: path.stat().st_mtime_ns for path in (output / SHARDS).iterdir()}
        assert before.items() <= after.items(), "files were made anew that nothing was appended to"
        assert appended.rows == rows + APPENDED, appended
        print(f"{len(after) - len(before)} of {len(after)} files made anew")


def _embed(what: str, source: Path, output: Path) -> Summary:
    engine, start = WordEngine(), time.process_time()
    summary = Corpus(engine, Path("words")).embed(
        source, output, progress=Progress(io.StringIO()), keep="authors,versions"
    )
    texts = sum(len(call) for call in engine.calls)
    print(f"{what}: {texts:,} texts embedded, {time.process_time() - start:,.1f} s of the processor")
    return summary


if __name__ == "__main__":
    main()
