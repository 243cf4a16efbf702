"""What went wrong, as a status and words, in one place; each protocol renders that in its own shape."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from embedding.model import Unsupported
from embedding.serving import DeadlineExceeded, Overloaded, TooLarge, Unavailable
from embedding.telemetry.logs import raised_at

logger = logging.getLogger(__name__)

Location = tuple[str | int, ...]
MAX_NAME = 100
CALLER_LEFT = 499


class Refused(Exception):
    """The request can't be served as it is: `status` says why in general, `str()` in words, for its sender."""

    status = 422
    kind = "invalid"
    headers: Mapping[str, str] = {}
    location: Location = ()


class InvalidInput(Refused):
    """Something in the body is wrong: answered 422, naming the field. `location` is without "body"."""

    def __init__(self, location: Location, kind: str, message: str) -> None:
        super().__init__(message)
        self.location, self.kind = ("body", *location), kind


class BodyTooLarge(Refused):
    """The body has more bytes than the service reads."""

    status, kind, location = 413, "too_large", ("body",)


class UnsupportedContent(Refused):
    """The body is of a type, a charset or a compression that the service does not read."""

    status, kind, location = 415, "unsupported_content", ("body",)
    headers: Mapping[str, str] = {"Accept": "application/json", "Accept-Encoding": "gzip, identity"}


class Unauthorized(Refused):
    """No token, or a wrong one."""

    status, kind, headers = 401, "unauthorized", {"WWW-Authenticate": "Bearer"}


class CallerLeft(Exception):
    """The caller hung up; whatever is answered, nobody hears it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a protocol needs to know it. `location` names the field, from "body" on; empty: it is of none."""

    status: int
    kind: str
    message: str
    location: Location = ()
    headers: Mapping[str, str] = field(default_factory=dict)


Render = Callable[[Problem], Any]


def describe(error: Exception) -> Problem:
    """The one table from an error to its status."""
    if isinstance(error, Refused):
        return Problem(error.status, error.kind, str(error), _printable(error.location), error.headers)
    if isinstance(error, Unavailable):
        status, kind = (429, "overloaded") if isinstance(error, Overloaded) else (503, "unavailable")
        headers = {"Retry-After": str(error.retry_after)}
        return Problem(status, kind, f"{error}; try again later.", headers=headers)
    if isinstance(error, DeadlineExceeded):
        return Problem(504, "deadline", f"{error}")
    if isinstance(error, Unsupported):
        return Problem(422, "unsupported", str(error), ("body",))
    if isinstance(error, TooLarge):
        return Problem(422, "too_large", str(error), ("body",))
    if isinstance(error, HTTPException):
        return Problem(error.status_code, "http", error.detail, headers=error.headers or {})
    if isinstance(error, RequestValidationError):  # of a query's parameters; FastAPI's own answer quotes them
        wrong = error.errors()[0]
        return Problem(422, wrong["type"], wrong["msg"], _printable(wrong["loc"]))
    if isinstance(error, CallerLeft):
        return Problem(CALLER_LEFT, "caller_left", "")
    return Problem(500, "internal", "Internal error; it was logged.")


def render_detail(problem: Problem) -> Any:
    """FastAPI's shape: a list of what is wrong in which field, or a sentence where no field is to blame."""
    if not problem.location:
        return {"detail": problem.message}
    return {"detail": [{"loc": problem.location, "type": problem.kind, "msg": problem.message}]}


def sentence(problem: Problem) -> str:
    """What is wrong in one sentence, for protocols that have no more room: `texts[1] must not be blank`."""
    where = field_name(problem) or ("The body" if problem.location else "")
    return f"{where} {problem.message}".strip()


def field_name(problem: Problem) -> str:
    """The field that is to blame, as `texts[1]`; empty where none is."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem.location[1:])
    return "".join(parts).removeprefix(".")


class Errors:
    """Answers for errors, each in the shape of the protocol that its path belongs to."""

    def __init__(self, renders: Mapping[str, Render]) -> None:
        """For each path that is declared, how a problem is rendered there."""
        self._renders = renders
        self._with_parameters = {path.partition("{")[0]: path for path in renders if "{" in path}

    def answer(self, scope: Scope, error: Exception) -> Response:
        """`error` as the caller is told it."""
        problem = describe(error)
        if problem.status == CALLER_LEFT:
            return Response(status_code=CALLER_LEFT)
        content = self._renders.get(self._declared(scope["path"]), render_detail)(problem)
        return JSONResponse(content, problem.status, headers=dict(problem.headers))

    def _declared(self, path: str) -> str:
        """The path as it is declared, perhaps with a parameter at its end."""
        if path in self._renders:
            return path
        return next((whole for start, whole in self._with_parameters.items() if path.startswith(start)), path)

    async def handle(self, request: Request, error: Exception) -> Response:
        """The same as a handler of exceptions."""
        return self.answer(request.scope, error)


def log_failure(error: Exception) -> None:
    """Log where `error` came from."""
    logger.error(raised_at(error))


def _printable(location: Location) -> Location:
    """Fields' names as they can be sent back: a client may have put anything into them."""
    return tuple(
        part if isinstance(part, int) else part.encode("utf-8", "replace").decode()[:MAX_NAME] for part in location
    )
