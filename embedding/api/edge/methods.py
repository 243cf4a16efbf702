"""Methods: what a path allows, said by 405 and OPTIONS."""

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def allowed_methods(app: FastAPI, scope: Scope) -> str:
    """What the path of `scope` allows, with commas between. The router's own answer names one route's methods only."""
    found = [
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]
    return ", ".join([*found, "OPTIONS"])


def options(allowed: str) -> Response:
    """The answer to OPTIONS."""
    return Response(status_code=204, headers={"Allow": allowed})
