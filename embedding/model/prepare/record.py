"""Records what SentenceTransformer says of a model: `python -m embedding.model.prepare.record FOLDER NAME`.

Needs torch, and is run by whoever changes the demo's model or the texts that `prepare` compares. It prepares the model
once, of its files alone, and keeps each answer. So a recording has all that will be asked, and the files are known to
give what SentenceTransformer gives. recorded.py has the format.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedding.atomic import whole_file
from embedding.model.engine import Task
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.recordings import RECORDINGS
from embedding.model.prepare import prepare, print_progress
from embedding.model.prepare.checkpoint import require
from embedding.model.prepare.original import LoadedModel, Original, TaskText
from embedding.model.prepare.recorded import key, read_tokenizer, read_weights

ANSWERED_BY = ("sentence-transformers", "transformers", "torch")


class Recorder:
    """The model in `folder`, as its files have it; remembers what it was asked and what SentenceTransformer said."""

    def __init__(self, folder: Path) -> None:
        self._original = LoadedModel(folder)
        self._ids: dict[int, list[int]] = {}
        self._vectors: dict[int, np.ndarray] = {}
        loaded = self._original.checkpoint
        require(not loaded.dense, "a recording of Dense layers")
        self.checkpoint = replace(loaded, tensors=read_weights(folder), backend_tokenizer=read_tokenizer(folder))

    @property
    def tools(self) -> Mapping[str, str]:
        return self._original.tools

    def token_ids(self, task: Task, text: str) -> list[int]:
        return self._ids.setdefault(key(task, text), self._original.token_ids(task, text))

    def vectors(self, texts: Sequence[TaskText]) -> np.ndarray:
        vectors = self._original.vectors(texts)
        self._vectors |= zip((key(*text) for text in texts), vectors, strict=True)
        return vectors

    def arrays(self) -> dict[str, np.ndarray]:
        """The answers, as recorded.py describes them."""
        return {
            "token_keys": np.array(list(self._ids), np.uint64),
            "token_counts": np.array([len(ids) for ids in self._ids.values()], np.int32),
            "token_ids": np.array([id for ids in self._ids.values() for id in ids], np.int32),
            "vector_keys": np.array(list(self._vectors), np.uint64),
            "vectors": np.array(list(self._vectors.values())),
        }


def record(folder: Path, path: Path) -> None:
    """Writes `path` and its .npz. Raises ModelUnavailable where the model has more to it than a recording holds."""
    recorder = Recorder(folder)
    with tempfile.TemporaryDirectory() as temporary:
        prepare(folder, Path(temporary) / "model", precision="float32", report=print_progress, original=recorder)
    with whole_file(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, allow_pickle=False, **recorder.arrays())
    with whole_file(path) as file:
        file.write(json.dumps(_about(recorder, content_digest(folder)), indent=1).encode() + b"\n")


def _about(original: Original, content: str) -> dict[str, Any]:
    checkpoint = original.checkpoint
    config = checkpoint.config.to_dict()
    del config["_name_or_path"]  # where the model was on the machine that recorded it
    return {
        "content": content,
        "config": config,
        "prompts": checkpoint.prompts,
        "tokenizer": {task: asdict(settings) for task, settings in checkpoint.tokenizer.items()},
        "pooling": checkpoint.pooling,
        "normalize": checkpoint.normalize,
        "truncate_dim": checkpoint.truncate_dim,
        "tools": {tool: original.tools[tool] for tool in ANSWERED_BY},
    }


def main(folder: str, name: str) -> int:
    try:
        record(Path(folder), RECORDINGS / f"{name}.json")
    except ModelUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
