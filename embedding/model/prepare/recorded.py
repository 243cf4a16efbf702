"""A model of which SentenceTransformer was asked beforehand all that `prepare` asks: preparing it needs no torch.

A recording is two files of embedding/model/recordings. NAME.json says what the model is: the digest of its files (by
which it is found, so that it never stands for another model), its settings, and the versions of what answered. NAME.npz
has the answers, each under a key of its task and text:

    token_keys (n,) uint64, token_counts (n,), token_ids (their sum,)     what the model reads of a text
    vector_keys (m,) uint64, vectors (m, dimension) float32               as SentenceTransformer gave them, uncut

The weights and the tokenizer are those of the model's own files.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tokenizers

from embedding.model.engine import Task
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.manifest import TOKENIZER, TOOLS, TokenizerSettings
from embedding.model.prepare.checkpoint import Checkpoint
from embedding.model.prepare.original import TaskText

WEIGHTS = "model.safetensors"


class RecordedModel:
    """The model in `folder`, by what the file `recording` says of it."""

    def __init__(self, folder: Path, recording: Path) -> None:
        self._folder, self._recording = folder, recording
        self._about: dict[str, Any] = json.loads(recording.read_bytes())
        with np.load(recording.with_suffix(".npz")) as arrays:
            ids = np.split(arrays["token_ids"], np.cumsum(arrays["token_counts"])[:-1])
            self._ids = dict(zip(arrays["token_keys"].tolist(), ids, strict=True))
            self._vectors = dict(zip(arrays["vector_keys"].tolist(), arrays["vectors"], strict=True))

    @cached_property
    def checkpoint(self) -> Checkpoint:
        about = self._about
        settings: dict[Task, TokenizerSettings] = {
            task: TokenizerSettings(**each) for task, each in about["tokenizer"].items()
        }
        return Checkpoint(
            config=SimpleNamespace(**about["config"]),
            tensors=read_weights(self._folder),
            backend_tokenizer=read_tokenizer(self._folder),
            prompts=about["prompts"],
            tokenizer=settings,
            max_tokens=max(each.max_tokens or 0 for each in settings.values()),
            layers=about["config"]["num_hidden_layers"],
            pooling=about["pooling"],
            dense=(),
            normalize=about["normalize"],
            truncate_dim=about["truncate_dim"],
        )

    @property
    def tools(self) -> Mapping[str, str]:
        """Those that answered, as recorded, and those that do the rest, as they are here."""
        return {tool: self._about["tools"].get(tool) or version(tool) for tool in TOOLS}

    def token_ids(self, task: Task, text: str) -> list[int]:
        ids: list[int] = self._find(self._ids, task, text).tolist()
        return ids

    def vectors(self, texts: Sequence[TaskText]) -> np.ndarray:
        return np.array([self._find(self._vectors, task, text) for task, text in texts])

    def _find(self, answers: Mapping[int, np.ndarray], task: Task, text: str) -> np.ndarray:
        try:
            return answers[key(task, text)]
        except KeyError:
            again = f"python -m embedding.model.prepare.record {self._folder} {self._recording.stem}"
            raise ModelUnavailable(
                f"{self._recording} lacks a text that this version compares. Record the model again: {again}"
            ) from None


def key(task: Task, text: str) -> int:
    """What an answer is found by: 64 bits of a digest."""
    return int.from_bytes(hashlib.sha256(f"{task}\0{text}".encode()).digest()[:8], "little")


def read_weights(folder: Path) -> Mapping[str, np.ndarray]:
    """The tensors of a model's one file of weights."""
    from safetensors.numpy import load_file

    return load_file(folder / WEIGHTS)


def read_tokenizer(folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a model's own file."""
    return tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
