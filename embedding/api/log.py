"""The access log, and the last net under every request."""

import logging
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding.api.errors import log_failure

logger = logging.getLogger(__name__)


class RequestLog:
    """Log each request's route, status and time; answer 500 to what nobody caught.

    The route as declared, not the path as sent, since a path or its query may hold a text or a token.
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
        except Exception as error:
            log_failure(error)
            if not status:
                failed = JSONResponse({"detail": "Internal error; it was logged."}, status_code=500)
                await failed(scope, receive, send_and_note)
        route = getattr(scope.get("route"), "path", "(no route)")
        logger.debug("%s %s %d in %.1f ms", scope["method"], route, status, 1e3 * (time.perf_counter() - start))
