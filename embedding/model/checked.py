"""The one check between every engine and its callers: a vector that is not finite is never handed out."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embedding.model.engine import Engine, EngineInfo, Task, TokenizedText
from embedding.model.errors import NotFinite, NoTokens


class CheckedEngine:
    """An engine whose `embed` raises NoTokens and NotFinite, each naming its texts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.info: EngineInfo = engine.info
        self.batch_tokens = engine.batch_tokens
        self.parallel_calls = engine.parallel_calls

    @property
    def prompts(self) -> Mapping[str, str | None]:
        return self._engine.prompts

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return self._engine.tokenize(texts, task, prompt)

    def token_starts(self, text: str) -> list[int]:
        return self._engine.token_starts(text)

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
