"""A row of the input: a document to embed, or the reason why it can't be, listed in a file of such rows."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import orjson

from embedding.corpus.errors import CorpusError
from embedding.corpus.files import whole
from embedding.corpus.read.columns import Columns
from embedding.corpus.read.content import MAX_CHARACTERS, is_unicode
from embedding.corpus.read.record import Record, kind, pick, plain_id, plain_text, plain_title

REJECTS = "rejects.jsonl"
CHUNK = 1 << 20
LINE = "text"
"""The one value of a row without columns."""
HASHES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A text to embed. `row` counts the input's rows from 0; `title` is empty where there is none."""

    row: int
    id: int | str | None
    title: str
    text: str
    kept: tuple[Any, ...] = ()
    """What stands in the columns that are carried into the output."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that has no vector, and why; the line where it begins, where its file has lines."""

    row: int
    id: int | str | None
    reason: str
    line: int | None = None


def check(row: int, record: Record, columns: Columns) -> Document | Reject:
    """The document of a row, or what is wrong with it. One with a title and no text is embedded by its title."""
    key: int | str | None = None
    try:
        if record.values is None:
            raise ValueError(record.fault)
        key = row if columns.id is None else _typed_id(plain_id(pick(record.values, columns.id)), columns)
        if record.fault:
            raise ValueError(record.fault)
        title = plain_title(pick(record.values, columns.title)) if columns.title else ""
        text = plain_text(pick(record.values, columns.text or LINE))
        title, text = _checked(title, text)
        kept = tuple(kept_value(pick(record.values, name), type_, name) for name, type_ in columns.keep)
    except ValueError as error:
        return Reject(row, row if columns.id is None else key, str(error), record.line)
    return Document(row, key, title, text, kept)


def _typed_id(key: int | str | None, columns: Columns) -> int | str | None:
    if columns.integer_ids:
        if isinstance(key, str):
            raise ValueError("the id is no integer, as the others are")
        return key
    return None if key is None else str(key)


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
            raise ValueError(f"the {what} {'has a byte of another encoding' if foreign else 'is not valid Unicode'}")
    return title, text


INT64, DOUBLE, BOOL, STRING, STRINGS = "int64", "double", "bool", "string", "list<string>"
KEPT_KINDS = {"integer": INT64, "number": DOUBLE, "boolean": BOOL, "text": STRING, "list of text": STRINGS}
TIMES = ("date", "timestamp")


def kept_value(value: Any, type_: str, name: str) -> Any:
    """`value` as a column of that type holds it. Raises ValueError where it is of another type."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    text = isinstance(value, str)
    try:
        match type_:
            case "int64" if text or (isinstance(value, int | float) and int(value) == value):
                return int(value) if value != "" else None
            case "double" if text or isinstance(value, int | float):
                return float(value) if value != "" else None
            case "bool" if isinstance(value, bool):
                return value
            case "list<string>" if isinstance(value, list) and all(isinstance(item, str) for item in value):
                if not all(map(is_unicode, value)):
                    raise ValueError("it is not valid Unicode")
                return value
            case "string":
                found = value if text else _written(value)
                if not is_unicode(found):
                    raise ValueError("it is not valid Unicode")
                return found
            case _ if type_.startswith(TIMES) and text:
                return None if value.startswith("<") else value  # which Arrow writes for one that is out of range
    except ValueError:
        pass
    raise ValueError(f"the column '{name}', which is kept, has {kind(value) or 'a value'} that is no {type_}")


def _written(value: Any) -> str:
    if isinstance(value, bytes):
        return str(plain_id(value) or "")
    return json.dumps(value, ensure_ascii=False, default=lambda other: plain_id(other))


class IdCounter:
    """Counts ids that are missing, and ids that are there more than once, in memory that does not grow with them."""

    def __init__(self) -> None:
        self.missing = 0
        self._count = 0
        self._hashes: BinaryIO = TemporaryFile()  # noqa: SIM115  # closed with the counter
        self._pending: list[int] = []

    def add(self, key: int | str | None) -> None:
        if key is None:
            self.missing += 1
            return
        self._pending.append(hash_of(key))
        if len(self._pending) == HASHES_AT_ONCE // 16:
            self._flush()

    def _flush(self) -> None:
        self._hashes.write(np.array(self._pending, np.uint64).tobytes())
        self._count += len(self._pending)
        self._pending.clear()

    def duplicates(self) -> int:
        """How many ids stand in more rows than one, counted once for each row but the first."""
        self._flush()
        self._hashes.flush()
        parts, unique = 1 + self._count // HASHES_AT_ONCE, 0
        for part in range(parts):
            held = [block[block % np.uint64(parts) == part] for block in self._blocks()]
            unique += len(np.unique(np.concatenate(held))) if held else 0
        return self._count - unique

    def _blocks(self) -> Iterable[Any]:
        self._hashes.seek(0)
        while block := self._hashes.read(8 * HASHES_AT_ONCE):
            yield np.frombuffer(block, np.uint64)

    def close(self) -> None:
        self._hashes.close()


def hash_of(key: int | str) -> int:
    """A number of 64 bits, the same for the same id in any process."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(str(key).encode(), digest_size=8).digest(), "little")


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
            self._kept.write(orjson.dumps({**asdict(reject), "file": file}, option=orjson.OPT_APPEND_NEWLINE))
            self.count += 1

    def write(self, folder: Path) -> None:
        """Write them as a file of `folder`. Raises CorpusError."""
        self._kept.seek(0)
        with whole(folder / REJECTS) as file:
            while chunk := self._kept.read(CHUNK):
                file.write(chunk)


__all__ = ["REJECTS", "CorpusError", "Document", "Reject", "Rejects", "check"]
