"""What operators ask: is it up?"""

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse

router = APIRouter(tags=["operations"])


@router.head("/health", include_in_schema=False)
@router.get("/health", response_class=PlainTextResponse)
async def health(request: Request) -> PlainTextResponse:
    """`ok` once the model is loaded; `not ready` with status 503 before."""
    if request.app.state.service.ready:
        return PlainTextResponse("ok")
    return PlainTextResponse("not ready", status_code=503, headers={"Retry-After": "5"})


@router.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    return RedirectResponse("/docs")
