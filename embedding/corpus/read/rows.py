"""A row of the input: a document to embed, or the reason why it can't be, listed in a file of such rows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from embedding.corpus.files import whole
from embedding.corpus.read.columns import Columns
from embedding.corpus.read.content import MAX_CHARACTERS, is_unicode
from embedding.corpus.read.kept import kept_value
from embedding.corpus.read.record import Record, pick, plain_id, plain_text, plain_title

REJECTS = "rejects.jsonl"
CHUNK = 1 << 20
LINE = "text"
"""The one value of a row without columns."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to embed. `row` counts the input's rows from 0; `title` is empty where there is none."""

    row: int
    id: int | str | None
    title: str
    text: str
    kept: tuple[Any, ...] = ()
    """What stands in the columns that are carried into the output."""
    line: int | None = None
    """Where it begins, where its file has lines."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that has no vector, and why; the line where it begins, where its file has lines."""

    row: int
    id: int | str | None
    reason: str
    line: int | None = None


def check(row: int, record: Record, columns: Columns) -> Document | Reject:
    """The document of a row, or what is wrong with it. One with a title and no text is embedded by its title."""
    key: int | str | None = row if columns.id is None else None
    try:
        if record.values is None:
            raise ValueError(record.fault)
        if columns.id is not None:
            key = _typed_id(plain_id(pick(record.values, columns.id)), columns)
        if record.fault:
            raise ValueError(record.fault)
        title = plain_title(pick(record.values, columns.title)) if columns.title else ""
        title, text = _checked(title, plain_text(pick(record.values, columns.text or LINE)))
        kept = tuple(kept_value(pick(record.values, name), type_, name) for name, type_ in columns.keep)
    except ValueError as error:
        return Reject(row, key, str(error), record.line)
    return Document(row, key, title, text, kept, record.line)


def _typed_id(key: int | str | None, columns: Columns) -> int | str | None:
    if columns.integer_ids is None:
        return key
    if columns.integer_ids and isinstance(key, str):
        raise ValueError("the id is no integer, as the others are")
    return key if key is None or columns.integer_ids else str(key)


def _checked(title: str, text: str | None) -> tuple[str, str]:
    """A title and a text that can be embedded. Raises ValueError, which says what is wrong."""
    if text is None or not text or text.isspace():
        if not title:
            raise ValueError("no text" if text is None else "blank")
        title, text = "", title
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"longer than {MAX_CHARACTERS:,} characters")
    for what, part in (("text", text), ("title", title)):
        if not is_unicode(part):
            foreign = any("\udc80" <= character <= "\udcff" for character in part)
            fault = "has a byte that is not of its encoding" if foreign else "is not valid Unicode"
            raise ValueError(f"the {what} {fault}")
    return title, text


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

    def add(self, file: str, rejects: Iterable[Reject]) -> None:
        """Take rejects of the input's file that has the name `file`."""
        for reject in rejects:
            told = {"file": file, **{name: value for name, value in asdict(reject).items() if name != "line"}}
            if reject.line is not None:
                told["line"] = reject.line
            self._kept.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
            self.count += 1

    def write(self, folder: Path) -> None:
        """Write them as a file of `folder`. Raises CorpusError."""
        self._kept.seek(0)
        with whole(folder / REJECTS) as file:
            while chunk := self._kept.read(CHUNK):
                file.write(chunk)
