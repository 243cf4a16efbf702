"""`POST /predict {"query": …}`: a text gives its vector, a list of texts gives a list of vectors."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.disconnect import while_connected
from embedding.api.edge.log import record_of
from embedding.api.edge.schema import JsonBody
from embedding.api.errors import InvalidInput
from embedding.api.openapi import NUMBERS, documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.chunks import Chunking, vectors_of_chunks
from embedding.api.protocols.encoding import (
    BYTES,
    JSON,
    NPY,
    Format,
    accepted_type,
    bytes_response,
    json_numbers,
    json_response,
)
from embedding.api.protocols.options import Names, Options
from embedding.api.protocols.texts import (
    MAX_NAMED,
    Dimensions,
    Result,
    Task,
    Text,
    Texts,
    Truncate,
    Words,
    answer_headers,
    model_headers,
    read_body,
    vectors_of,
)
from embedding.model.vectors import OutputPrecision
from embedding.model.windows import Window
from embedding.serving import Service
from embedding.settings import Settings

EXAMPLES: list[Any] = [
    {"query": "What is machine learning?"},
    {"query": ["Galaxies form when gas cools.", "Bread rises when yeast ferments."], "task": "document"},
    {"query": "What is machine learning?", "dimensions": 64, "precision": "int8"},
]


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed, each under the model's prompt for its task."""

    query: Annotated[Text | Texts, msgspec.Meta(description="a text, or a list of texts")]
    task: Task | None = None
    prompt: Annotated[Words | None, msgspec.Meta(description="words to put before each text instead")] = None
    title: Annotated[Words | None, msgspec.Meta(description="the title of the document")] = None
    titles: Annotated[list[Words | None] | None, msgspec.Meta(description="the title of each document, or null")] = None
    dimensions: Dimensions | None = None
    normalize: Annotated[
        bool | None,
        msgspec.Meta(description="true: vectors of length 1; false: as they are before the model normalises them"),
    ] = None
    precision: Annotated[
        OutputPrecision | None, msgspec.Meta(description="of the numbers, as sentence-transformers defines it")
    ] = "float32"
    encoding_format: Annotated[
        Format | None, msgspec.Meta(description="float: lists of numbers; base64: their bytes, little-endian")
    ] = "float"
    chunk: Annotated[
        bool | Literal["late"] | None,
        msgspec.Meta(
            description="true: a vector for each window of a text, with its place in the text; late: the text is read "
            "whole, and each window's tokens are pooled apart"
        ),
    ] = False
    chunk_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(description="of a window; by default the model's limit, or an eighth of it for late"),
    ] = None
    chunk_overlap: Annotated[
        Annotated[int, msgspec.Meta(ge=0)] | None,
        msgspec.Meta(description="tokens that two windows share; by default an eighth of a window"),
    ] = None
    truncate: Truncate = True


BODY = JsonBody(
    PredictRequest,
    expects={
        "query": "a string or a list of strings",
        "task": "'query' or 'document', or another that the model has",
        "titles": "a list of strings or nulls",
        "precision": "'float32', 'float16', 'int8', 'uint8', 'binary' or 'ubinary'",
        "encoding_format": "'float' or 'base64'",
        "chunk": "a boolean or 'late'",
        "chunk_tokens": "a whole number",
        "chunk_overlap": "a whole number",
        "truncate": "a boolean",
    },
)
VECTOR: dict[str, Any] = {"oneOf": [NUMBERS, {"type": "string"}]}
CHUNK = {
    "type": "object",
    "required": ["start", "end", "vector"],
    "properties": {"start": {"type": "integer"}, "end": {"type": "integer"}, "vector": VECTOR},
}
CHUNKS = {"type": "array", "items": CHUNK}
ANSWER: dict[str, Any] = {
    "description": "The vector of a text, or the vectors of a list in its order.",
    "headers": {
        "X-Model-Id": {"description": "the model, percent-encoded", "schema": {"type": "string"}},
        "X-Model-Revision": {"description": "its commit, or a digest of its files", "schema": {"type": "string"}},
        "X-Truncated": {"description": "texts that were cut, if any", "schema": {"type": "integer"}},
        "X-Truncated-Texts": {
            "description": f"places of the first {MAX_NAMED} of them, from 0, with commas between",
            "schema": {"type": "string"},
        },
    },
    "content": {
        JSON: {
            "schema": {
                "anyOf": [*VECTOR["oneOf"], *({"type": "array", "items": each} for each in (VECTOR, CHUNK, CHUNKS))]
            },
            "example": [0.0123, -0.0456, 0.0789],
        },
        NPY: {"schema": {"type": "string", "format": "binary"}},
        BYTES: {"schema": {"type": "string", "format": "binary"}},
    },
}

router = APIRouter(tags=["predict"])
PROTOCOL = Protocol(router, [BODY])


@router.post("/predict", **documented(BODY, ANSWER, EXAMPLES))
async def predict(request: Request) -> Response:
    """The vector of each text, of unit length where the model normalises.

    With `Accept: application/x-npy` or `application/octet-stream` the answer is the array's bytes.
    """
    body = await read_body(request, BODY)
    state = request.app.state
    result, windows = await while_connected(request, predicted(state.service, state.settings, body))
    record_of(request).embeddings = result.embeddings
    numbers = result.numbers(body.precision or "float32")
    one, format = isinstance(body.query, str), body.encoding_format or "float"
    if windows is not None:
        chunks = described(windows, json_numbers(numbers, format))
        return json_response(chunks[0] if one else chunks, model_headers(request))
    headers = answer_headers(request, result)
    if one:
        numbers = numbers[0]
    kind = accepted_type(request)
    if kind == JSON:
        return json_response(json_numbers(numbers, format), headers)
    return bytes_response(numbers, kind, headers)


async def predicted(
    service: Service, settings: Settings, body: PredictRequest, texts: str = "query"
) -> tuple[Result, Sequence[Sequence[Window]] | None]:
    """What `body` asks for: vectors, and where it asks for chunks, the windows that they are of, by text.

    `texts` is what its caller calls the texts. Raises what `vectors_of` raises.
    """
    if body.title is not None and body.titles is not None:
        raise InvalidInput(("titles",), "titles", "can't be there beside title")
    if not body.chunk and (field := _field_of_chunks(body)):
        raise InvalidInput((field,), "chunks", "needs chunk: true or 'late'")
    options = Options(
        task="document" if body.task is None and body.chunk else body.task,
        prompt=body.prompt,
        titles=body.title if body.titles is None else body.titles,
        dimensions=body.dimensions,
        normalize=body.normalize,
        precisions=[body.precision or "float32"],
        truncate=body.truncate is not False,
    )
    names = Names(texts, titles="title" if body.titles is None else "titles")
    if not body.chunk:
        return await vectors_of(service, settings, body.query, options, names), None
    chunking = Chunking(body.chunk == "late", body.chunk_tokens, body.chunk_overlap)
    windows, result = await vectors_of_chunks(service, settings, body.query, options, names, chunking)
    return result, windows


def described(windows: Sequence[Sequence[Window]], vectors: Iterable[Any]) -> list[list[dict[str, Any]]]:
    """Each text's windows: where they are in it, in characters, and their vectors, which are in one row."""
    each = iter(vectors)
    return [[{"start": window.start, "end": window.end, "vector": next(each)} for window in mine] for mine in windows]


def _field_of_chunks(body: PredictRequest) -> str | None:
    given = {"chunk_tokens": body.chunk_tokens, "chunk_overlap": body.chunk_overlap}
    return next((field for field, value in given.items() if value is not None), None)
