"""Calls without HTTP: the limits, prompts and errors of `/predict`, with numpy arrays and Python's own exceptions."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from embedding.api.errors import InvalidInput
from embedding.api.protocols.texts import check_texts
from embedding.model import Task, TextError, TextTooLong
from embedding.serving import DeadlineExceeded, Service, TooLarge, Unavailable
from embedding.settings import Settings


async def embed(
    service: Service, settings: Settings, texts: str | Sequence[str], task: Task, truncate: bool
) -> NDArray[np.float32]:
    """A vector (dimension,) for a text, and (texts, dimension) in their order for a list.

    Raises ValueError for what can't be served, TimeoutError for what took longer than REQUEST_TIMEOUT, and RuntimeError
    for what can't be served now: a caller may not have the classes of this package.
    """
    one = isinstance(texts, str)
    many = [texts] if isinstance(texts, str) else texts

    def named(index: int) -> tuple[str | int, ...]:
        return ("texts",) if one else ("texts", index)

    _check_types(many, task, truncate, named, settings.max_client_batch)
    try:
        check_texts(many, named, settings.max_client_batch)
        _check_size(many, settings.max_body_bytes)
        result = await service.embed(many, task, truncate=truncate)
    except InvalidInput as error:
        raise _refusal(error.location[1:], str(error)) from None
    except (TextTooLong, TextError) as error:
        raise _refusal(named(error.index), str(error)) from None
    except TooLarge as error:
        raise _refusal(("texts",), str(error)) from None
    except DeadlineExceeded as error:
        raise TimeoutError(str(error)) from None
    except Unavailable as error:
        raise RuntimeError(f"{error}; try again in {error.retry_after} s") from None
    return result.vectors[0] if one else result.vectors


def _check_types(texts: object, task: object, truncate: object, named: Any, limit: int) -> None:
    """Raise ValueError for what JSON could not have brought here. Of more than `limit` texts, none is looked at."""
    if not isinstance(texts, list | tuple) or not texts:
        raise _refusal(("texts",), "must be a string or a list of strings, of at least one")
    for index, text in enumerate(texts if len(texts) <= limit else ()):
        if not isinstance(text, str):
            raise _refusal(named(index), "must be a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _refusal(named(index), f"has half of a surrogate pair at character {error.start}") from None
    if task not in get_args(Task):
        raise _refusal(("task",), "must be 'query' or 'document'")
    if not isinstance(truncate, bool):
        raise _refusal(("truncate",), "must be a boolean")


def _check_size(texts: Sequence[str], limit: int) -> None:
    size = sum(len(text.encode()) for text in texts)
    if size > limit:
        raise _refusal(("texts",), f"have {size} bytes, and a call takes at most {limit} (MAX_BODY_BYTES)")


def _refusal(location: Sequence[str | int], message: str) -> ValueError:
    return ValueError(f"{'.'.join(map(str, location))}: {message}")
