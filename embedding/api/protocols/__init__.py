"""The protocols that the service speaks, a module each: its paths, its bodies, and its shape of errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter

from embedding.api.edge.schema import JsonBody
from embedding.api.errors import Render, render_detail


@dataclass(frozen=True, slots=True)
class Protocol:
    """Paths that share a shape of errors. `bodies` are for the OpenAPI document."""

    router: APIRouter
    bodies: Sequence[JsonBody[Any]]
    render_error: Render = render_detail
