"""Text in, vector out: a token-protected embedding service for SentenceTransformer models."""

__version__ = "0.2.0"
