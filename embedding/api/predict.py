"""`POST /predict {"query": …}`: a text gives its vector, a list of texts gives a list of vectors."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from embedding.api.disconnect import while_connected
from embedding.api.errors import InvalidInput
from embedding.model import Task, TextTooLong
from embedding.serving import Embeddings, Service

MAX_FIELDS = 16
MAX_NAMED = 100  # a header has room for no more
EXAMPLES: list[Any] = [
    {"query": "What is machine learning?"},
    {"query": ["Galaxies form when gas cools.", "Bread rises when yeast ferments."], "task": "document"},
]

router = APIRouter(tags=["predict"])


def _legible(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("text_blank", "must not be blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "text_unicode", "has half of a surrogate pair at character {position}", {"position": error.start}
        ) from None
    return text


def _one_or_many(value: Any) -> str | None:
    return "<one>" if isinstance(value, str) else "<many>" if isinstance(value, list) else None


Text = Annotated[str, AfterValidator(_legible)]
OneOrMany = Annotated[
    Annotated[Text, Tag("<one>")] | Annotated[list[Text], Field(min_length=1, fail_fast=True), Tag("<many>")],
    Discriminator(
        _one_or_many,
        custom_error_type="text_type",
        custom_error_message="must be a string or a list of strings",
    ),
]


def _few_fields(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_FIELDS:
        raise PydanticCustomError("too_many_fields", "has more than {limit} fields", {"limit": MAX_FIELDS})
    return value


class PredictRequest(BaseModel):
    """Texts to embed, each under the model's prompt for its task."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": EXAMPLES})

    # Before each of a million unknown fields gets an error of its own.
    _few = model_validator(mode="before")(_few_fields)

    query: OneOrMany = Field(description="a text, or a list of texts")
    task: Task = Field(default="query", description="query: what is searched with; document: what is searched in")
    truncate: bool = Field(default=True, description="cut a text beyond the model's limit; if false, refuse it")


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The vector of a text, or the vectors of a list in its order.",
        "headers": {
            "X-Truncated": {"description": "texts that were cut, if any", "schema": {"type": "integer"}},
            "X-Truncated-Texts": {
                "description": f"places of the first {MAX_NAMED} of them, from 0, with commas between",
                "schema": {"type": "string"},
            },
        },
        "content": {"application/json": {"schema": {"oneOf": [
            {"type": "array", "items": {"type": "number"}},
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        ]}, "example": [0.0123, -0.0456, 0.0789]}},
    },
    401: {"description": "No token, or a wrong one."},
    413: {"description": "The body is too large."},
    422: {"description": "Bad input; `detail` says which field and why."},
    429: {"description": "Too many requests are under way; come back after `Retry-After` seconds."},
    503: {"description": "The model is loading; come back after `Retry-After` seconds."},
}  # fmt: skip


@router.post("/predict", response_class=Response, responses=RESPONSES)
async def predict(request: Request, body: PredictRequest) -> Response:
    """The vector of each text, of unit length where the model normalises."""
    service: Service = request.app.state.service
    one = isinstance(body.query, str)
    texts = [body.query] if isinstance(body.query, str) else body.query
    limit = request.app.state.settings.max_client_batch
    if len(texts) > limit:
        raise InvalidInput(
            ("query",),
            "too_many_texts",
            f"has {len(texts)} texts, and a request takes at most {limit} (MAX_CLIENT_BATCH)",
        )
    try:
        result = await while_connected(request, service.embed(texts, body.task, truncate=body.truncate))
    except TextTooLong as error:
        raise InvalidInput(("query",) if one else ("query", error.index), "text_too_long", str(error)) from None
    answer = orjson.dumps(result.vectors[0] if one else result.vectors, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(answer, headers=_truncated(result), media_type="application/json")


def _truncated(result: Embeddings) -> dict[str, str]:
    """How many texts were cut and which, as headers; none where none was."""
    places = [str(place) for place, tokens in enumerate(result.tokens) if tokens.truncated]
    return {"X-Truncated": str(result.truncated), "X-Truncated-Texts": ",".join(places[:MAX_NAMED])} if places else {}
