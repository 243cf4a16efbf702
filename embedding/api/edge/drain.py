"""The end of an app: what is under way is answered, what comes now is told to go elsewhere."""

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedding.api.edge.token import PROBES
from embedding.api.errors import Errors
from embedding.serving import Draining

STEP = 0.02
SERVED_TO_THE_END = PROBES | {"/metrics", "/status"}


class Drain:
    """Whether an app takes requests, and how many are under way. The same in every home."""

    def __init__(self, grace: float) -> None:
        self.under_way = 0
        self._grace = grace
        self._begun_at: float | None = None

    @property
    def begun(self) -> bool:
        """Whether the app is told to stop."""
        return self._begun_at is not None

    def begin(self) -> None:
        """Refuse requests from now on; those under way go on. May be called by a signal's handler, and again."""
        self._begun_at = self._begun_at or time.monotonic()

    async def finish(self, notice: float = 0.0) -> bool:
        """Wait until all is answered, and `notice` seconds since the beginning are over; whether all is answered.

        `notice` is for load balancers to see that the app is not ready. Both are cut short by the grace period.
        """
        self.begin()
        begun = self._begun_at or 0.0
        while (waited := time.monotonic() - begun) < self._grace and (self.under_way or waited < notice):
            await asyncio.sleep(STEP)
        return not self.under_way


class DrainGate:
    """Count the requests under way, and refuse new ones once the app drains. Each answer then ends its connection."""

    def __init__(self, app: ASGIApp, drain: Drain, errors: Errors) -> None:
        self.app = app
        self._drain = drain
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._drain.begun:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        app = self.app
        if self._drain.begun and scope["path"] not in SERVED_TO_THE_END:
            app = self._errors.answer(scope, Draining("the service is stopping"))
        self._drain.under_way += 1
        try:
            await app(scope, receive, send_and_close)
        finally:
            self._drain.under_way -= 1
