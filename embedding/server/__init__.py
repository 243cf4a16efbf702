"""The local home: the app on a port of this machine, from the first connection to the exit status."""

from embedding.server.home import serve

__all__ = ["serve"]
