"""The limit on a request's body, kept before the whole of it is in memory."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_BYTES = 64_000_000


class BodyLimit:
    """Raise a 413 to whoever reads a body of more than `max_bytes`, announced or not.

    What is too much is read and dropped first, up to a bound: many clients look for an answer only once they have sent
    everything. Not for one that asked with `Expect: 100-continue`, which waits for the answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused_early = "expect" in headers and int(headers.get("content-length", 0)) > self._max_bytes
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            if not refused_early:
                message = await receive()
                received += len(message.get("body", b""))
                if received <= self._max_bytes:
                    return message
                while message.get("more_body") and received < DRAIN_BYTES:
                    message = await receive()
                    received += len(message.get("body", b""))
            raise HTTPException(413, f"is larger than {self._max_bytes} bytes (MAX_BODY_BYTES)")

        await self.app(scope, receive_within_limit, send)
