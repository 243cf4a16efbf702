"""Cohere's protocol, `POST /v2/embed` and `/v1/embed`: its clients say whether a text is a query or a document."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.schema import MAX_TEXTS, MODELS, TASKS, JsonBody
from embedding.api.errors import InvalidInput, Problem, sentence
from embedding.api.openapi import NAMED_MODEL_ERRORS, NUMBERS, documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.encoding import json_numbers, json_response
from embedding.api.protocols.models import agreed_task, task_of
from embedding.api.protocols.options import Names, Options
from embedding.api.protocols.texts import (
    Dimensions,
    Result,
    Text,
    Texts,
    answer_headers,
    embed,
    read_body,
)
from embedding.model.prompts import ALIASES

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
Truncate = Literal["NONE", "START", "END"]

EXAMPLES: list[Any] = [
    {"texts": ["What is machine learning?"], "input_type": "search_query"},
    {"texts": ["Galaxies form when gas cools."], "input_type": "search_document", "embedding_types": ["int8"]},
]


class Content(msgspec.Struct, forbid_unknown_fields=True):
    """A part of an input."""

    type: Literal["text"]
    text: Text


class Input(msgspec.Struct, forbid_unknown_fields=True):
    """An input of one text."""

    content: Annotated[list[Content], msgspec.Meta(min_length=1, max_length=1)]


class CohereEmbedRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed, each under the model's prompt for the type of input."""

    model: Annotated[
        Annotated[str, msgspec.Meta(extra_json_schema={"enum": MODELS})] | None,
        msgspec.Meta(description="a name of the model; by default the one that is served"),
    ] = None
    texts: Annotated[Texts | None, msgspec.Meta(description="the texts")] = None
    inputs: Annotated[
        Annotated[list[Input], msgspec.Meta(min_length=1, extra_json_schema={"maxItems": MAX_TEXTS})] | None,
        msgspec.Meta(description="the texts, in Cohere's other form"),
    ] = None
    input_type: Annotated[
        Annotated[str, msgspec.Meta(extra_json_schema={"anyOf": [{"enum": TASKS}, {"enum": [*ALIASES]}]})] | None,
        msgspec.Meta(
            description="search_query, search_document, classification, clustering, or another of the model's tasks; "
            "by default the task behind the model's name, else DEFAULT_TASK"
        ),
    ] = None
    embedding_types: Annotated[
        Annotated[list[EmbeddingType], msgspec.Meta(min_length=1)] | None, msgspec.Meta(description="by default float")
    ] = None
    output_dimension: Dimensions | None = None
    truncate: Annotated[
        Truncate | None, msgspec.Meta(description="which end of a long text is cut off; NONE refuses the text")
    ] = None
    priority: Annotated[int | None, msgspec.Meta(description="has no effect: requests are served in turn")] = None


BODY = JsonBody(
    CohereEmbedRequest,
    expects={
        "texts": "a list of strings",
        "inputs": "a list of objects with a text each",
        "embedding_types": "a list of 'float', 'int8', 'uint8', 'binary', 'ubinary' and 'base64'",
        "output_dimension": "a whole number",
        "truncate": "'NONE', 'START' or 'END'",
    },
)
VECTORS = {"type": "array", "items": NUMBERS}
ANSWER: dict[str, Any] = {
    "description": "The vectors in the order of the texts, for each type that was asked for.",
    "content": {"application/json": {"schema": {
        "type": "object",
        "required": ["id", "embeddings", "texts", "meta"],
        "properties": {
            "id": {"type": "string"},
            "embeddings": {"oneOf": [VECTORS, {"type": "object"}]},
            "texts": {"type": "array", "items": {"type": "string"}},
            "meta": {"type": "object"},
            "response_type": {"enum": ["embeddings_floats", "embeddings_by_type"]},
        },
    }}},
}  # fmt: skip


def render_error(problem: Problem) -> Any:
    """Cohere's shape: a message, and an id."""
    return {"id": str(uuid.uuid4()), "message": sentence(problem)}


router = APIRouter(tags=["cohere"])
PROTOCOL = Protocol(router, [BODY], render_error)


@router.post("/v2/embed", **documented(BODY, ANSWER, EXAMPLES, NAMED_MODEL_ERRORS))
async def embed_v2(request: Request) -> Response:
    """The vector of each text in each of the types of embedding."""
    body = await read_body(request, BODY)
    return await _answer(request, body, "2")


@router.post("/v1/embed", **documented(BODY, ANSWER, EXAMPLES, NAMED_MODEL_ERRORS))
async def embed_v1(request: Request) -> Response:
    """The same, in the first version's shape: without types of embedding, the vectors stand in a plain list."""
    body = await read_body(request, BODY)
    return await _answer(request, body, "1")


async def _answer(request: Request, body: CohereEmbedRequest, version: str) -> Response:
    field, texts = _texts(body)
    types: list[EmbeddingType] = list(
        dict.fromkeys(body.embedding_types or ["float"])
    )  # each once, however often asked
    options = Options(
        task=agreed_task(body.input_type, task_of(request, body.model), "input_type"),
        dimensions=body.output_dimension,
        precisions=[kind for kind in types if kind != "float" and kind != "base64"],
        truncate=body.truncate != "NONE",
        keep_end=body.truncate == "START",
    )
    names = Names(texts=field, task="input_type", dimensions="output_dimension", precision="embedding_types")
    result = await embed(request, texts, options, names)
    embeddings: Any = {kind: _numbers(result, kind) for kind in types}
    plain = version == "1" and body.embedding_types is None
    answer = {
        "id": str(uuid.uuid4()),
        "response_type": "embeddings_floats" if plain else "embeddings_by_type",
        "embeddings": embeddings["float"] if plain else embeddings,
        "texts": texts,
        "meta": {"api_version": {"version": version}, "billed_units": {"input_tokens": result.tokens}},
    }
    return json_response(answer, answer_headers(request, result))


def _texts(body: CohereEmbedRequest) -> tuple[str, Sequence[str]]:
    """The texts, and the field that they came in."""
    if body.texts is not None and body.inputs is not None:
        raise InvalidInput(("inputs",), "extra_forbidden", "can't be there beside texts")
    if body.inputs is not None:
        return "inputs", [each.content[0].text for each in body.inputs]
    if body.texts is None:
        raise InvalidInput(("texts",), "missing", "is required")
    return "texts", body.texts


def _numbers(result: Result, kind: EmbeddingType) -> Any:
    if kind == "base64":
        return json_numbers(result.numbers(), "base64")
    return json_numbers(result.numbers("float32" if kind == "float" else kind))
