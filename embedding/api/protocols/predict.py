"""`POST /predict {"query": …}`: a text gives its vector, a list of texts gives a list of vectors."""

from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from embedding.api.edge.schema import JsonBody
from embedding.api.openapi import documented
from embedding.api.protocols import Protocol
from embedding.api.protocols.texts import MAX_NAMED, Text, Texts, embed, model_headers, read_body, truncation_headers
from embedding.model import Task

EXAMPLES: list[Any] = [
    {"query": "What is machine learning?"},
    {"query": ["Galaxies form when gas cools.", "Bread rises when yeast ferments."], "task": "document"},
]


class PredictRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to embed, each under the model's prompt for its task."""

    query: Annotated[Text | Texts, msgspec.Meta(description="a text, or a list of texts")]
    task: Annotated[
        Task | None, msgspec.Meta(description="query: what is searched with; document: what is searched in")
    ] = "query"
    truncate: Annotated[
        bool | None, msgspec.Meta(description="cut a text beyond the model's limit; if false, refuse it")
    ] = True


BODY = JsonBody(
    PredictRequest,
    expects={
        "query": "a string or a list of strings",
        "task": "'query' or 'document'",
        "truncate": "a boolean",
    },
)
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
    "content": {"application/json": {"schema": {"oneOf": [
        {"type": "array", "items": {"type": "number"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    ]}, "example": [0.0123, -0.0456, 0.0789]}},
}  # fmt: skip

router = APIRouter(tags=["predict"])
PROTOCOL = Protocol(router, [BODY])


@router.post("/predict", **documented(BODY, ANSWER, EXAMPLES))
async def predict(request: Request) -> Response:
    """The vector of each text, of unit length where the model normalises."""
    body = await read_body(request, BODY)
    truncate = body.truncate is not False
    result = await embed(request, body.query, body.task or "query", field="query", truncate=truncate)
    vectors = result.vectors[0] if isinstance(body.query, str) else result.vectors
    answer = orjson.dumps(vectors, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {**model_headers(request), **truncation_headers(result)}
    return Response(answer, headers=headers, media_type="application/json")
