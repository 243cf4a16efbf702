"""A row of the input: a document to embed, or the reason why it can't be."""

from dataclasses import dataclass
from typing import Any

from embedding.corpus.columns import Columns

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
