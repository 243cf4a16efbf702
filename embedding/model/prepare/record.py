"""Records what SentenceTransformer says of a model: `python -m embedding.model.prepare.record FOLDER NAME`.

Needs torch, and is run by whoever changes the demo's model or the texts that `prepare` compares. It prepares the model
once and keeps each answer, so that a recording has all that will be asked. recorded.py has the format.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from embedding.atomic import whole_file
from embedding.model.engine import Task
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.recordings import RECORDINGS
from embedding.model.prepare import prepare, print_progress
from embedding.model.prepare.checkpoint import Checkpoint, require
from embedding.model.prepare.original import LoadedModel, Original, TaskText
from embedding.model.prepare.recorded import key, read_tokenizer, read_weights

ANSWERED_BY = ("sentence-transformers", "transformers", "torch")


class Recorder:
    """An original that remembers what it was asked and what it answered."""

    def __init__(self, original: Original) -> None:
        self._original = original
        self._ids: dict[int, list[int]] = {}
        self._vectors: dict[int, np.ndarray] = {}

    @property
    def checkpoint(self) -> Checkpoint:
        return self._original.checkpoint

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
    original = Recorder(LoadedModel(folder))
    _check(original.checkpoint, folder)
    with tempfile.TemporaryDirectory() as temporary:
        prepare(folder, Path(temporary) / "model", precision="float32", report=print_progress, original=original)
    with whole_file(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, allow_pickle=False, **original.arrays())
    with whole_file(path) as file:
        file.write(json.dumps(_about(original, content_digest(folder)), indent=1).encode() + b"\n")


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


def _check(checkpoint: Checkpoint, folder: Path) -> None:
    """Raise UnsupportedModel unless the files alone give the weights and the tokenizer that were loaded."""
    require(not checkpoint.dense, "a recording of Dense layers")
    weights = read_weights(folder)
    for name, tensor in checkpoint.tensors.items():
        if name not in weights and tensor.dtype.kind == "i":
            continue  # a buffer of places or types, which is not saved
        same = name in weights and weights[name].dtype == tensor.dtype and np.array_equal(weights[name], tensor)
        require(same, f"a recording of weights that are loaded otherwise than they are saved ({name})")
    same = _rules(read_tokenizer(folder)) == _rules(checkpoint.backend_tokenizer)
    require(same, "a recording of a tokenizer that is loaded otherwise than it is saved")


def _rules(tokenizer: tokenizers.Tokenizer) -> Any:
    """What a tokenizer does, apart from the limits that each caller sets."""
    return {**json.loads(tokenizer.to_str()), "truncation": None, "padding": None}


def main(folder: str, name: str) -> int:
    try:
        record(Path(folder), RECORDINGS / f"{name}.json")
    except ModelUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
