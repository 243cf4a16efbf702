"""A request's body: received within bounds, unpacked, and parsed where it holds up nobody."""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from embedding.api.edge.schema import JsonBody
from embedding.api.errors import BodyTooLarge, CallerLeft, InvalidInput, UnsupportedContent
from embedding.serving import Overloaded

T = TypeVar("T", bound=msgspec.Struct)

SMALL_BYTES = 65_536
"""Parsed in less than a millisecond, so at once."""
HELD_BODIES = 32
"""Bodies of the largest size for which there is memory while they are received and parsed."""
GZIP = 16 + zlib.MAX_WBITS
JSON_TYPE = re.compile(r"application/(json|[\w.+-]+\+json)", re.ASCII)
CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s;"]*)', re.ASCII | re.IGNORECASE)


class Bodies:
    """Receives and parses the bodies of one app's requests, of at most `max_bytes`, packed and unpacked.

    Large ones are parsed one at a time, in a thread; and all those held at once have a bound together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parse")

    async def read(self, request: Request, body: JsonBody[T]) -> T:
        """The request's body as `body` has it.

        Raises UnsupportedContent, BodyTooLarge, InvalidInput; Overloaded where too many large bodies are being
        received; CallerLeft.
        """
        self._check_announced(request)
        _check_type(request.headers.get("content-type", "application/json"))
        content = bytearray()
        held = 0
        try:
            async for part in self._receive(request):
                content += part
                if len(content) > SMALL_BYTES:
                    self._held += len(content) - held
                    held = len(content)
                    if self._held > HELD_BODIES * self._max_bytes:
                        raise Overloaded("too many large requests are being received")
            if not held:
                return body.parse(content)
            return await asyncio.get_running_loop().run_in_executor(self._parser, body.parse, content)
        except ClientDisconnect:
            raise CallerLeft from None
        finally:
            self._held -= held

    def close(self) -> None:
        """End the thread."""
        self._parser.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, request: Request) -> AsyncIterator[bytes]:
        left = self._max_bytes
        gunzip = _gunzip_for(request)
        async for part in request.stream():
            left -= len(part)
            if gunzip:
                part = gunzip.unpack(part, self._max_bytes)
            if left < 0 or (gunzip and gunzip.unpacked > self._max_bytes):
                raise self._too_large()
            yield part
        if gunzip:
            gunzip.finish()

    def _check_announced(self, request: Request) -> None:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"is larger than {self._max_bytes} bytes (MAX_BODY_BYTES)")


class _Gunzip:
    """Unpacks a gzip stream part by part, never into more than it is asked for."""

    def __init__(self) -> None:
        self.unpacked = 0
        self._stream = zlib.decompressobj(GZIP)

    def unpack(self, part: bytes, max_bytes: int) -> bytes:
        """What `part` holds, or the first bytes that make it more than `max_bytes` in all."""
        try:
            content = self._stream.decompress(part, max(1, max_bytes - self.unpacked + 1))
        except zlib.error:
            raise _not_gzip("is not valid gzip, as its Content-Encoding says") from None
        self.unpacked += len(content)
        if self._stream.unused_data:
            raise _not_gzip("goes on after the end of its gzip stream")
        return content

    def finish(self) -> None:
        """Raise InvalidInput where the stream is not whole."""
        if not self._stream.eof:
            raise _not_gzip("ends before its gzip stream does")


def _gunzip_for(request: Request) -> _Gunzip | None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return None
    if encoding in ("gzip", "x-gzip"):
        return _Gunzip()
    raise UnsupportedContent(f"must be sent as it is or as gzip, not with Content-Encoding {encoding[:100]}")


def _check_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if not JSON_TYPE.fullmatch(media_type):
        named = media_type[:100] or "an empty Content-Type"
        raise UnsupportedContent(f"must be a JSON object, sent as Content-Type application/json, not {named}")
    charset = CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedContent(f"must be in UTF-8, not {charset[1][:100]}")


def _not_gzip(message: str) -> InvalidInput:
    return InvalidInput((), "gzip_invalid", message)
