"""HTTP: the app, its token, its protocols and the shape of its errors. Knows nothing of engines' insides."""

from embedding.api.app import create_app

__all__ = ["create_app"]
