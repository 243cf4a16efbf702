"""CSV and TSV, read to the letter: a quote out of place ends the reading, and says where it stands.

A row with another number of fields than the header is one that can't be read. TSV has no quotes by its rule; where the
first rows show them all the same, they are read.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import MAX_CHARACTERS, File, Text
from embedding.corpus.read.record import UNTYPED, Kinds, Record

DELIMITERS = ",;\t|"
NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "none": ""}
HEAD_LINES = 200
HEAD_CHARACTERS = 1 << 18
DOUBLE, NONE = "double", "none"
# So many delimiters stand where a row would have them by no chance.
UNLIKELY = 6
# Excel's first line.
EXCEL = re.compile(r"""("?)sep=(?P<delimiter>[^\r\n"])\1\s*""", re.IGNORECASE)
# What MySQL and PostgreSQL write for nothing.
NULL = "\\N"
SHAPE = re.compile(r"\d+|[^\W\d_]+")


@dataclass(frozen=True)
class Dialect:
    """How fields are told apart. Without a delimiter, a line is a field."""

    delimiter: str
    quoted: bool

    def __str__(self) -> str:
        named = {"\t": "tab", "": "none"}.get(self.delimiter, repr(self.delimiter))
        return f"delimiter {named}, {'quotes' if self.quoted else 'no quotes'}"

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The fields of each row. Raises csv.Error where a quote is out of place."""
        if not self.delimiter:
            return ([line.rstrip("\r\n")] if line.strip() else [] for line in lines)
        if self.quoted:
            return csv.reader(lines, delimiter=self.delimiter, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)


@dataclass(frozen=True)
class _Rows:
    header: list[str]
    dialect: Dialect
    records: Iterator[tuple[int, list[str]]]


def kinds(file: File) -> dict[str, Kinds]:
    """The columns. Raises CorpusError where they can't be told; a file of nothing has none."""
    with _opened(file) as rows:
        return dict.fromkeys(rows.header, frozenset({UNTYPED}))


def dialect(file: File) -> Dialect:
    """What tells the fields of `file` apart."""
    with _opened(file) as rows:
        return rows.dialect


def records(file: File, names: Sequence[str]) -> Iterator[Record]:
    """Every row. Raises CorpusError where a quote is out of place, or a column of `names` is there twice."""
    with _opened(file) as rows:
        header = rows.header
        if twice := [name for name in names if header.count(name) > 1]:
            raise CorpusError(f"{file.name} has several columns '{twice[0]}'. Give them names of their own.")
        for line, fields in rows.records:
            fault = "" if len(fields) == len(header) else f"{_fields(len(fields))}, not {len(header)}"
            values = (None if field == NULL else field for field in fields)
            yield Record(line, dict(zip(header, values, strict=False)), fault)


@contextmanager
def _opened(file: File) -> Iterator[_Rows]:
    csv.field_size_limit(MAX_CHARACTERS)
    with file.open_text(newline="") as text:
        head = _head(file, text)
        skipped = next((number for number, line in enumerate(head) if line.strip()), 0)
        given = _given(file)
        if told := EXCEL.fullmatch(head[skipped]) if head else None:
            given, skipped = given or told["delimiter"], skipped + 1
        head = head[skipped:]
        found = _dialect(file, head, given, skipped)
        records = _records(file, found, chain(head, _whole_lines(file, text)), skipped)
        header: list[str] = []
        if (first := next(records, None)) is not None:
            header = first[1]
            if file.reading.no_header:
                header = [str(number) for number in range(1, len(first[1]) + 1)]
                records = chain([first], records)
        yield _Rows(header, found, records)


def _head(file: File, text: Text) -> list[str]:
    """The first lines, to tell the dialect by."""
    lines: list[str] = []
    held = 0
    for line in _whole_lines(file, text):
        lines.append(line)
        held += len(line)
        if len(lines) == HEAD_LINES or held > HEAD_CHARACTERS:
            break
    return lines


def _whole_lines(file: File, text: Text) -> Iterator[str]:
    """The lines. Raises CorpusError where one is too long for any row."""
    for number, line in text.lines():
        if line is None:
            raise CorpusError(f"{file.name}, line {number}: longer than {MAX_CHARACTERS:,} characters.")
        yield line


def _given(file: File) -> str | None:
    given = file.reading.delimiter
    if given is None:
        return None
    found = NAMES.get(given.lower(), given)
    if len(found) > 1 or found in ('"', "\r", "\n"):
        raise CorpusError(f"DELIMITER: '{given}' is no delimiter. Give one character, or {', '.join(NAMES)}.")
    return found


def _dialect(file: File, head: list[str], given: str | None, skipped: int) -> Dialect:
    tabs = file.suffix == ".tsv" or file.reading.input_format == "tsv"
    delimiter = given if given is not None else "\t" if tabs else _delimiter(file, head, skipped)
    if file.reading.quote is not None:
        return Dialect(delimiter, file.reading.quote == DOUBLE)
    return Dialect(delimiter, bool(delimiter) and (not tabs or _shows_quotes(head, delimiter)))


def _delimiter(file: File, head: list[str], skipped: int) -> str:
    """The delimiter by which each of the first rows has as many fields as the header, more than one."""
    found = {mark: _measure(head, Dialect(mark, file.reading.quote != NONE))[0] for mark in DELIMITERS}
    several = [mark for mark, rows in found.items() if rows and rows[0][1] > 1]
    regular = [mark for mark in several if len({count for _, count in found[mark]}) == 1]
    if len(regular or several) > 1:
        which = " or ".join("tab" if mark == "\t" else f"'{mark}'" for mark in regular or several)
        raise CorpusError(f"{file.name}: the delimiter may be {which}. Name it with --delimiter.")
    if several:
        return (regular or several)[0]
    for line, count in found[","]:
        if count > 1:
            raise CorpusError(
                f"{file.name}, line {line + skipped}: {count} fields, where the header has one. "
                "Where each line is one text: --delimiter none."
            )
    return ","


def _measure(head: list[str], dialect: Dialect) -> tuple[list[tuple[int, int]], str]:
    """Of the first rows the line in which each begins, and its number of fields; and what ended the reading, if any."""
    rows = dialect.reader(iter(head))
    found: list[tuple[int, int]] = []
    line = 1
    try:
        for fields in rows:
            if fields:
                found.append((line, len(fields)))
            line = getattr(rows, "line_num", line) + 1
    except csv.Error as error:
        return found, str(error)
    return found, ""


def _shows_quotes(head: list[str], delimiter: str) -> bool:
    """Whether the first rows of a TSV are quoted: with quotes they are regular, and without they are not.

    Or all of the header is quoted, or a quoted field has its inner quotes doubled.
    """
    quoted, plain = Dialect(delimiter, True), Dialect(delimiter, False)
    rows, error = _measure(head, quoted)
    cut = len(head) == HEAD_LINES or sum(map(len, head)) > HEAD_CHARACTERS
    if (error and not (cut and "unexpected end" in error)) or len({count for _, count in rows}) != 1:
        return False
    fields = [line.rstrip("\r\n").split(delimiter) for line in head]
    wrapped = [field for row in fields for field in row if len(field) > 1 and field[0] == field[-1] == '"']
    if not wrapped:
        return any('"' in line for line in head) and len({len(row) for row in fields}) > 1
    header, irregular = fields[0], len({count for _, count in _measure(head, plain)[0]}) > 1
    return irregular or all(name in wrapped for name in header) or any('""' in field[1:-1] for field in wrapped)


def _records(file: File, dialect: Dialect, lines: Iterator[str], skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line in which it begins."""
    held: list[str] = []

    def followed() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    rows = dialect.reader(followed())
    line = skipped + 1
    while True:
        held.clear()
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise _misplaced(file, line, str(error)) from None
        if len(held) > 1 and file.reading.quote is None and _swallowed(held, dialect, len(fields)):
            raise CorpusError(
                f"{file.name}, line {line}: a quote that opens here closes in line {line + len(held) - 1}, and "
                "each line between looks like a row. Where the file has no quotes: --quote none. "
                "Where this is one text: --quote double."
            )
        if fields:
            yield line, fields
        line += len(held)


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _misplaced(file: File, line: int, error: str) -> CorpusError:
    if "field larger" in error:
        return CorpusError(f"{file.name}, line {line}: a field longer than {MAX_CHARACTERS:,} characters.")
    return CorpusError(
        f"{file.name}, line {line}: a quote in the row that begins here is never closed, or closed before the end of "
        "its field. Mend it, or where the file has no quotes: --quote none."
    )


def _swallowed(lines: list[str], dialect: Dialect, count: int) -> bool:
    """Whether each line of a quoted field that goes over several looks like a row of its own.

    That is: it has the row's number of fields, which no text has by chance in many lines, or its first or
    its last field has the same shape in all of them, as ids and labels have.
    """
    rows = [line.rstrip("\r\n").split(dialect.delimiter) for line in lines]
    if count < 2 or any(len(row) != count for row in rows):
        return False
    if (len(lines) - 1) * (count - 1) >= UNLIKELY:
        return True
    first, last = ({_shape(row[place]) for row in rows} for place in (0, -1))
    return any(len(shapes) == 1 and "" not in shapes and " " not in next(iter(shapes)) for shapes in (first, last))


def _shape(field: str) -> str:
    return SHAPE.sub(lambda found: "0" if found[0][0].isdigit() else "a", field.strip('"'))
