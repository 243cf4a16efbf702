"""The client that other programs import. It stands alone: it needs httpx and numpy, and nothing else of this package.

>>> from embedding.client import EmbeddingClient
>>> with EmbeddingClient("http://127.0.0.1:7860", "choose-a-secret") as client:
...     documents = client.embed_documents(["Galaxies form when gas cools.", "Bread rises when yeast ferments."])
...     scores = client.similarity(client.embed_query("How do galaxies form?"), documents)
"""

from embedding.client.answers import Model, ServiceInfo
from embedding.client.client import AsyncEmbeddingClient, EmbeddingClient
from embedding.client.errors import (
    AnswerError,
    AuthenticationError,
    ColdStartTimeout,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    EmbeddingError,
    InvalidInput,
    ModelChanged,
    Overloaded,
    ServiceUnavailable,
    TextTooLong,
    Unavailable,
)

__all__ = [
    "AnswerError",
    "AsyncEmbeddingClient",
    "AuthenticationError",
    "ColdStartTimeout",
    "ConfigurationError",
    "ConnectionFailed",
    "DeadlineExceeded",
    "EmbeddingClient",
    "EmbeddingError",
    "InvalidInput",
    "Model",
    "ModelChanged",
    "Overloaded",
    "ServiceInfo",
    "ServiceUnavailable",
    "TextTooLong",
    "Unavailable",
]
