"""The page at `/` and the documentation at `/docs`: files of this package, under a strict content policy.

By hand and not by StaticFiles: a file is compressed once, not at each request, and its ETag is of its content, where
StaticFiles takes the file's date, which differs between containers of one image.
"""

import gzip
import hashlib
import importlib.util
from functools import cached_property
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

HERE = Path(__file__).parent / "static"
OWN_FILES = ("docs.html", "docs.css", "docs.js", "base.css")
SWAGGER_FILES = ("swagger-ui.css", "swagger-ui-bundle.js")
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

# A Space shows the page in a frame of huggingface.co.
FRAMES = "frame-ancestors 'self' https://huggingface.co"
SAME = "script-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
PAGE_POLICY = f"default-src 'none'; style-src 'self'; {SAME}; {FRAMES}"
# Swagger UI styles its elements one by one.
DOCS_POLICY = f"default-src 'none'; style-src 'self' 'unsafe-inline'; {SAME}; {FRAMES}"

HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked about by its ETag each time
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


class Asset:
    """A file to send, read and compressed when it is first asked for."""

    def __init__(self, path: Path, policy: str) -> None:
        self._path, self._policy = path, policy

    def answer(self, request: Request) -> Response:
        """The file; nothing but 304 to who has it already."""
        headers = {**HEADERS, "Content-Security-Policy": self._policy, "ETag": self._etag}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        media_type = MEDIA_TYPES[self._path.suffix]
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self._content, headers=headers, media_type=media_type)
        headers["Content-Encoding"] = "gzip"
        return Response(self._gzipped, headers=headers, media_type=media_type)

    @cached_property
    def _content(self) -> bytes:
        return self._path.read_bytes()

    @cached_property
    def _gzipped(self) -> bytes:
        return gzip.compress(self._content, mtime=0)

    @cached_property
    def _etag(self) -> str:
        # Weak, for the same file compressed has it too.
        return f'W/"{hashlib.sha256(self._content).hexdigest()[:16]}"'


def page_router() -> APIRouter:
    """The page, its icon and its files under /page/, the documentation, its files under /docs/. All without a token.

    Plain functions, so that reading and compressing happens on a thread and no request for vectors waits for it.
    """
    router = APIRouter(include_in_schema=False)
    page = {path.name: Asset(path, PAGE_POLICY) for path in HERE.iterdir()}
    docs = {path.name: Asset(path, DOCS_POLICY) for path in _docs_files()}

    @router.get("/")
    @router.head("/")
    def home(request: Request) -> Response:
        return page["index.html"].answer(request)

    @router.get("/favicon.ico")
    @router.head("/favicon.ico")
    def icon(request: Request) -> Response:
        return page["icon.svg"].answer(request)

    @router.get("/page/{name}")
    @router.head("/page/{name}")
    def page_file(request: Request, name: str) -> Response:
        return _known(page, name).answer(request)

    @router.get("/docs")
    @router.head("/docs")
    def documentation(request: Request) -> Response:
        return docs["docs.html"].answer(request)

    @router.get("/docs/{name}")
    @router.head("/docs/{name}")
    def documentation_file(request: Request, name: str) -> Response:
        return _known(docs, name).answer(request)

    return router


def _known(assets: dict[str, Asset], name: str) -> Asset:
    if name not in assets:
        raise HTTPException(404, "There is no such file.")
    return assets[name]


def _docs_files() -> list[Path]:
    # Swagger UI's files as the package carries them; none of its code is run.
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi-offline is not installed: pip install -r requirements.txt")
    swagger = Path(spec.origin).parent / "static"
    return [*(HERE / name for name in OWN_FILES), *(swagger / name for name in SWAGGER_FILES)]
