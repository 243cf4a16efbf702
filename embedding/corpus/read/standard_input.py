"""What comes in by standard input, as a file."""

import os
import sys
import tempfile
from dataclasses import replace
from typing import BinaryIO, cast

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import BUFFER, File, Reading
from embedding.corpus.read.formats import FORMATS
from embedding.corpus.read.remote import explained

HEADS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"{": ".jsonl", b"[": ".json"}
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}


def standard_input(reading: Reading) -> File:
    """What comes in by standard input, in a temporary file, since it is read more than once."""
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  # it ends with the process
    size = 0
    while block := sys.stdin.buffer.read(BUFFER):
        size += copy.write(block)
    system = _Copy(copy)
    head = system.open("").read(8)
    compression = next((ending for start, ending in COMPRESSED.items() if head.startswith(start)), "")
    file = File(system, "", "standard input", size, reading, named_as=f"stdin{compression}")
    with explained(file.name), file.open() as content:
        head = content.read(BUFFER).removeprefix(b"\xef\xbb\xbf").lstrip()
    ending = (
        f".{reading.input_format}"
        if reading.input_format
        else next((ending for start, ending in HEADS.items() if head.startswith(start)), None)
    )
    if size == 0:
        raise CorpusError("nothing came in by standard input.")
    if ending is None:
        raise CorpusError(f"the format of standard input can't be told. Name it: --input-format {'|'.join(FORMATS)}.")
    return replace(file, named_as=f"stdin{ending}{compression}")


class _Copy:
    """A temporary file in the place of a file system."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def open(self, _path: str, _mode: str = "rb") -> BinaryIO:
        self._file.seek(0)
        return os.fdopen(os.dup(self._file.fileno()), "rb")
