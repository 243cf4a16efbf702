"""What all protocols share: texts in, checked; vectors out, for a caller who is still there."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
from starlette.requests import Request

from embedding.api.edge.disconnect import while_connected
from embedding.api.edge.log import record_of
from embedding.api.edge.schema import MAX_TEXTS, JsonBody
from embedding.api.errors import InvalidInput, Location
from embedding.model import Task, TextTooLong
from embedding.model.errors import TextError
from embedding.serving import Embeddings, Service

T = TypeVar("T", bound=msgspec.Struct)

# What may be sent, for the OpenAPI document. It is checked here rather than by msgspec, which would match a pattern
# against a million texts before it counts them.
NOT_BLANK = {"minLength": 1, "pattern": r"[^\s\x1c-\x1f\x85]"}
Text = Annotated[str, msgspec.Meta(extra_json_schema=NOT_BLANK)]
Texts = Annotated[list[Text], msgspec.Meta(min_length=1, extra_json_schema={"maxItems": MAX_TEXTS})]

MAX_NAMED = 100  # a header has room for no more


async def read_body(request: Request, body: JsonBody[T]) -> T:
    """The request's body, checked. Raises what `Bodies.read` raises."""
    parsed: T = await request.app.state.bodies.read(request, body)
    return parsed


async def embed(
    request: Request,
    texts: str | Sequence[str],
    task: Task,
    *,
    field: str,
    truncate: bool = True,
    prompt: str | None = None,
) -> Embeddings:
    """The vectors of `texts`, or of the one text, which came in `field`.

    Raises InvalidInput naming the text, CallerLeft, and what Service.embed raises of the service's own.
    """
    one = isinstance(texts, str)
    several = [texts] if isinstance(texts, str) else texts

    def named(index: int) -> Location:
        return (field,) if one else (field, index)

    check_texts(several, named, request.app.state.settings.max_client_batch)
    service: Service = request.app.state.service
    work = service.embed(several, task, truncate=truncate, prompt=prompt)
    try:
        result = await while_connected(request, work)
    except TextTooLong as error:
        raise InvalidInput(named(error.index), "text_too_long", str(error)) from None
    except TextError as error:
        raise InvalidInput(named(error.index), "text_error", str(error)) from None
    record_of(request).embeddings = result
    return result


def check_texts(texts: Sequence[str], named: Any, limit: int) -> None:
    """Raise InvalidInput where there are more than `limit`, or one is blank."""
    if len(texts) > limit:
        message = f"has {len(texts)} texts, and a request takes at most {limit} (MAX_CLIENT_BATCH)"
        raise InvalidInput(named(0)[:1], "too_many_texts", message)
    for index, text in enumerate(texts):
        if not text.strip():
            raise InvalidInput(named(index), "text_blank", "must not be blank")


def model_headers(request: Request) -> Mapping[str, str]:
    """The model that made the vectors, as /info names it, percent-encoded: no index should be fed by two."""
    info = request.app.state.service.info
    return {"X-Model-Id": quote(info.model, safe=""), "X-Model-Revision": quote(info.revision or "", safe="")}


def truncation_headers(result: Embeddings) -> Mapping[str, str]:
    """How many texts were cut and which; none where none was."""
    if not result.truncated:
        return {}
    places = [str(place) for place, tokens in enumerate(result.tokens) if tokens.truncated]
    return {"X-Truncated": str(len(places)), "X-Truncated-Texts": ",".join(places[:MAX_NAMED])}
