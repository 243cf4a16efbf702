"""Ollama's protocol, as far as its clients need to embed: `POST /api/embed`, `GET /api/tags`."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.schema import DIMENSION, MAX_TEXTS, MODEL, MODEL_FOR_DOCUMENTS, MODELS, JsonBody
from embedding.api.errors import Problem, sentence
from embedding.api.openapi import NAMED_MODEL_ERRORS, NUMBERS, SECURED, documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.encoding import json_numbers, json_response
from embedding.api.protocols.models import listed_names, task_of
from embedding.api.protocols.options import Names, Options
from embedding.api.protocols.texts import Text, Truncate, answer_headers, check, embed, model_headers, read_body
from embedding.serving import Service

NANOSECONDS = 1_000_000_000
NO_DATE = "1970-01-01T00:00:00Z"
"""For `modified_at`, which clients read as a date."""

Model = Annotated[
    str,
    msgspec.Meta(
        description="a name of the model, with a task for its tag, as in NAME:document",
        extra_json_schema={"enum": MODELS},
    ),
]
Ignored = Annotated[Any, msgspec.Meta(description="has no effect")]

EXAMPLES: list[Any] = [{"model": MODEL_FOR_DOCUMENTS, "input": ["Galaxies form when gas cools."]}]
OLD_EXAMPLES: list[Any] = [{"model": MODEL, "prompt": "What is machine learning?"}]


class OllamaEmbedRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed, each under the prompt of the task behind the model's name."""

    model: Model
    input: Annotated[
        Text | Annotated[list[Text], msgspec.Meta(extra_json_schema={"maxItems": MAX_TEXTS})] | None,
        msgspec.Meta(description="a text, or a list of texts; nothing is no error"),
    ] = None
    truncate: Truncate = True
    dimensions: Annotated[
        Annotated[int, msgspec.Meta(ge=0, extra_json_schema={"maximum": DIMENSION})] | None,
        msgspec.Meta(description="numbers in a vector; by default, or with 0, all"),
    ] = None
    options: Ignored = None
    keep_alive: Ignored = None


class OllamaEmbeddingsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """One text to embed, as clients asked for it before `/api/embed`."""

    model: Model
    prompt: Text = ""
    options: Ignored = None
    keep_alive: Ignored = None


BODY = JsonBody(
    OllamaEmbedRequest,
    expects={
        "input": "a string or a list of strings",
        "truncate": "a boolean",
        "dimensions": "a whole number",
    },
)
OLD_BODY = JsonBody(OllamaEmbeddingsRequest)
ANSWER: dict[str, Any] = {
    "description": "The vectors in the order of the texts, and the tokens that they have together.",
    "content": {"application/json": {"schema": {
        "type": "object",
        "required": ["model", "embeddings"],
        "properties": {"model": {"type": "string"}, "embeddings": {"type": "array", "items": NUMBERS}},
    }}},
}  # fmt: skip
OLD_ANSWER: dict[str, Any] = {
    "description": "The vector.",
    "content": {"application/json": {"schema": {
        "type": "object", "required": ["embedding"], "properties": {"embedding": NUMBERS},
    }}},
}  # fmt: skip


def render_error(problem: Problem) -> Any:
    """Ollama's shape: a sentence."""
    return {"error": sentence(problem)}


router = APIRouter(tags=["ollama"])
PROTOCOL = Protocol(router, [BODY, OLD_BODY], render_error)


@router.post("/api/embed", **documented(BODY, ANSWER, EXAMPLES, NAMED_MODEL_ERRORS))
async def embed_texts(request: Request) -> Response:
    """The vector of each text."""
    body = await read_body(request, BODY)
    task = task_of(request, body.model)
    options = Options(task=task, dimensions=body.dimensions or None, truncate=body.truncate is not False)
    names = Names(texts="input", task="model")
    if not body.input:  # a client that only wants the model loaded
        check(request.app.state.service, request.app.state.settings, [], options, names)
        return json_response({"model": body.model, "embeddings": []}, model_headers(request))
    result = await embed(request, body.input, options, names)
    answer = {
        "model": body.model,
        "embeddings": json_numbers(result.numbers()),
        "total_duration": round(result.embeddings.timings.total * NANOSECONDS),
        "load_duration": 0,
        "prompt_eval_count": result.tokens,
    }
    return json_response(answer, answer_headers(request, result))


@router.post("/api/embeddings", **documented(OLD_BODY, OLD_ANSWER, OLD_EXAMPLES, NAMED_MODEL_ERRORS))
async def embed_text(request: Request) -> Response:
    """The vector of one text, for older clients."""
    body = await read_body(request, OLD_BODY)
    task = task_of(request, body.model)
    if not body.prompt:
        return json_response({"embedding": []}, model_headers(request))
    result = await embed(request, body.prompt, Options(task=task), Names(texts="prompt", task="model"))
    headers = answer_headers(request, result)
    return json_response({"embedding": json_numbers(result.numbers()[0])}, headers)


@router.head("/api/tags", include_in_schema=False)
@router.get("/api/tags", openapi_extra=SECURED)
async def tags(request: Request) -> dict[str, Any]:
    """The names of the model, with each task that it has a prompt for."""
    service: Service = request.app.state.service
    info = service.info
    about = {
        "modified_at": NO_DATE,
        "size": 0,
        "digest": info.revision or "",
        "details": {
            "parent_model": "",
            "format": info.engine,
            "family": "",
            "families": [],
            "parameter_size": "",
            "quantization_level": info.precision,
            "context_length": info.max_tokens or 0,
            "embedding_length": info.dimension,
        },
    }
    return {"models": [{"name": name, "model": name, **about} for name in listed_names(request)]}
