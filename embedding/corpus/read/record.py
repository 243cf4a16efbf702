"""A row as a file has it, and what kinds of values its columns hold."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from embedding.corpus.read.content import is_unicode

Kinds = frozenset[str]
"""What a column holds, as far as was seen: several where its rows differ, none where all are null."""

TEXT = "text"
INTEGER = "integer"
NUMBER = "number"
BOOLEAN = "boolean"
BINARY = "binary"
TEXTS = "list of text"
LIST = "list"
OBJECT = "object"
UNTYPED = "untyped text"
"""As in CSV, where a number is text as well."""

# One value in an object of MongoDB's extended JSON.
EXTENDED = {
    "$oid": TEXT,
    "$uuid": TEXT,
    "$date": TEXT,
    "$numberDecimal": TEXT,
    "$numberInt": INTEGER,
    "$numberLong": INTEGER,
}
DEPTH = 3


class Record(NamedTuple):
    """A row: its values by column, or why it can't be read. `line` is where it begins in its file, where lines tell."""

    line: int | None
    values: Mapping[str, Any] | None
    fault: str = ""
    is_blank: bool = False
    """A blank line of a text: it has a number, so that a row's is that of its line, and is no row."""


MISSING = object()


def pick(value: Any, path: str) -> Any:
    """What stands under `path` in a row: a column's name, or names of fields within it, as in `meta.title`.

    Of a list of objects, the list of what stands there in each. None where there is nothing.
    """
    if isinstance(value, list):
        found = [pick(item, path) for item in value]
        return [item for item in found if item is not None] or None
    if not isinstance(value, Mapping):
        return None
    direct = value.get(path, MISSING)
    if direct is not MISSING:
        return direct
    head, dot, rest = path.partition(".")
    while dot:
        if head in value:
            return pick(value[head], rest)
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return None


def kind(value: Any) -> str:
    """What a value is, in a word; empty for null."""
    match value:
        case None:
            return ""
        case bool():
            return BOOLEAN
        case int():
            return INTEGER if -(2**63) <= value < 2**63 else TEXT
        case float():
            return "" if value != value else NUMBER
        case str():
            return TEXT
        case bytes():
            return BINARY
        case list():
            return TEXTS if all(isinstance(item, str) for item in value) else LIST
        case Mapping():
            return OBJECT if extended(value) is None else EXTENDED[next(iter(value))]
    return type(value).__name__


def extended(value: Any) -> int | str | None:
    """The one value in an object of MongoDB's; None where it is no such object."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    ((name, inner),) = value.items()
    if name == "$date" and isinstance(inner, Mapping):
        return str(number) if (number := extended(inner)) is not None else None
    if name not in EXTENDED or not isinstance(inner, str):
        return None
    if EXTENDED[name] == TEXT:
        return inner
    return int(inner) if inner.lstrip("-").isdecimal() else None


def add_kinds(seen: dict[str, set[str]], values: Mapping[str, Any], prefix: str = "", depth: int = DEPTH) -> None:
    """Add to `seen` what each column of a row holds, and each field of its objects by its path."""
    for name, value in values.items():
        found = seen.setdefault(prefix + name, set())
        if what := kind(value):
            found.add(what)
        fields = next((item for item in value if isinstance(item, Mapping)), None) if isinstance(value, list) else value
        if isinstance(fields, Mapping) and depth and what != TEXT:
            add_kinds(seen, fields, f"{prefix}{name}.", depth - 1)


def in_words(kinds: Iterable[str]) -> str:
    """What a column holds, in words."""
    return " or ".join(sorted(kinds)) or "nothing"


def plain_id(value: Any) -> int | str | None:
    """An id as it is written: an integer of 64 bits or text; None where there is none.

    Raises ValueError, which says why, where it is neither.
    """
    match value:
        case None | "":
            return None
        case bool():
            return str(value).lower()
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            if value != value:
                return None
            return plain_id(int(value)) if value.is_integer() else repr(value)
        case str():
            if not is_unicode(value):
                raise ValueError("the id is not valid Unicode")
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value.hex()
        case Mapping() if (inner := extended(value)) is not None:
            return plain_id(inner)
        case list() | Mapping():
            raise ValueError(f"the id is no text or number but a {kind(value)}")
    return str(value)


def plain_text(value: Any) -> str | None:
    """A text as it is embedded, the paragraphs of a list with a blank line between; None where there is none.

    Raises ValueError, which says why, where it is something else.
    """
    match value:
        case None:
            return None
        case str():
            return value
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case float() if value != value:
            return None
        case list():
            parts = [part for item in value if (part := plain_text(item)) and not part.isspace()]
            return "\n\n".join(parts) if parts else None
    raise ValueError(f"not text but {_a(kind(value))}")


def plain_title(value: Any) -> str:
    """A title, empty where there is none; a number or a date is written out. Raises ValueError where it is no title."""
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bytes():
            return value.decode("utf-8", "surrogateescape").strip()
        case float() if value != value:
            return ""
        case list() | Mapping():
            raise ValueError(f"the title is no text but {_a(kind(value))}")
    return str(plain_id(value))


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
