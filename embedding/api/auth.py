"""The token: asked for on every path but the few that are open."""

from collections.abc import Sequence
from hmac import compare_digest

from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/", "/health", "/status", "/docs", "/openapi.json"})
OPEN_FOLDERS = ("/page/", "/docs/")

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
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self.app(scope, receive, send)
        elif not (sent := _sent_tokens(Headers(scope=scope))):
            await _no_token(scope, receive, send)
        elif not self._known(sent):
            await _wrong_token(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _known(self, sent: Sequence[str]) -> bool:
        # Starlette decodes headers as Latin-1; its bytes are what the client sent.
        return any(compare_digest(s.encode("latin-1"), t) for s in sent for t in self._tokens)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _sent_tokens(headers: Headers) -> list[str]:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    sent = [headers.get("x-api-key", ""), bearer if scheme.lower() == "bearer" else ""]
    return [token for part in sent if (token := part.strip())]


def _unauthorized(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status_code=401, headers={"WWW-Authenticate": "Bearer"})


_no_token = _unauthorized("A token is needed: send it as 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'.")
_wrong_token = _unauthorized(
    "This token is not one that the service knows: its owner set it as auth_token, or the demo printed it."
)
