"""How much work the service takes on, and for how long."""

from dataclasses import dataclass
from typing import Self

from embedding.settings import Settings

ENGINE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the queue, the engine's calls and the cache."""

    max_concurrent_requests: int = 128
    """Requests under way."""
    max_batch_tokens: int | None = None
    """Tokens in one call of the engine; None: what suits its device."""
    max_queue_tokens: int = 1_000_000
    """Tokens that wait, beside those of requests that fit into one call."""
    max_queue_bytes: int = 32_000_000
    """Memory of texts that wait to be tokenized."""
    request_timeout: float = 60
    """Seconds from a request's admission to its answer."""
    engine_timeout: float = ENGINE_TIMEOUT
    """Seconds after which a call of the engine counts as hung."""
    cache_bytes: int = 64_000_000
    """Memory of the vectors that are kept; 0 keeps none."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            max_concurrent_requests=settings.max_concurrent_requests,
            max_batch_tokens=settings.max_batch_tokens,
            max_queue_tokens=settings.max_queue_tokens,
            request_timeout=settings.request_timeout,
            engine_timeout=max(ENGINE_TIMEOUT, settings.request_timeout),
            cache_bytes=settings.cache_size,
        )
