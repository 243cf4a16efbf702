"""Many callers to few engine calls: loading, admission and batching. Knows nothing of HTTP or of which engine runs."""

from embedding.serving.errors import (
    DeadlineExceeded,
    Draining,
    EngineFailed,
    NotReady,
    Overloaded,
    TextFailed,
    TooLarge,
    Unavailable,
)
from embedding.serving.limits import Limits
from embedding.serving.observer import Observer, Timings
from embedding.serving.pipeline import Embeddings
from embedding.serving.service import Service

__all__ = [
    "DeadlineExceeded",
    "Draining",
    "Embeddings",
    "EngineFailed",
    "Limits",
    "NotReady",
    "Observer",
    "Overloaded",
    "Service",
    "TextFailed",
    "Timings",
    "TooLarge",
    "Unavailable",
]
