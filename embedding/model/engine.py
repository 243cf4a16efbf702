"""What every engine offers to the rest of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Task = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text as the model will read it."""

    text: str
    task: Task
    total: int
    """Tokens of the whole text, with its prompt and the special tokens."""
    kept: int
    """Tokens that the model reads: `total`, or its limit for the task where that is less."""
    ids: Sequence[int] = ()
    """The ids of those tokens; empty where a model has no fast tokenizer."""
    prompt: str | None = None
    """The prompt where it isn't the task's own."""
    at_least: bool = False
    """`total` is a lower bound: what is beyond the model's limit was not counted to its end."""

    @property
    def truncated(self) -> bool:
        return self.kept < self.total


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What computes the vectors."""

    model: str
    engine: str
    device: str
    precision: str
    threads: int
    dimension: int
    """Numbers in a vector."""
    matryoshka_dimensions: Sequence[int]
    """The dimensions to which a vector may be cut, and normalised again (Matryoshka): `dimension` first, and alone for
    most models."""
    max_tokens: int | None
    """Tokens that the model reads of one text, its prompt included, under either task; None where it has no limit."""
    task_max_tokens: Mapping[Task, int | None]
    """The same for each task: a few models read more of a document than of a query."""
    revision: str | None = None
    """The model's commit, or the start of a digest of its files where it has none."""
    fidelity: float | None = None
    """Mean cosine to SentenceTransformer in float32, as measured when the model was prepared; None: it is that."""

    def __str__(self) -> str:
        fidelity = "the reference" if self.fidelity is None else f"fidelity {self.fidelity:.4f}"
        return f"{self.engine} on {self.device}, {self.precision}, {self.threads} threads, {fidelity}"


class Engine(Protocol):
    """Turns texts into vectors. `tokenize` may run beside `embed`."""

    info: EngineInfo
    batch_tokens: int
    """Tokens in one call beyond which more gain nothing on this device."""
    parallel_calls: int
    """Calls of `embed` that may overlap."""

    @property
    def prompts(self) -> Mapping[str, str | None]:
        """The model's prompts by name, `query` and `document` among them."""

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        """Each text under the task's prompt, or under `prompt`, cut at the model's limit."""

    def token_starts(self, text: str) -> list[int]:
        """Where each token of the bare text begins, as character offsets, rising; no token is left out."""

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        """The vectors of a batch, in its order: float32, (len(batch), dimension). Raises TextError."""


def least_limit(limits: Mapping[Task, int | None]) -> int | None:
    """The tokens that are read under either task; None where neither has a limit."""
    return min((limit for limit in limits.values() if limit is not None), default=None)
