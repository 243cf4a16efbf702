"""What went wrong, as a status and FastAPI's `{"detail": …}`, in one place."""

import logging
import traceback
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embedding.api.disconnect import CallerLeft
from embedding.serving.errors import Overloaded, Unavailable

logger = logging.getLogger(__name__)

UNION_TAGS = ("<one>", "<many>")


class InvalidInput(Exception):
    """A field of the request can't be served: answered 422, naming it."""

    def __init__(self, location: tuple[str | int, ...], kind: str, message: str) -> None:
        super().__init__(message)
        self.location, self.kind = location, kind


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(InvalidInput, _invalid_input)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(CallerLeft, _nobody)
    app.add_exception_handler(HTTPException, _http)


def log_failure(error: Exception) -> None:
    """Log where `error` came from, without its message, which may quote a text."""
    frames = traceback.extract_tb(error.__traceback__)
    logger.error(
        "%s at %s", type(error).__name__, " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
    )


def _details(items: Iterable[tuple[Iterable[str | int], str, str]], status: int = 422) -> JSONResponse:
    detail = [{"loc": [_printable(part) for part in loc], "type": kind, "msg": msg} for loc, kind, msg in items]
    return JSONResponse({"detail": detail}, status_code=status)


def _printable(part: str | int) -> str | int:
    """A field's name as it can be sent back: a client may have put anything into it."""
    return part if isinstance(part, int) else part.encode("utf-8", "replace").decode()[:100]


async def _invalid_request(request: Request, error: Any) -> JSONResponse:
    # Never the input itself, which FastAPI would add: it may be huge, or not even encodable.
    return _details((_location(e["loc"]), e["type"], _message(e, request)) for e in error.errors())


def _location(location: tuple[str | int, ...]) -> list[str | int]:
    """Drop the tags by which pydantic tells which member of a union it tried."""
    return [part for part in location if part not in UNION_TAGS]


def _message(error: dict[str, Any], request: Request) -> str:
    if error["type"] == "json_invalid":
        return f"is not valid JSON: {error['ctx']['error']}"
    if error["loc"] == ("body",) and error["type"] != "too_many_fields":
        sent = request.headers.get("content-type", "none")
        return "must be a JSON object" + ("" if "json" in sent else f", sent as application/json, not {sent[:100]}")
    return str(error["msg"])


async def _invalid_input(_request: Request, error: Any) -> JSONResponse:
    return _details([(("body", *error.location), error.kind, str(error))])


async def _unavailable(_request: Request, error: Any) -> JSONResponse:
    status = 429 if isinstance(error, Overloaded) else 503
    headers = {"Retry-After": str(error.retry_after)}
    return JSONResponse({"detail": f"{error}; try again later."}, status_code=status, headers=headers)


async def _nobody(_request: Request, _error: Any) -> Response:
    return Response(status_code=499)


async def _http(_request: Request, error: Any) -> JSONResponse:
    if error.status_code == 413:
        return _details([(("body",), "too_large", error.detail)], 413)
    if error.status_code == 400:
        return _details([(("body",), "json_invalid", "is not valid JSON in UTF-8")])
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)
