"""The access log, and the last net under every request."""

import asyncio
import logging
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding.api.errors import log_failure

logger = logging.getLogger(__name__)

FAILED = JSONResponse({"detail": "Internal error; it was logged."}, status_code=500)
STOPPING = JSONResponse({"detail": "The service is stopping."}, status_code=503, headers={"Retry-After": "5"})
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLog:
    """Log each request's route, status and time; answer 500 to what nobody caught.

    The route as declared, not the path as sent, since a path, its query or even a method may hold a text or a token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            # The server stops, and its patience has run out.
            if not status:
                await STOPPING(scope, receive, send_and_note)
        except Exception as error:
            log_failure(error)
            if not status:
                await FAILED(scope, receive, send_and_note)
        route = getattr(scope.get("route"), "path", "(no route)")
        method = scope["method"] if scope["method"] in METHODS else "(other)"
        logger.debug("%s %s %d in %.1f ms", method, route, status, 1e3 * (time.perf_counter() - start))
