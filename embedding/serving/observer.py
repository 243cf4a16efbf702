"""What the service tells whoever measures it. Numbers and names of causes only, never a text."""

from dataclasses import dataclass
from typing import Literal

Cause = Literal["not_ready", "draining", "requests", "bytes", "tokens", "deadline", "too_large"]
"""Why a request is turned away: not loaded or not live; stopping; as many requests, bytes of text or tokens wait as
may; by its estimate it would miss its deadline; it could not be done in a deadline even alone."""

EngineError = Literal["raised", "out_of_memory", "bad_result", "not_finite"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's seconds went. A request that the cache answers has a `total` alone."""

    queue: float = 0.0
    tokenization: float = 0.0
    engine: float = 0.0
    total: float = 0.0


class Observer:
    """Is told of each event on the event loop's thread, and must be quick. This one ignores them all."""

    def rejected(self, cause: Cause) -> None:
        """A request is turned away."""

    def cache(self, hits: int, misses: int) -> None:
        """So many texts of a request were in the cache or already under way, and so many were not."""

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """A call of the engine gave vectors."""

    def engine_error(self, kind: EngineError) -> None:
        """A call of the engine failed, or some of its vectors are unusable."""

    def text_failed(self) -> None:
        """A text alone gets no vector."""

    def expired(self) -> None:
        """A request missed its deadline."""

    def abandoned(self) -> None:
        """A request's caller left before its end."""

    def finished(self, timings: Timings, texts: int, tokens: int, truncated: int) -> None:
        """A request is answered: so many texts, tokens that the model reads of them, and texts that were cut."""
