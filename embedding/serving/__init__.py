"""Many callers to few engine calls: loading, admission and batching. Knows nothing of HTTP or of which engine runs."""

from embedding.serving.errors import NotReady, Overloaded
from embedding.serving.service import Embeddings, Service

__all__ = ["Embeddings", "NotReady", "Overloaded", "Service"]
