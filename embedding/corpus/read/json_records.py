"""JSON: an object a line, or an array of objects, read in memory that does not grow with the file."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import orjson

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import MAX_CHARACTERS, MAX_LINE, File, Text
from embedding.corpus.read.record import Kinds, Record, add_kinds

HEAD_ROWS = 100
CHUNK = 1 << 16
SPACE = re.compile(r"\s*")
# So near to the end of what was read, an error may be for want of the rest.
NEAR = 16


def kinds(file: File) -> dict[str, Kinds]:
    """What the columns of the first rows hold. Raises CorpusError where none of those is an object."""
    seen: dict[str, set[str]] = {}
    first: Record | None = None
    rows = 0
    for record in islice(records(file, ()), HEAD_ROWS):
        rows += 1
        if record.values is not None:
            add_kinds(seen, record.values)
        else:
            first = first or record
    if first and not seen:
        raise CorpusError(
            f"{file.name}, line {first.line}: {first.fault}. None of the first {rows} rows is a JSON object: they are "
            "to be an object a line, or one array of objects."
        )
    return {name: frozenset(found) for name, found in seen.items()}


def records(file: File, _names: Sequence[str]) -> Iterator[Record]:
    """Every object. A line that is none is a row that can't be read; in an array, it ends the reading.

    So it does where objects stand one after the other over several lines, as their first line tells.
    """
    with file.open_text() as text:
        while (head := text.read(1)).isspace():
            pass
        if head == "[":
            yield from _array(file, text)
            return
        while head == "{" or (head and head[-1] in " \t\r"):
            if not (after := text.read(1)):
                break
            head += after
        yield from _objects(file, text, head) if head.endswith("\n") else _lines(text, head)


def _lines(text: Text, first: str) -> Iterator[Record]:
    """The objects of the lines, of which `first` was read already; blank lines are passed over."""
    for number, line in text.lines():
        if line is None:
            yield Record(number, None, f"longer than {MAX_CHARACTERS:,} characters")
        elif (line := first + line) and not line.isspace():
            yield _record(number, line)
        first = ""
    if first:
        yield _record(text.line + 1, first)


def _record(number: int, line: str) -> Record:
    try:
        value = orjson.loads(line)
    except ValueError:
        try:
            value = json.loads(line)  # reads what Python writes and orjson refuses: NaN, halves of surrogate pairs
        except (ValueError, RecursionError):
            return Record(number, None, "not JSON")
    return _row(number, value)


def _row(number: int, value: Any) -> Record:
    return Record(number, value) if isinstance(value, dict) else Record(number, None, "not a JSON object")


def _array(file: File, text: Text) -> Iterator[Record]:
    """The items of an array whose bracket was read. Raises CorpusError where it is not JSON, or ends too soon."""
    values = _Values(file, text)
    if values.peek() == "]":
        values.take("]")
    else:
        while True:
            number = values.line
            yield _row(number, values.next())
            if values.peek() == "]":
                values.take("]")
                break
            values.take(",")
            values.peek()
    if values.peek():
        raise values.error("something stands behind the end of the array")


def _objects(file: File, text: Text, head: str) -> Iterator[Record]:
    """Values one after the other, of which `head` was read already. Raises CorpusError where one is not JSON."""
    values = _Values(file, text, head)
    while values.peek():
        number = values.line
        yield _row(number, values.next())


class _Values:
    """JSON values one after the other, of a text that is read a chunk at a time. `line` is that of the place."""

    def __init__(self, file: File, text: Text, head: str = "") -> None:
        self._file = file
        self._text = text
        self._decode = json.JSONDecoder().raw_decode
        self._buffer = head
        self._place = 0
        self._unended = "the object is not ended" if head else "the array is not ended"
        self.line = text.line + 1 - head.count("\n")

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            space = SPACE.match(self._buffer, self._place)
            assert space is not None
            self._move(space.end())
            if self._place < len(self._buffer):
                return self._buffer[self._place]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(self._unended if not self.peek() else "not JSON")
        self._move(self._place + 1)

    def next(self) -> Any:
        """The next value."""
        while True:
            try:
                value, end = self._decode(self._buffer, self._place)
                if end < len(self._buffer) or not self._more():
                    self._move(end)
                    return value
            except RecursionError:
                raise self.error("nested too deeply") from None
            except json.JSONDecodeError as error:
                at = error.pos - self._place
                cut = error.pos + NEAR >= len(self._buffer) or error.msg.startswith("Unterminated string")
                if not (cut and len(self._buffer) - self._place < MAX_LINE and self._more()):
                    too_long = len(self._buffer) - self._place >= MAX_LINE
                    self._move(min(self._place + at, len(self._buffer)))
                    if too_long:
                        raise self.error(f"longer than {MAX_CHARACTERS:,} characters") from None
                    unended = cut and not (self._place < len(self._buffer) and self._buffer[self._place] in "]}")
                    raise self.error(self._unended if unended else "not JSON") from None

    def error(self, reason: str) -> CorpusError:
        return CorpusError(f"{self._file.name}, line {self.line}: {reason}.")

    def _move(self, place: int) -> None:
        self.line += self._buffer.count("\n", self._place, place)
        self._place = place

    def _more(self) -> bool:
        """Read as much again as is held, so that a long value is not decoded over and over."""
        self._buffer, self._place = self._buffer[self._place :], 0
        more = self._text.read(max(CHUNK, len(self._buffer)))
        self._buffer += more
        return bool(more)
