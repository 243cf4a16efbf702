"""A row of the input: a document to embed, or the reason why it can't be, listed in a file of such rows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from embedding.corpus.columns import Columns
from embedding.corpus.files import whole

REJECTS = "rejects.jsonl"
CHUNK = 1 << 20
MAX_CHARACTERS = 16_000_000


@dataclass(frozen=True, slots=True)
class Fields:
    """A row as it was read: anything may be in it."""

    text: Any = None
    title: Any = None
    id: Any = None
    fault: str = ""
    """Why the row could not be read, if it couldn't."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to embed. `row` counts the input's rows from 0; `title` is empty where there is none."""

    row: int
    id: int | str | None
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that has no vector, and why."""

    row: int
    id: int | str | None
    reason: str


def check(row: int, fields: Fields, columns: Columns) -> Document | Reject:
    """The document of a row, or what is wrong with it. A title that isn't text is none."""
    if columns.id is not None and columns.integer_ids and not _is_integer(fields.id):
        return Reject(row, None, "the id is no integer of 64 bits, as the first file's are")
    name = row if columns.id is None else fields.id if columns.integer_ids else _name(fields.id)
    if isinstance(name, str) and not _is_unicode(name):
        return Reject(row, None, "the id is not valid Unicode")
    title = fields.title.strip() if isinstance(fields.title, str) else ""
    reason = fields.fault or _fault(fields.text)
    if not reason and not _is_unicode(title):
        reason = "the title is not valid Unicode"
    return Reject(row, name, reason) if reason else Document(row, name, title, fields.text)


def _fault(text: Any) -> str:
    if text is None:
        return "no text"
    if not isinstance(text, str):
        return f"not text but {type(text).__name__}"
    if not text or text.isspace():
        return "blank"
    if len(text) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS:,} characters"
    return "" if _is_unicode(text) else "not valid Unicode"


def _is_integer(value: Any) -> bool:
    return value is None or (type(value) is int and -(2**63) <= value < 2**63)


def _name(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or a byte that was not UTF-8
        return False
    return True


class Rejects:
    """Rejects as they are met, kept on disk until it is known that they are all: row, id and why, never a text."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: BinaryIO = TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._kept.close()

    def add(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            self._kept.write(orjson.dumps(asdict(reject), option=orjson.OPT_APPEND_NEWLINE))
            self.count += 1

    def write(self, folder: Path) -> None:
        """Write them as a file of `folder`. Raises CorpusError."""
        self._kept.seek(0)
        with whole(folder / REJECTS) as file:
            while chunk := self._kept.read(CHUNK):
                file.write(chunk)
