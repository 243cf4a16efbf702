"""What operators ask: is it up, and what is it?"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse, Response

from embedding import __version__
from embedding.api.edge.schema import DIMENSION
from embedding.api.errors import Refused
from embedding.api.openapi import SECURED, UNAUTHORIZED
from embedding.api.protocols.models import served_name
from embedding.model import EngineInfo
from embedding.model.prompts import task_names
from embedding.model.vectors import Vectors, cut, ranges_of
from embedding.serving import NotReady
from embedding.serving.tokenization import TOKENIZATION_THREADS

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
NOT_READY: dict[int | str, dict[str, Any]] = {503: {"description": "Not now; come back after `Retry-After` seconds."}}

router = APIRouter(tags=["operations"])


class NoSuchDimension(Refused):
    """The address asks for more numbers in a vector than there are."""

    kind, location = "range", ("query", "dimensions")


@router.head("/health", include_in_schema=False)
@router.head("/health/", include_in_schema=False)
@router.get("/health/", include_in_schema=False)
@router.get("/health", response_class=PlainTextResponse, responses=NOT_READY)
@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_class=PlainTextResponse, responses=NOT_READY)
async def health(request: Request) -> PlainTextResponse:
    """`ok` while texts are embedded; `not ready` with status 503 while the model loads, once its engine hangs or fails,
    and from when the service is told to stop."""
    return _probe(is_ready(request.app.state), "not ready")


@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_class=PlainTextResponse, responses=NOT_READY)
async def livez(request: Request) -> PlainTextResponse:
    """`ok`, also while the model loads; `not live` with status 503 where only a new process can help."""
    return _probe(request.app.state.service.live, "not live")


@router.head("/status", include_in_schema=False)
@router.get("/status")
async def status(request: Request) -> dict[str, Any]:
    """What the page shows to anyone: what loading is busy with, or, once it is done, what computes the vectors."""
    service, settings = request.app.state.service, request.app.state.settings
    limit = {"max_client_batch_size": settings.max_client_batch}
    if is_ready(request.app.state):
        engine = _described(service.info)
        name = _named(engine.pop("model_id"))
        return {"state": "ready", "step": None, "fraction": None, **name, **limit, **engine}
    step, fraction = service.progress
    if request.app.state.drain.begun:
        step, fraction = "stopping", None
    elif not service.live:
        step, fraction = "waiting to be replaced: the model no longer answers", None
    return {"state": "loading", "step": step, "fraction": fraction, **_named(settings.model_id), **limit}


@router.head("/info", include_in_schema=False)
@router.get("/info", responses={**UNAUTHORIZED, **NOT_READY}, openapi_extra=SECURED)
async def info(
    request: Request,
    dimensions: Annotated[
        int | None, Query(ge=1, description="of the ranges; by default all", json_schema_extra={"maximum": DIMENSION})
    ] = None,
) -> dict[str, Any]:
    """The model, what computes its vectors and how near they are to the reference, and the limits of a request.

    `int8_ranges` is what int8 and uint8 divide into steps; with `dimensions`, for vectors that are cut to so many.
    It has all fields of Text Embeddings Inference, and some of its own.
    """
    service, settings = request.app.state.service, request.app.state.settings
    engine = _described(service.info)
    prompts = service.loaded.prompts
    size = engine["dimension"]
    if dimensions is not None and dimensions > size:
        raise NoSuchDimension(f"must be 1 to {size}, which the model has")
    return {
        "served_model_name": served_name(request),
        "model_dtype": engine["precision"],
        "model_type": {"embedding": {"pooling": engine["pooling"]}},
        "auto_truncate": True,
        "max_batch_tokens": service.limits.max_batch_tokens or service.loaded.batch_tokens,
        "max_batch_requests": None,
        "tokenization_workers": TOKENIZATION_THREADS,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        "max_client_batch_size": settings.max_client_batch,
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_body_bytes": settings.max_body_bytes,
        "default_task": settings.default_task,
        "default_dimensions": settings.default_dimensions or size,
        "tasks": task_names(prompts),
        "prompts": prompts,
        "int8_ranges": _ranges(service.loaded.calibration, dimensions or size, engine["normalizes"]),
        **engine,
    }


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", response_class=PlainTextResponse, responses=UNAUTHORIZED, openapi_extra=SECURED)
async def metrics(request: Request) -> Response:
    """What the service has done and what it is busy with, for Prometheus."""
    state = request.app.state
    if state.service.ready:
        info = state.service.info
        state.metrics.describe_model({**asdict(info), "model": _named(info.model)["model_id"]})
    state.metrics.ready.set(is_ready(state))
    return Response(state.metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def is_ready(state: Any) -> bool:
    """Whether the app of this state answers requests for vectors."""
    return bool(state.service.ready and state.service.live and not state.drain.begun)


def _probe(passes: bool, otherwise: str) -> PlainTextResponse:
    if passes:
        return PlainTextResponse("ok")
    return PlainTextResponse(otherwise, status_code=503, headers={"Retry-After": str(NotReady.retry_after)})


def _named(model: str) -> dict[str, Any]:
    """The model as anyone may know it: a hub id, or the last of a folder's path; and whether it is the former."""
    parts = Path(model).parts
    name = model if len(parts) <= 2 else "/".join(("…", *parts[-2:]))
    return {"model_id": name, "hub": HUB_ID.fullmatch(model) is not None and not Path(model).is_dir()}


def _ranges(calibration: Vectors, dimension: int, normalizes: bool) -> dict[str, Any] | None:
    """What int8 and uint8 divide into steps; None where they can't be had."""
    if not len(calibration):
        return None
    least, largest = ranges_of(cut(calibration, dimension, normalizes))
    return {"texts": len(calibration), "minimum": least.tolist(), "maximum": largest.tolist()}


def _described(info: EngineInfo) -> dict[str, Any]:
    """The engine under the names that Text Embeddings Inference gives what both have."""
    engine = asdict(info)
    names = {"model_id": engine.pop("model"), "model_sha": engine.pop("revision")}
    return {**names, "max_input_length": engine.pop("max_tokens"), **engine}
