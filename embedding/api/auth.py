"""The token: asked for on every path but the few that are open."""

from collections.abc import Sequence
from hmac import compare_digest

from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/", "/health", "/docs", "/docs/oauth2-redirect", "/openapi.json"})

# What /docs offers behind its authorise button; TokenAuth below is what checks.
SCHEMES = (HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False))


class TokenAuth:
    """Answer 401 to a request without one of `tokens`, before its body is read.

    A token comes as `Authorization: Bearer T` or as `X-API-Key: T`. Either will do where both are sent: a private
    Space takes the Authorization header for its own gateway.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str]) -> None:
        self.app = app
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._known(Headers(scope=scope)):
            await _unauthorized(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _known(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        sent = [headers.get("x-api-key", "")] + ([bearer] if scheme.lower() == "bearer" else [])
        # Starlette decodes headers as Latin-1; its bytes are what the client sent.
        return any(compare_digest(s.strip().encode("latin-1"), t) for s in sent for t in self._tokens)


_unauthorized = JSONResponse(
    {"detail": "A token is needed: send it as 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'."},
    status_code=401,
    headers={"WWW-Authenticate": "Bearer"},
)
