"""The one check between every engine and its callers: a vector that is not finite is never handed out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embedding.model.engine import EngineInfo, ServedEngine, Task, Token, TokenizedText
from embedding.model.errors import NotFinite, NoTokens


class CheckedEngine:
    """An engine whose `embed` raises NoTokens and NotFinite, each naming its texts."""

    def __init__(self, engine: ServedEngine) -> None:
        self._engine = engine
        self.info: EngineInfo = engine.info
        self.batch_tokens = engine.batch_tokens
        self.parallel_calls = engine.parallel_calls

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return self._engine.prompts

    @property
    def calibration(self) -> NDArray[np.float32]:
        return self._engine.calibration

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return self._engine.tokenize(texts, task, prompt)

    def token_starts(self, text: str) -> list[int]:
        return self._engine.token_starts(text)

    def tokens(self, text: str, task: Task, prompt: str = "", special: bool = True) -> list[Token]:
        return self._engine.tokens(text, task, prompt, special)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return self._engine.decode(ids, skip_special)

    def embed_tokens(self, text: TokenizedText) -> NDArray[np.float32]:
        if not text.kept:
            raise NoTokens([0])
        vectors = self._engine.embed_tokens(text)
        if not np.isfinite(vectors).all():
            raise NotFinite([0])
        return vectors

    def embed_spans(self, text: TokenizedText, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        vectors = self._engine.embed_spans(text, spans)
        if not np.isfinite(vectors).all():
            raise NotFinite([0])
        return vectors

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        if empty := [index for index, text in enumerate(batch) if not text.kept]:
            raise NoTokens(empty)
        vectors = self._engine.embed(batch)
        if len(batch) > 1:
            # Some encoders overflow on a padded batch and not on a text alone.
            for index in _not_finite(vectors):
                vectors[index] = self._engine.embed([batch[index]])[0]
        if bad := _not_finite(vectors):
            raise NotFinite(bad)
        return vectors


def _not_finite(vectors: NDArray[np.float32]) -> list[int]:
    return [int(index) for index in np.flatnonzero(~np.isfinite(vectors).all(axis=1))]
