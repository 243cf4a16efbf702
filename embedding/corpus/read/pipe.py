"""What comes in by standard input or another pipe, as a file."""

from typing import Any

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import BUFFER, Copy, File, Reading, compression_of
from embedding.corpus.read.formats import FORMATS
from embedding.corpus.read.remote import explained

HEADS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"{": ".jsonl", b"[": ".json"}


def piped(stream: Any, name: str, reading: Reading) -> File:
    """What comes in by `stream`, in a temporary file, since it is read more than once. Raises CorpusError."""
    copy = Copy(stream)
    if copy.size == 0:
        raise CorpusError(f"nothing came in by {name}.")
    return File(copy, "", name, copy.size, reading, named_as=_telling_name(copy, name, reading))


def _telling_name(copy: Copy, name: str, reading: Reading) -> str:
    """A name that says what the copy's content is. Raises CorpusError where that can't be told."""
    with copy.open("") as content:
        compression = compression_of(content.read(8))
    if reading.input_format:
        return f"stdin.{reading.input_format}{compression}"
    file = File(copy, "", name, 0, reading, named_as=f"stdin{compression}")
    with explained(name), file.open() as content:
        head = content.read(BUFFER).removeprefix(b"\xef\xbb\xbf").lstrip()
    ending = next((ending for start, ending in HEADS.items() if head.startswith(start)), None)
    if ending is None:
        raise CorpusError(f"the format of {name} can't be told. Name it: --input-format {'|'.join(FORMATS)}.")
    return f"stdin{ending}{compression}"
