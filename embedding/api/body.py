"""The limit on a request's body, kept before the whole of it is in memory."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Raise a 413 to whoever reads a body of more than `max_bytes`, announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        expected = int(announced) if announced.isdecimal() else 0
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            if expected <= self._max_bytes:
                message = await receive()
                received += len(message.get("body", b""))
            if max(expected, received) > self._max_bytes:
                raise HTTPException(413, f"is larger than {self._max_bytes} bytes (MAX_BODY_BYTES)")
            return message

        await self.app(scope, receive_within_limit, send)
