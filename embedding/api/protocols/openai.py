"""OpenAI's protocol: `POST /v1/embeddings`, and `GET /v1/models` with the model's tasks behind its name.

Reference: https://platform.openai.com/docs/api-reference/embeddings
"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.schema import MAX_TEXTS, MODEL, MODELS, JsonBody
from embedding.api.errors import InvalidInput, Problem, field_name, sentence
from embedding.api.openapi import ERRORS, SECURED, UNAUTHORIZED, documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.encoding import Format, json_numbers, json_response
from embedding.api.protocols.models import UnknownModel, agreed_task, listed_names, served_name, task_of
from embedding.api.protocols.options import Names, Options
from embedding.api.protocols.texts import (
    NOT_BLANK,
    Dimensions,
    Task,
    Truncate,
    Words,
    answer_headers,
    check_count,
    embed,
    read_body,
)
from embedding.serving import Service

EXAMPLES: list[Any] = [
    {"input": "What is machine learning?"},
    {"input": ["Galaxies form when gas cools.", "Bread rises when yeast ferments."], "task": "document"},
]
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
CODES = {"unauthorized": "invalid_api_key", "overloaded": "rate_limit_exceeded", "unavailable": "service_unavailable"}

TEXT = {"type": "string", **NOT_BLANK}
Input = Annotated[
    str | list[str | int | list[int]],
    msgspec.Meta(
        description="a text, or a list of texts; token ids only where ACCEPT_TOKEN_IDS is set",
        extra_json_schema={"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MAX_TEXTS}]},
    ),
]


class EmbeddingsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed. `task`, `input_type`, `title` and `truncate` are not OpenAI's."""

    input: Input
    model: Annotated[
        str | None,
        msgspec.Meta(
            description="as /v1/models lists it: the model's id or the last part of it, with a task behind it or not",
            extra_json_schema={"enum": MODELS},
        ),
    ] = None
    encoding_format: Annotated[
        Format | None, msgspec.Meta(description="float: lists of numbers; base64: their bytes, float32, little-endian")
    ] = "float"
    dimensions: Dimensions | None = None
    user: Annotated[str | None, msgspec.Meta(description="is not read")] = None
    task: Task | None = None
    input_type: Annotated[Task | None, msgspec.Meta(description="the same as task")] = None
    title: Annotated[
        Words | list[Words | None] | None, msgspec.Meta(description="the title of the documents, or of each")
    ] = None
    truncate: Truncate = True


BODY = JsonBody(
    EmbeddingsRequest,
    expects={
        "input": "a string or a list of strings",
        "encoding_format": "'float' or 'base64'",
        "title": "a string or a list of strings",
        "truncate": "a boolean",
    },
)
TOKEN_IDS = (
    "holds token ids, most likely of another model's tokenizer: send texts. LangChain's OpenAIEmbeddings does so with "
    "check_embedding_ctx_length=False. For ids of this model's own tokenizer, the service needs ACCEPT_TOKEN_IDS"
)
ANSWER: dict[str, Any] = {
    "description": "A vector for each text, in their order.",
    "content": {"application/json": {"example": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
        "model": "google/embeddinggemma-300m",
        "usage": {"prompt_tokens": 14, "total_tokens": 14},
    }}},
}  # fmt: skip


def render_error(problem: Problem) -> Any:
    """OpenAI's shape of an error."""
    told = {
        "message": problem.message if problem.status == 404 else sentence(problem),
        "type": TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error"),
        "param": field_name(problem) or None,
        "code": CODES.get(problem.kind, problem.kind),
    }
    return {"error": told}


router = APIRouter(tags=["openai"])
PROTOCOL = Protocol(router, [BODY], render_error)
NOT_FOUND: dict[int | str, dict[str, Any]] = {**UNAUTHORIZED, 404: {"description": "There is no such model here."}}


@router.post("/v1/embeddings", **documented(BODY, ANSWER, EXAMPLES, {**ERRORS, **NOT_FOUND}))
async def embeddings(request: Request) -> Response:
    """The vector of each text, as OpenAI's clients read it."""
    body = await read_body(request, BODY)
    options = Options(
        task=_task(body, task_of(request, body.model)),
        titles=body.title,
        dimensions=body.dimensions,
        truncate=body.truncate is not False,
    )
    names = Names(texts="input", task=_task_field(body), titles="title")
    result = await embed(request, await _texts(request, body.input), options, names)
    vectors = json_numbers(result.numbers(), body.encoding_format or "float")
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)],
        "model": body.model or served_name(request),
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
    }
    return json_response(answer, answer_headers(request, result))


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models", responses=UNAUTHORIZED, openapi_extra=SECURED)
async def models(request: Request) -> dict[str, Any]:
    """The model under its name, and with each of its tasks behind that."""
    return {"object": "list", "data": [_model(request, name) for name in listed_names(request)]}


@router.head("/v1/models/{model:path}", include_in_schema=False)
@router.get("/v1/models/{model:path}", responses=NOT_FOUND, openapi_extra=SECURED)
async def model(
    request: Request, model: Annotated[str, Path(openapi_examples={"1": {"value": MODEL}})]
) -> dict[str, Any]:
    """The model under one of its names."""
    if not model:
        raise UnknownModel(served_name(request), None)
    task_of(request, model, field=None)
    return _model(request, model)


def _model(request: Request, name: str) -> dict[str, Any]:
    owner, slash, _ = served_name(request).partition("/")
    return {"id": name, "object": "model", "created": 0, "owned_by": owner if slash else "local"}


def _task(body: EmbeddingsRequest, named: str | None) -> str | None:
    """The one task that is asked for, in any of three places."""
    if body.task is not None and body.input_type is not None:
        raise InvalidInput(("input_type",), "task", "can't be there beside task")
    return agreed_task(body.input_type if body.task is None else body.task, named, _task_field(body))


def _task_field(body: EmbeddingsRequest) -> str:
    given = {"task": body.task, "input_type": body.input_type}
    return next((field for field, task in given.items() if task is not None), "model")


async def _texts(request: Request, given: str | list[Any]) -> str | list[str]:
    """The texts; those of token ids where these are taken. Raises InvalidInput."""
    if isinstance(given, str):
        return given
    if not given:
        raise InvalidInput(("input",), "length", "must have a length of at least 1")
    kind = type(given[0])
    for index, each in enumerate(given):
        if type(each) is not kind:
            raise InvalidInput(
                ("input", index), "type", "must be a string" if kind is str else "must be as the first is"
            )
    if kind is str:
        return given
    settings = request.app.state.settings
    if not settings.accept_token_ids:
        raise InvalidInput(("input",), "token_ids", TOKEN_IDS)
    if kind is int:
        return (await _decoded(request, [given]))[0]
    check_count(len(given), ("input",), settings.max_client_batch)
    return await _decoded(request, given)


async def _decoded(request: Request, lists: list[list[int]]) -> list[str]:
    """The texts of token ids. Raises InvalidInput."""
    service: Service = request.app.state.service
    try:
        return await service.decode(lists, skip_special=True)
    except ValueError as error:
        raise InvalidInput(("input",), "token_ids", f"holds an id that is no token's: {error}") from None
