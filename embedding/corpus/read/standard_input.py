"""What comes in by standard input, as a file."""

import os
import sys
import tempfile
from contextlib import ExitStack
from typing import BinaryIO, cast

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import BUFFER, File, Reading
from embedding.corpus.read.formats import FORMATS
from embedding.corpus.read.remote import explained

HEADS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"{": ".jsonl", b"[": ".json"}
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}


def standard_input(reading: Reading) -> File:
    """What comes in by standard input, in a temporary file, since it is read more than once."""
    with ExitStack() as stack:
        copy = cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile()))
        size = 0
        while block := sys.stdin.buffer.read(BUFFER):
            size += copy.write(block)
        if size == 0:
            raise CorpusError("nothing came in by standard input.")
        name = _telling_name(_Copy(copy), reading)
        stack.pop_all()  # it is closed when the process ends
    return File(_Copy(copy), "", "standard input", size, reading, named_as=name)


def _telling_name(copy: "_Copy", reading: Reading) -> str:
    """A name that says what the copy's content is. Raises CorpusError where that can't be told."""
    with copy.open("") as content:
        head = content.read(8)
    compression = next((ending for start, ending in COMPRESSED.items() if head.startswith(start)), "")
    if reading.input_format:
        return f"stdin.{reading.input_format}{compression}"
    file = File(copy, "", "standard input", 0, reading, named_as=f"stdin{compression}")
    with explained(file.name), file.open() as content:
        head = content.read(BUFFER).removeprefix(b"\xef\xbb\xbf").lstrip()
    ending = next((ending for start, ending in HEADS.items() if head.startswith(start)), None)
    if ending is None:
        raise CorpusError(f"the format of standard input can't be told. Name it: --input-format {'|'.join(FORMATS)}.")
    return f"stdin{ending}{compression}"


class _Copy:
    """A temporary file in the place of a file system."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def open(self, _path: str, _mode: str = "rb") -> BinaryIO:
        self._file.seek(0)
        return os.fdopen(os.dup(self._file.fileno()), "rb")

    def close(self) -> None:
        self._file.close()
