"""Turns a SentenceTransformer folder into one that the CPU engine runs, and checks that it gives the same vectors."""

from embedding.model.prepare.prepare import prepare, print_progress

__all__ = ["prepare", "print_progress"]
