"""Turns a SentenceTransformer folder into one that the CPU engine runs, and checks that it gives the same vectors."""

from embedding.model.prepare.prepare import prepare, say

__all__ = ["prepare", "say"]
