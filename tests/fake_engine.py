"""An engine that does as a test says: it waits, fails, or returns what no engine should."""

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from embedding.model import EngineInfo, Task, TokenizedText

DIMENSION = 3


def vector_of(text: str) -> list[float]:
    """The vector of a text, which no other text shares."""
    return [float(len(text)), float(zlib.crc32(text.encode()) % 65521), 1.0]


class FakeEngine:
    """A token a word. `respond` makes a call's result, by default the texts' vectors; `gate` lets calls end."""

    batch_tokens = 64
    parallel_calls = 1
    prompts: Mapping[str, str | None] = {}
    info = EngineInfo(
        "fake", "fake", "cpu", "float32", 1, DIMENSION, (DIMENSION,), 100, {"query": 100, "document": 100}
    )

    def __init__(self, respond: Callable[[list[str]], Any] | None = None) -> None:
        self.calls: list[list[str]] = []
        self.gate, self.tokenizer_gate = threading.Event(), threading.Event()
        self.gate.set()
        self.tokenizer_gate.set()
        self.tokenized: list[str] = []
        self._respond = respond or vectors_of

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        self.tokenized.extend(texts)
        self.tokenizer_gate.wait()
        if any("untokenizable" in text for text in texts):
            raise ValueError("no tokens for you")
        counts = [len(text.split()) for text in texts]
        return [TokenizedText(t, task, n, min(n, 100), prompt=prompt) for t, n in zip(texts, counts, strict=True)]

    def token_starts(self, text: str) -> list[int]:
        raise NotImplementedError

    def embed(self, batch: Sequence[TokenizedText]) -> Any:
        texts = [text.text for text in batch]
        self.calls.append(texts)
        self.gate.wait()
        return self._respond(texts)

    def embed_tokens(self, text: TokenizedText) -> Any:
        self.calls.append([text.text])
        self.gate.wait()
        return np.repeat(self._respond([text.text]), text.kept, axis=0)


def vectors_of(texts: list[str]) -> np.ndarray:
    return np.array([vector_of(text) for text in texts], np.float32)
