"""The OpenAPI document, beside what FastAPI finds out by itself: bodies, the statuses of errors, and the token."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from embedding.api.edge.schema import JsonBody, filled, openapi_components

SCHEMES = {
    "HTTPBearer": {"type": "http", "scheme": "bearer"},
    "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
SECURED: dict[str, Any] = {"security": [{name: []} for name in SCHEMES]}
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}

UNAUTHORIZED: dict[int | str, dict[str, Any]] = {401: {"description": "No token, or a wrong one."}}
ERRORS: dict[int | str, dict[str, Any]] = {
    **UNAUTHORIZED,
    408: {"description": "The request did not come in time."},
    413: {"description": "The body is too large."},
    415: {"description": "The body is not JSON in UTF-8, or is compressed other than by gzip."},
    422: {"description": "Bad input; the error says which field and why."},
    429: {"description": "Too much is under way; come back after `Retry-After` seconds.", "headers": RETRY_AFTER},
    503: {"description": "Loading or stopping; come back after `Retry-After` seconds.", "headers": RETRY_AFTER},
    504: {"description": "The request missed its deadline."},
}
NAMED_MODEL_ERRORS = {**ERRORS, 404: {"description": "There is no such model here."}}
"""The errors of protocols that know the model by its name."""


def documented(
    body: JsonBody[Any],
    answer: dict[str, Any],
    examples: Sequence[Any],
    errors: Mapping[int | str, dict[str, Any]] = ERRORS,
) -> dict[str, Any]:
    """What a route's decorator takes for an endpoint that reads `body` and, where all is well, gives `answer`."""
    schema = {"$ref": f"#/components/schemas/{body.kind.__name__}"}
    content = {"schema": schema, "examples": {str(i): {"value": value} for i, value in enumerate(examples, 1)}}
    request_body = {"required": True, "content": {"application/json": content}}
    return {
        "response_class": Response,
        "responses": {200: answer, **errors},
        "openapi_extra": {"requestBody": request_body, **SECURED},
    }


def add_components(app: FastAPI, bodies: list[JsonBody[Any]], known: Callable[[], Mapping[str, Any]]) -> None:
    """Let the document of `app` describe `bodies` and the two headers of the token.

    `known` gives what stands for a name in capitals in the types and examples, as far as it is known by now.
    """
    made_by_fastapi = app.openapi

    def openapi() -> dict[str, Any]:
        document, now = made_by_fastapi(), known()
        components = document.get("components", {})
        schemas = {**components.get("schemas", {}), **openapi_components(bodies, now)}
        components = {**components, "securitySchemes": SCHEMES, "schemas": schemas}
        return {**document, "paths": filled(document["paths"], now), "components": components}

    app.openapi = openapi  # type: ignore[method-assign]
