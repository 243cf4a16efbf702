"""What operators ask: is it up, and what is it?"""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Security
from starlette.responses import PlainTextResponse, RedirectResponse

from embedding.api.auth import SCHEMES
from embedding.serving import NotReady

router = APIRouter(tags=["operations"])


@router.head("/health", include_in_schema=False)
@router.get("/health", response_class=PlainTextResponse)
async def health(request: Request) -> PlainTextResponse:
    """`ok` once the model is loaded; `not ready` with status 503 before."""
    if request.app.state.service.ready:
        return PlainTextResponse("ok")
    return PlainTextResponse("not ready", status_code=503, headers={"Retry-After": str(NotReady.retry_after)})


@router.get("/info", dependencies=[Security(scheme) for scheme in SCHEMES])
async def info(request: Request) -> dict[str, Any]:
    """The model, what computes its vectors and how near they are to the reference, and the limits of a request."""
    service, settings = request.app.state.service, request.app.state.settings
    engine = asdict(service.info)
    return {
        "model_id": engine.pop("model"),
        "model_dtype": engine["precision"],
        "max_input_length": engine.pop("max_tokens"),
        "max_client_batch_size": settings.max_client_batch,
        "max_concurrent_requests": settings.max_concurrent_requests,
        **engine,
    }


@router.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    return RedirectResponse("/docs")
