"""The protocols that the service speaks, a module each: its paths, its bodies, and its shape of errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter

from embedding.api.edge.schema import JsonBody
from embedding.api.errors import Render, render_detail


@dataclass(frozen=True, slots=True)
class Protocol:
    """Paths that share a shape of errors. `bodies` are for the OpenAPI document.

    `statuses` are the protocol's own, where it answers another than the service would.
    """

    router: APIRouter
    bodies: Sequence[JsonBody[Any]]
    render_error: Render = render_detail
    statuses: Mapping[int, int] = field(default_factory=dict)
