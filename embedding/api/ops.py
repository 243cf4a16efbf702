"""What operators ask: is it up, and what is it?"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Security
from starlette.responses import PlainTextResponse

from embedding.api.auth import SCHEMES
from embedding.model import EngineInfo
from embedding.serving import NotReady

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

router = APIRouter(tags=["operations"])


@router.head("/health", include_in_schema=False)
@router.get("/health", response_class=PlainTextResponse)
async def health(request: Request) -> PlainTextResponse:
    """`ok` once the model is loaded; `not ready` with status 503 before."""
    if request.app.state.service.ready:
        return PlainTextResponse("ok")
    return PlainTextResponse("not ready", status_code=503, headers={"Retry-After": str(NotReady.retry_after)})


@router.get("/status")
async def status(request: Request) -> dict[str, Any]:
    """What the page shows to anyone: what loading is busy with, or, once it is done, what computes the vectors."""
    service, settings = request.app.state.service, request.app.state.settings
    limit = {"max_client_batch_size": settings.max_client_batch}
    if service.ready:
        engine = _described(service.info)
        name = _named(engine.pop("model_id"))
        return {"state": "ready", "step": None, "fraction": None, **name, **limit, **engine}
    step, fraction = service.progress
    return {"state": "loading", "step": step, "fraction": fraction, **_named(settings.model_id), **limit}


@router.get("/info", dependencies=[Security(scheme) for scheme in SCHEMES])
async def info(request: Request) -> dict[str, Any]:
    """The model, what computes its vectors and how near they are to the reference, and the limits of a request."""
    service, settings = request.app.state.service, request.app.state.settings
    engine = _described(service.info)
    return {
        "model_dtype": engine["precision"],
        "max_client_batch_size": settings.max_client_batch,
        "max_concurrent_requests": settings.max_concurrent_requests,
        **engine,
    }


def _named(model: str) -> dict[str, Any]:
    """The model as anyone may know it: a hub id, or the last of a folder's path; and whether it is the former."""
    parts = Path(model).parts
    name = model if len(parts) <= 2 else "/".join(("…", *parts[-2:]))
    return {"model_id": name, "hub": HUB_ID.fullmatch(model) is not None and not Path(model).is_dir()}


def _described(info: EngineInfo) -> dict[str, Any]:
    """The engine under the names that Text Embeddings Inference gives what both have."""
    engine = asdict(info)
    return {"model_id": engine.pop("model"), "max_input_length": engine.pop("max_tokens"), **engine}
