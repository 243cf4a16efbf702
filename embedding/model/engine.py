"""The one face that every engine shows to the rest of the service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Task = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the model will read it."""

    text: str
    task: Task
    total: int
    """Tokens of the whole text, with its prompt and the special tokens."""
    kept: int
    """Tokens that the model reads: `total`, or its limit where that is less."""
    ids: Sequence[int] = ()
    """Those tokens, for an engine that reads ids and not the text."""

    @property
    def truncated(self) -> bool:
        return self.kept < self.total


class Engine(Protocol):
    """Turns texts into vectors.

    `tokenize` may run beside `embed`; calls of `embed` must not overlap.
    """

    model_name: str
    description: str
    """Engine, device, number format and threads, for people."""
    width: int
    """Numbers in a vector."""
    batch_tokens: int
    """Tokens in one call beyond which more gain nothing on this device."""
    max_tokens: int | None
    """Tokens that the model reads of one text, or None where it has no limit."""

    def tokenize(self, texts: Sequence[str], task: Task) -> list[Tokens]:
        """Count the tokens of each text under the task's prompt."""

    def embed(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        """The vectors of a batch, in its order: float32, (len(batch), width)."""
