"""Vectors as they go over the wire: JSON lists, base64, and whole bodies of bytes. All bytes are little-endian."""

import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import orjson
import pybase64
from numpy.lib.format import write_array
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

Format = Literal["float", "base64"]
"""How a vector stands in JSON, in OpenAI's words: as a list of numbers, or as the base64 of its bytes."""

JSON = "application/json"
NPY = "application/x-npy"
BYTES = "application/octet-stream"
Numbers = NDArray[Any]


def accepted_type(request: Request) -> str:
    """Which of JSON, NPY and BYTES the caller likes best, by its Accept header; JSON where it does not say."""
    likes = dict(_likes(",".join(request.headers.getlist("accept"))))
    anything = max(likes.get("*/*", 0.0), likes.get("application/*", 0.0))

    def liking(kind: str) -> tuple[float, bool]:
        quality = likes.get(kind, anything if kind == JSON else 0.0)
        return quality, quality > 0 and kind in likes

    return max((JSON, NPY, BYTES), key=liking)


def json_numbers(numbers: Numbers, format: Format = "float") -> Any:
    """(texts, dimension), or one vector (dimension,), as `dump` writes it: numbers in lists, or a string a vector."""
    if format == "float":
        return _little_endian(numbers)
    if numbers.ndim == 1:
        return _base64(_little_endian(numbers))
    return [_base64(row) for row in _little_endian(numbers)]


def dump(answer: Any) -> bytes:
    """JSON of whatever has arrays of numbers in it."""
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def json_response(answer: Any, headers: Mapping[str, str]) -> Response:
    """An answer that has arrays of numbers in it."""
    return Response(dump(answer), headers=dict(headers), media_type=JSON)


def bytes_response(numbers: Numbers, kind: str, headers: Mapping[str, str]) -> Response:
    """The array as a whole body: as `numpy.load` reads it, or its bytes alone, which headers describe."""
    array = _little_endian(numbers)
    if kind == NPY:
        file = io.BytesIO()
        write_array(file, array, allow_pickle=False)
        return Response(file.getvalue(), headers=dict(headers), media_type=NPY)
    told = {"X-Shape": ",".join(map(str, array.shape)), "X-Dtype": array.dtype.str}
    return Response(array.tobytes(), headers={**headers, **told}, media_type=BYTES)


def _base64(row: Numbers) -> str:
    return pybase64.b64encode_as_string(row.data)


def _little_endian(numbers: Numbers) -> Numbers:
    return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<"))


def _likes(accept: str) -> list[tuple[str, float]]:
    """Media types and how much each is liked, from 0 to 1."""
    likes = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        try:
            likes.append((kind, min(1.0, max(0.0, float(quality)))))
        except ValueError:
            likes.append((kind, 0.0))
    return likes
