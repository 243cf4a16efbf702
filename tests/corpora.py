"""Corpora for the tests of `embed`: small inputs, a job run in this process, and what came out."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedding.corpus import (
    SHARDS,
    Job,
    Map,
    Progress,
    Shard,
    ShardReport,
    Summary,
    describe,
    embed_corpus,
    open_input,
)
from embedding.corpus.local import local_map
from embedding.model import Engine
from embedding.settings import CorpusSettings

WORDS = "granite harbour melody quartz ferment lantern vector turbine archive glacier".split()


def made_texts(count: int, longest: int = 12, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(count)]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Corpus:
    """Runs jobs with one engine. `map` is made anew for each output folder."""

    def __init__(self, engine: Engine, model: Path) -> None:
        self.engine = engine
        self.folder = model
        self.model = describe(engine, model.name)

    def embed(
        self,
        address: Path | str | list[str],
        output: Path,
        map: Map | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Summary:
        return embed_corpus(
            open_input(address if isinstance(address, list) else str(address), output, CorpusSettings.read(**options)),
            output,
            self.model,
            map or self.map(output),
            progress=progress or Progress(io.StringIO()),
        )

    def map(self, output: Path, done: Callable[[ShardReport], None] = lambda _: None) -> Map:
        def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
            for report in local_map(self.engine, job, shards, output / SHARDS):
                done(report)
                yield report

        return map

    def vectors(self, texts: list[str]) -> np.ndarray:
        """What `encode_document` gives of whole texts."""
        return self.engine.embed(self.engine.tokenize(texts, "document"))


def table(output: Path) -> pa.Table:
    """All of an output, in the order of the rows."""
    return pq.read_table(output / SHARDS).sort_by([("row", "ascending"), ("chunk", "ascending")])


def matrix(found: pa.Table) -> np.ndarray:
    return np.array(found["vector"].to_pylist())


def rejects(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "rejects.jsonl").read_text().splitlines()]


def manifest(output: Path) -> dict[str, Any]:
    return json.loads((output / "manifest.json").read_text())


def contents(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}
