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
    normalize: bool = True
    """False: its vector is wanted as it is before the model's own normalisation."""

    @property
    def truncated(self) -> bool:
        return self.kept < self.total


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text: `start` to `stop` are its characters there, none where `special` says that it was added."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


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
    normalizes: bool = True
    """Whether the model brings its vectors to length 1."""
    pooling: str | None = None
    """How a text's vector is made of its tokens' vectors, as "mean" or "cls"; None where the model does not say."""
    precision_reason: str | None = None
    """Why the precision is the one, where there was a choice."""

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


class ServedEngine(Engine, Protocol):
    """What `load_engine` gives: an engine that also says what protocols ask for beside vectors."""

    @property
    def calibration(self) -> NDArray[np.float32]:
        """Vectors of sample texts, (texts, dimension): what is known of the range of each number."""

    def tokens(self, text: str, task: Task, prompt: str = "", special: bool = True) -> list[Token]:
        """All tokens of `prompt + text`, with those that the model adds where `special` says so.

        Raises Unsupported where the model's tokenizer can't tell.
        """

    def embed_tokens(self, text: TokenizedText) -> NDArray[np.float32]:
        """The encoder's own vector of each token that was kept, those of the prompt and special ones among them.

        They are float32, (tokens, hidden size), neither pooled nor normalised. Raises TextError, and Unsupported.
        """

    def embed_spans(self, text: TokenizedText, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """A vector for each of a text's spans of tokens, which are read together and pooled apart: (spans, dimension).

        Raises TextError, and Unsupported where the model does not pool by the mean.
        """

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text that has these tokens. Raises Unsupported, and ValueError for an id that is no token's."""


def least_limit(limits: Mapping[Task, int | None]) -> int | None:
    """The tokens that are read under either task; None where neither has a limit."""
    return min((limit for limit in limits.values() if limit is not None), default=None)
