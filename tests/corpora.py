"""Corpora for the tests of `embed`: small inputs, a job run in this process, and what came out."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from embedding.model import Engine, Task, TokenizedText
from embedding.settings import CorpusSettings
from tests.fake_engine import FakeEngine

WORDS = "granite harbour melody quartz ferment lantern vector turbine archive glacier".split()


def made_texts(count: int, longest: int = 12, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(count)]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arxiv_rows(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows as arXiv's own list has them: an abstract of lines with LaTeX, authors, and versions with their dates."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        words = rng.choice(WORDS, 150).tolist()
        lines = [" ".join(words[start : start + 10]) for start in range(0, 150, 10)]
        yield {
            "id": f"{number // 10_000 + 1000:04}.{number % 10_000:05}",
            "authors": "M. Müller, J. O'Neill and C. Bal\\'azs",
            "title": f"On the {words[0]}\n  of {words[1]}",
            "abstract": "  " + "\n".join(lines) + f" with $\\alpha_{{{number}}} \\leq 10^{{-3}}$\n",
            "versions": [{"version": f"v{each + 1}", "created": "Mon, 2 Apr 2007 19:18:42 GMT"} for each in range(2)],
            "update_date": "2008-11-26",
            "authors_parsed": [["Müller", "M.", ""]],
        }


class WordEngine(FakeEngine):
    """An engine that costs nothing: a token a word, and no limit to them."""

    batch_tokens = 4096
    info = replace(FakeEngine.info, max_tokens=None, task_max_tokens={"query": None, "document": None})

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return [TokenizedText(text, task, len(text.split()), len(text.split()), prompt=prompt) for text in texts]


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
