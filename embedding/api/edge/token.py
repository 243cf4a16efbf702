"""The token: asked for on every path but the few that are open."""

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from embedding.api.errors import Errors, Unauthorized

PROBES = frozenset({"/health", "/health/", "/livez", "/readyz"})
OPEN_PATHS = PROBES | {"/", "/status", "/docs", "/openapi.json", "/favicon.ico"}
OPEN_FOLDERS = ("/page/", "/docs/")

NO_TOKEN = Unauthorized("A token is needed: send it as 'Authorization: Bearer TOKEN' or 'X-API-Key: TOKEN'.")
WRONG_TOKEN = Unauthorized(
    "This token is not one that the service knows: its owner set it as auth_token, or the demo printed it."
)


class TokenCheck:
    """Answer 401 to a request without one of `tokens`, before its body is read.

    A token comes as `Authorization: Bearer T` or as `X-API-Key: T`. Either will do where both are sent: a private
    Space takes the Authorization header for its own gateway. `open_paths` ask for none.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str], open_paths: frozenset[str], errors: Errors) -> None:
        self.app = app
        self._tokens = [sha256(token.encode()).digest() for token in tokens]
        self._open_paths = open_paths
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_open(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
        elif not (sent := _sent_tokens(Headers(scope=scope))):
            await self._errors.answer(scope, NO_TOKEN)(scope, receive, send)
        elif not self._is_known(sent):
            await self._errors.answer(scope, WRONG_TOKEN)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_open(self, method: str, path: str) -> bool:
        if (method, path) == ("POST", "/"):
            return False  # asks for vectors, where others get the page
        return path in self._open_paths or path.startswith(OPEN_FOLDERS)

    def _is_known(self, sent: Sequence[str]) -> bool:
        # Starlette decodes headers as Latin-1; its bytes are what the client sent. All are compared, by digests of one
        # length, so that the time that it takes says nothing.
        digests = [sha256(token.encode("latin-1")).digest() for token in sent]
        return sum(compare_digest(digest, token) for digest in digests for token in self._tokens) > 0


def _sent_tokens(headers: Headers) -> list[str]:
    sent = headers.getlist("x-api-key")
    for authorization in headers.getlist("authorization"):
        scheme, _, bearer = authorization.partition(" ")
        if scheme.lower() == "bearer":
            sent.append(bearer)
    return [token for part in sent if (token := part.strip())]
