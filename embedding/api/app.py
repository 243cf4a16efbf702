"""The one way in: every home and every test makes its app here."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from embedding.api import ops
from embedding.api.edge.body import Bodies
from embedding.api.edge.drain import Drain, DrainGate
from embedding.api.edge.log import RequestLog
from embedding.api.edge.methods import allowed_methods, options
from embedding.api.edge.token import OPEN_PATHS, TokenCheck
from embedding.api.errors import CallerLeft, Errors, Refused
from embedding.api.observer import MetricsObserver, observe
from embedding.api.openapi import add_components
from embedding.api.page import page_router
from embedding.api.protocols import cohere, ollama, openai, predict, tei
from embedding.api.protocols.models import known
from embedding.api.protocols.options import check_defaults
from embedding.model import Report, ServedEngine, Unsupported, load_engine
from embedding.serving import DeadlineExceeded, Limits, Service, TooLarge, Unavailable
from embedding.settings import Settings, SettingsError
from embedding.telemetry.metrics import Metrics
from embedding.telemetry.tracing import Tracer, tracer_from_environment

DESCRIPTION = "Turns text into vectors. All but the page and the probes ask for the token."
PROTOCOLS = (
    predict.PROTOCOL,
    openai.PROTOCOL,
    cohere.PROTOCOL,
    tei.PROTOCOL,
    ollama.PROTOCOL,
)
# The headers that a page elsewhere may read.
EXPOSED = (
    *("Retry-After", "Server-Timing", "WWW-Authenticate", "X-Dtype", "X-Model-Id", "X-Model-Revision"),
    *("X-Request-ID", "X-Shape", "X-Truncated", "X-Truncated-Texts"),
)


def create_service(settings: Settings) -> Service:
    """The service without its HTTP side, which has no use for a token."""
    return Service(partial(_load, settings), Limits.of(settings), MetricsObserver(Metrics()))


def create_app(settings: Settings, service: Service | None = None, tracer: Tracer | None = None) -> FastAPI:
    """`service`, by default a new one, as an ASGI app; traced by `tracer`, by default as the environment says.

    The model loads in the background once the app starts, or before where a home calls `service.load_now()`. As the
    app ends, it first answers what is under way. Its `state` has `settings`, `service`, `metrics`, and the `drain` by
    which a home lets it end.

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
    app.state.bodies = Bodies(settings.max_body_bytes)
    app.state.drain = drain = Drain(settings.grace_period)
    app.state.tracer = tracer = tracer or tracer_from_environment()
    app.state.metrics = metrics = observe(service)

    routers = [*(protocol.router for protocol in PROTOCOLS), ops.router, page_router()]
    for router in routers:
        app.include_router(router)
    errors = Errors({path: protocol.render_error for protocol in PROTOCOLS for path in _paths(protocol.router)})
    _handle_errors(app, errors)
    add_components(app, [body for protocol in PROTOCOLS for body in protocol.bodies], partial(known, app.state))

    # From the inside out.
    open_paths = OPEN_PATHS | ({"/metrics"} if settings.metrics_open else set())
    app.add_middleware(TokenCheck, tokens=settings.required_tokens(), open_paths=open_paths, errors=errors)
    app.add_middleware(DrainGate, drain=drain, errors=errors)
    paths = [path for router in (app, *routers) for path in _paths(router)]
    app.add_middleware(RequestLog, metrics=metrics, errors=errors, paths=paths, tracer=tracer)
    if settings.origins:
        # Outermost, for a browser shows a page no answer without these headers, and asks first without a token.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
    return app


def _load(settings: Settings, report: Report) -> ServedEngine:
    """The engine. Raises what `load_engine` raises, and SettingsError for a default that this model can't have."""
    engine = load_engine(settings, report)
    if wrong := check_defaults(settings, engine):
        raise SettingsError(wrong)
    return engine


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.service.start()
    yield
    await app.state.drain.finish()
    app.state.service.close()
    app.state.bodies.close()
    if app.state.tracer:
        await asyncio.to_thread(app.state.tracer.close)
    logging.getLogger(__name__).debug("stopped")


def _handle_errors(app: FastAPI, errors: Errors) -> None:
    async def wrong_method(request: Request, error: Exception) -> Response:
        allowed = allowed_methods(app, request.scope)
        if request.method == "OPTIONS":
            return options(allowed)
        return errors.answer(request.scope, HTTPException(405, "Method Not Allowed", {"Allow": allowed}))

    for kind in (
        Refused,
        Unavailable,
        DeadlineExceeded,
        TooLarge,
        Unsupported,
        CallerLeft,
        HTTPException,
        RequestValidationError,
    ):
        app.add_exception_handler(kind, errors.handle)
    app.add_exception_handler(405, wrong_method)


def _paths(router: object) -> list[str]:
    return [route.path for route in getattr(router, "routes", ()) if hasattr(route, "path")]
