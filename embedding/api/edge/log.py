"""Each request's id, times and outcome: in its answer's headers, in the log and in the metrics."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding.api.edge.token import PROBES
from embedding.api.errors import CALLER_LEFT, Errors, log_failure
from embedding.serving import Draining, Embeddings
from embedding.telemetry.metrics import Metrics
from embedding.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
QUIET = PROBES | {"/metrics", "/status"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "(other)"


@dataclass(slots=True)
class Record:
    """What is known of a request while it is under way."""

    id: str
    start: float = field(default_factory=time.perf_counter)
    status: int = 0
    embeddings: Embeddings | None = None

    @property
    def seconds(self) -> float:
        """Since the request came in."""
        return time.perf_counter() - self.start

    def parts(self) -> dict[str, float]:
        """The seconds of it that the service measured, in the order in which they went by; none without vectors."""
        if self.embeddings is None:
            return {}
        timings = self.embeddings.timings
        return {"tokenization": timings.tokenization, "queue": timings.queue, "engine": timings.engine}

    def numbers(self) -> dict[str, float]:
        """What the log says: counts of texts and tokens, and milliseconds; nothing without vectors."""
        if self.embeddings is None:
            return {}
        tokens = self.embeddings.tokens
        return {
            "texts": len(tokens),
            "tokens": sum(text.kept for text in tokens),
            "truncated": self.embeddings.truncated,
            "cached": self.embeddings.cached,
            **{f"{name}_ms": round(1e3 * seconds, 1) for name, seconds in self.parts().items()},
        }

    def server_timing(self) -> str:
        """The value of Server-Timing: milliseconds, as browsers show them."""
        parts = {**self.parts(), "total": self.seconds}
        return ", ".join(f"{name};dur={1e3 * seconds:.2f}" for name, seconds in parts.items())


def record_of(request: Request) -> Record:
    """The record that RequestLog made for `request`."""
    record: Record = request.scope["record"]
    return record


class RequestLog:
    """Log and measure each request, and answer 500 to what nobody caught.

    The route is logged as declared, not the path as sent: a path, its query or even a method may hold a text or token.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, errors: Errors, paths: Iterable[str], tracer: Tracer | None = None
    ) -> None:
        self.app = app
        self._tracer = tracer
        self._metrics = metrics
        self._errors = errors
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = scope["record"] = Record(_request_id(scope))

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                told = [(b"x-request-id", record.id.encode()), (b"server-timing", record.server_timing().encode())]
                message = {**message, "headers": [*message["headers"], *told]}
            await send(message)

        async def answer(error: Exception) -> None:
            if not record.status:
                await self._errors.answer(scope, error)(scope, receive, send_and_note)

        self._metrics.requests_in_progress.inc()
        try:
            await self.app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            # The server stops, and its patience has run out.
            await answer(Draining("the service is stopping"))
        except Exception as error:
            log_failure(error)
            await answer(error)
        finally:
            self._metrics.requests_in_progress.dec()
            self._note(scope, record)

    def _note(self, scope: Scope, record: Record) -> None:
        known = scope["path"] if scope["path"] in self._paths else OTHER
        route = scope["route"].path if "route" in scope else known
        method = scope["method"] if scope["method"] in METHODS else OTHER
        status, seconds = record.status or CALLER_LEFT, record.seconds
        self._metrics.requests.labels(route, status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if self._tracer and route not in QUIET:
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
            }
            self._tracer.record(f"{method} {route}", seconds, record.parts(), attributes, Headers(scope=scope))
        level = logging.DEBUG if route in QUIET else logging.INFO
        if not logger.isEnabledFor(level):
            return
        facts = {"request_id": record.id, "total_ms": round(1e3 * seconds, 1), **record.numbers()}
        words = " ".join(f"{name}={value}" for name, value in facts.items())
        fields = {"method": method, "route": route, "status": status, **facts}
        logger.log(level, "%s %s %d %s", method, route, status, words, extra=fields)


def _request_id(scope: Scope) -> str:
    """The caller's own id where it can't be anything else, or a new one."""
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(16)
