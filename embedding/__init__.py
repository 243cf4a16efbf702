"""Text in, vector out: a token-protected embedding service for SentenceTransformer models."""
