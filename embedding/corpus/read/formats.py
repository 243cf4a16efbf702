"""The formats of files that are read, and what each tells: its columns, and its rows one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from embedding.corpus.errors import CorpusError
from embedding.corpus.read import delimited, json_records, lance, tables
from embedding.corpus.read.content import COMPRESSIONS, MAX_CHARACTERS, File
from embedding.corpus.read.record import TEXT, Kinds, Record

LINE = "text"
"""The one column of a text file."""


@dataclass(frozen=True)
class Format:
    """A format: `name` is what it is called; `kinds` says what its columns hold, as far as its head or schema tells.

    `records` reads every row, of at least the columns that are named.
    """

    name: str
    kinds: Callable[[File], Mapping[str, Kinds]]
    records: Callable[[File, Sequence[str]], Iterator[Record]]
    has_columns: bool = True
    typed: bool = False
    """Whether a schema says what its columns hold, for all rows."""


def _text_kinds(_file: File) -> dict[str, Kinds]:
    return {LINE: frozenset({TEXT})}


def _text_lines(file: File, _names: Sequence[str]) -> Iterator[Record]:
    """A text a line, whichever way its lines end."""
    with file.open_text(newline=None) as text:
        for number, line in text.lines():
            if line is None:
                yield Record(number, None, f"longer than {MAX_CHARACTERS:,} characters")
            else:
                yield Record(number, {LINE: line.removesuffix("\n")}, is_blank=line.isspace())


def _whole_text(file: File, _names: Sequence[str]) -> Iterator[Record]:
    with file.open_text() as text:
        content = text.read(MAX_CHARACTERS + 1)
        yield Record(1, {LINE: content, "file": file.name})


def _whole_kinds(_file: File) -> dict[str, Kinds]:
    return {LINE: frozenset({TEXT}), "file": frozenset({TEXT})}


FORMATS = {
    "parquet": Format("Parquet", tables.parquet_kinds, tables.parquet_records, typed=True),
    "arrow": Format("Arrow", tables.arrow_kinds, tables.arrow_records, typed=True),
    "lance": Format("Lance", lance.kinds, lance.records, typed=True),
    "jsonl": Format("JSONL", json_records.kinds, json_records.records),
    "json": Format("JSON", json_records.kinds, json_records.records),
    "csv": Format("CSV", delimited.kinds, delimited.records),
    "tsv": Format("TSV", delimited.kinds, delimited.records),
    "txt": Format("text", _text_kinds, _text_lines, has_columns=False),
    "md": Format("Markdown", _whole_kinds, _whole_text, has_columns=False),
}
SUFFIXES = {".ndjson": "jsonl", ".feather": "arrow", ".ipc": "arrow", ".markdown": "md", ".text": "txt"}
SUFFIXES |= {f".{name}": name for name in FORMATS}
PROSE = ("txt", "md")
"""Formats without columns, in which a folder of data may have its documentation."""


def format_of(suffix: str) -> str | None:
    """The key of the format whose files end in `suffix`; None where there is none."""
    return SUFFIXES.get(suffix)


def known() -> str:
    """The endings of the files that are read, in words."""
    endings = ", ".join(f".{name}" for name in FORMATS)
    return f"{endings}, each also as {', '.join(COMPRESSIONS)} or in a .zip"


def check_format(name: str | None) -> str | None:
    """`name` as the key of a format. Raises CorpusError where there is no such."""
    if name is None:
        return None
    found = format_of(f".{name.lower().removeprefix('.')}")
    if found is None:
        raise CorpusError(f"INPUT_FORMAT: '{name}' is no known format. Known are {', '.join(FORMATS)}.")
    return found
