"""Calls without HTTP: the limits, prompts and errors of `/predict`, with numpy arrays and Python's own exceptions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from embedding.api.predict import PredictRequest
from embedding.model import TextError, TextTooLong
from embedding.serving import DeadlineExceeded, Service, TooLarge, Unavailable
from embedding.settings import Settings


async def embed(
    service: Service, settings: Settings, texts: str | Sequence[str], task: str, truncate: bool
) -> NDArray[np.float32]:
    """A vector (dimension,) for a text, and (texts, dimension) in their order for a list.

    Raises ValueError for what can't be served, TimeoutError for what took longer than REQUEST_TIMEOUT, and RuntimeError
    for what can't be served now: a caller may not have the classes of this package.
    """
    try:
        request = PredictRequest.model_validate({"query": texts, "task": task, "truncate": truncate})
    except ValidationError as error:
        raise ValueError(
            "; ".join(_said(each["loc"], each["msg"]) for each in error.errors(include_input=False))
        ) from None
    many = [request.query] if isinstance(request.query, str) else request.query
    _check_size(many, settings)
    try:
        result = await service.embed(many, request.task, truncate=request.truncate)
    except (TextTooLong, TextError) as error:
        raise ValueError(f"{f'texts.{error.index}' if many is request.query else 'texts'}: {error}") from None
    except TooLarge as error:
        raise ValueError(f"texts: {error}") from None
    except DeadlineExceeded as error:
        raise TimeoutError(str(error)) from None
    except Unavailable as error:
        raise RuntimeError(f"{error}; try again in {error.retry_after} s") from None
    return result.vectors[0] if isinstance(request.query, str) else result.vectors


def _check_size(texts: Sequence[str], settings: Settings) -> None:
    if len(texts) > settings.max_client_batch:
        raise ValueError(
            f"texts: {len(texts)} texts, and a call takes at most {settings.max_client_batch} (MAX_CLIENT_BATCH)"
        )
    size = sum(len(text.encode()) for text in texts)
    if size > settings.max_body_bytes:
        raise ValueError(f"texts: {size} bytes, and a call takes at most {settings.max_body_bytes} (MAX_BODY_BYTES)")


def _said(location: Sequence[str | int], message: str) -> str:
    """One fault, with the names that a call has."""
    parts = ["texts" if part == "query" else str(part) for part in location if part not in ("<one>", "<many>")]
    return f"{'.'.join(parts)}: {message}"
