"""Calls without HTTP: the fields, limits and errors of `/predict`, with numpy arrays and Python's own exceptions."""

from collections.abc import Mapping, Sequence
from typing import Any

from embedding.api.errors import InvalidInput
from embedding.api.protocols.predict import BODY, PredictRequest, described, predicted
from embedding.api.protocols.texts import check_count
from embedding.model import Unsupported
from embedding.serving import DeadlineExceeded, Service, TooLarge, Unavailable
from embedding.settings import Settings

NOT_HERE = ("query", "encoding_format")
"""Fields that `texts` and numpy stand for."""


async def embed(service: Service, settings: Settings, texts: str | Sequence[str], options: Mapping[str, Any]) -> Any:
    """A vector (dimension,) for a text, and (texts, dimension) in their order for a list; in the precision asked for.

    `options` are the fields of `/predict`. With `chunk`, a text gives a list of windows: dicts with `start`, `end` and
    `vector`.

    Raises ValueError for what can't be served, TimeoutError for what took longer than REQUEST_TIMEOUT, and RuntimeError
    for what can't be served now: a caller may not have the classes of this package.
    """
    try:
        body = _read(texts, options, settings)
        result, windows = await predicted(service, settings, body, "texts")
    except InvalidInput as error:
        field, *place = error.location[1:]
        raise _refusal("texts" if field == "query" else field, *place, message=str(error)) from None
    except TooLarge as error:
        raise _refusal("texts", message=str(error)) from None
    except Unsupported as error:
        raise ValueError(str(error)) from None
    except DeadlineExceeded as error:
        raise TimeoutError(str(error)) from None
    except Unavailable as error:
        raise RuntimeError(f"{error}; try again in {error.retry_after} s") from None
    answers = result.numbers(body.precision or "float32")
    found: Any = answers if windows is None else described(windows, answers)
    return found[0] if isinstance(texts, str) else found


def _read(texts: object, options: Mapping[str, Any], settings: Settings) -> PredictRequest:
    """The call as the body of a request. Raises InvalidInput, or ValueError where it is of HTTP alone."""
    for name in NOT_HERE:
        if name in options:
            raise _refusal(name, message="is not permitted here")
    if not isinstance(texts, str | list | tuple):
        raise InvalidInput(("texts",), "type", f"must be {BODY.expects['query']}")
    if not isinstance(texts, str):
        check_count(len(texts), ("texts",), settings.max_client_batch)
    body = BODY.convert({**options, "query": texts})
    size = 0
    for field in ("query", "prompt", "title", "titles"):
        value = getattr(body, field)
        alone = isinstance(value, str)
        for index, words in enumerate([value] if alone else value or ()):
            try:
                size += len((words or "").encode())
            except UnicodeEncodeError as error:
                half = f"has half of a surrogate pair at character {error.start}"
                raise InvalidInput((field,) if alone else (field, index), "surrogate", half) from None
    if size > settings.max_body_bytes:
        most = f"and a call takes at most {settings.max_body_bytes} (MAX_BODY_BYTES)"
        raise InvalidInput(("texts",), "too_large", f"have {size} bytes, {most}")
    return body


def _refusal(*location: str | int, message: str) -> ValueError:
    return ValueError(f"{'.'.join(map(str, location))}: {message}")
