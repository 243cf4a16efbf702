"""The one way in: every home and every test makes its app here."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Security

from embedding.api import ops, predict
from embedding.api.auth import SCHEMES, TokenAuth
from embedding.api.body import BodyLimit
from embedding.api.errors import add_error_handlers
from embedding.api.log import RequestLog
from embedding.api.page import page_router
from embedding.model import load_engine
from embedding.serving import Limits, Service
from embedding.settings import Settings

DESCRIPTION = "Turns text into vectors. Every endpoint but `/health` and `/status` asks for the token."


def create_service(settings: Settings) -> Service:
    """The service without its HTTP side, which has no use for a token."""
    return Service(partial(load_engine, settings), Limits.of(settings))


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """`service`, by default a new one, as an ASGI app; its `state.service` is that.

    The model loads in the background once the app starts, or before where a home calls `service.load_now()`.

    Raises SettingsError where no token is configured.
    """
    service = service or create_service(settings)
    app = FastAPI(
        title="Embedding service",
        description=DESCRIPTION,
        lifespan=_lifespan,
        docs_url=None,  # page_router has it, from this server's own files
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy it would redirect to plain http, and the token with it
    )
    app.state.settings = settings
    app.state.service = service
    app.include_router(ops.router)
    app.include_router(predict.router, dependencies=[Security(scheme) for scheme in SCHEMES])
    app.include_router(page_router())
    add_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(TokenAuth, tokens=settings.required_tokens())
    app.add_middleware(RequestLog)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.service.start()
    yield
    app.state.service.close()
    logging.getLogger(__name__).debug("stopped")
