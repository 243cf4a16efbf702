"""Each kind of file, read row by row in memory that does not grow with it."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO

import orjson

from embedding.corpus.columns import INTEGER, STRING, UNKNOWN, Columns
from embedding.corpus.errors import CorpusError
from embedding.corpus.rows import MAX_CHARACTERS, Fields

BUFFER = 1 << 20
BATCH_BYTES = 8 << 20
BATCH_ROWS = 4096
SAMPLE_ROWS = 100
DELIMITERS = ",\t;|"
# A character takes up to four bytes in UTF-8 and six in JSON.
MAX_LINE = 6 * MAX_CHARACTERS


@dataclass
class File:
    """A file of the input, and how many of its bytes have been read."""

    system: Any
    path: str
    size: int
    position: int = 0

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        with self.system.open(self.path, "rb") as raw:
            yield io.BufferedReader(raw, BUFFER) if not isinstance(raw, io.BufferedReader) else raw

    @contextmanager
    def content(self) -> Iterator[tuple[BinaryIO | gzip.GzipFile, BinaryIO]]:
        """What the file holds, and the file itself, whose place says how much was read."""
        with self.open() as raw:
            if not self.path.lower().endswith(".gz"):
                yield raw, raw
                return
            with gzip.open(raw) as content:
                yield content, raw


@dataclass(frozen=True)
class Kind:
    """A kind of file: what its columns hold, by name, and its rows."""

    name: str
    types: Callable[[File], Mapping[str, str]]
    rows: Callable[[File, Columns], Iterator[Fields]]


def parquet_types(file: File) -> dict[str, str]:
    import pyarrow.parquet as pq

    with file.open() as raw:
        return {field.name: _holds(field.type) for field in pq.ParquetFile(raw).schema_arrow}


def parquet_rows(file: File, columns: Columns) -> Iterator[Fields]:
    import pyarrow.parquet as pq

    with file.open() as raw:
        parquet = pq.ParquetFile(raw, buffer_size=BUFFER, pre_buffer=False)
        if missing := [name for name in columns.named if name not in parquet.schema_arrow.names]:
            raise CorpusError(f"{file.path} has no column '{missing[0]}', which the first file has.")
        if twice := [name for name in columns.named if parquet.schema_arrow.names.count(name) > 1]:
            raise CorpusError(f"{file.path} has several columns '{twice[0]}'.")
        rows, done = parquet.metadata.num_rows, 0
        groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
        widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
        size = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, widest)))
        for batch in parquet.iter_batches(size, columns=columns.named):
            lists = {name: _values(batch.column(name)) for name in columns.named}
            nothing = [None] * batch.num_rows
            texts, titles, ids = (lists.get(n or "", nothing) for n in (columns.text, columns.title, columns.id))
            for text, title, name in zip(texts, titles, ids, strict=True):
                yield Fields(text, title, name)
            done += batch.num_rows
            file.position = file.size * done // rows


def _values(column: Any) -> list[Any]:
    """What a column holds; a byte that is not UTF-8 becomes half of a surrogate pair, by which its row is told."""
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        values = column.cast(pa.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "surrogateescape") for value in values]


def jsonl_types(file: File) -> dict[str, str]:
    types: dict[str, str] = {}
    for record in islice(_records(file), SAMPLE_ROWS):
        if isinstance(record, dict):
            types.update(dict.fromkeys(record, UNKNOWN))
    if not types:
        raise CorpusError(f"{file.path} holds no JSON objects, one a line, at its beginning.")
    return types


def jsonl_rows(file: File, columns: Columns) -> Iterator[Fields]:
    for record in _records(file):
        if isinstance(record, dict):
            text, title, name = (
                None if n is None else record.get(n) for n in (columns.text, columns.title, columns.id)
            )
            yield Fields(text, title, name)
        else:
            yield Fields(fault=record)


def csv_types(file: File) -> dict[str, str]:
    with _table(file) as (header, _):
        if not header:
            raise CorpusError(f"{file.path} is empty: it has no line of column names.")
        return dict.fromkeys(header, UNKNOWN)


def csv_rows(file: File, columns: Columns) -> Iterator[Fields]:
    with _table(file) as (header, records):
        if missing := [name for name in columns.named if name not in header]:
            raise CorpusError(f"{file.path} has no column '{missing[0]}', which the first file has.")
        places = [header.index(n) if n is not None else len(header) for n in (columns.text, columns.title, columns.id)]
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                yield Fields(fault=f"not CSV: {error}")
                continue
            if record:
                text, title, name = (record[place] if place < len(record) else None for place in places)
                fault = "more fields than columns" if len(record) > len(header) else ""
                yield Fields(text, title, name, fault)


def text_types(_file: File) -> dict[str, str]:
    return {}


def text_rows(file: File, _columns: Columns) -> Iterator[Fields]:
    for line in _lines(file):
        if line is None:
            yield Fields(fault=f"longer than {MAX_CHARACTERS:,} characters")
        else:
            yield Fields(line.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r"))


_PARQUET = Kind("Parquet", parquet_types, parquet_rows)
_JSONL = Kind("JSONL", jsonl_types, jsonl_rows)
_CSV = Kind("CSV", csv_types, csv_rows)
TEXT = Kind("text", text_types, text_rows)
KINDS = {
    ".parquet": _PARQUET,
    ".jsonl": _JSONL,
    ".ndjson": _JSONL,
    ".json": _JSONL,
    ".csv": _CSV,
    ".tsv": _CSV,
    ".txt": TEXT,
}


def _holds(type_: Any) -> str:
    """What a Parquet column holds. Unsigned integers of 64 bits don't fit where ids go, and are no integers here."""
    import pyarrow.types as is_

    if is_.is_dictionary(type_):
        type_ = type_.value_type
    if is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_):
        return STRING
    return INTEGER if is_.is_integer(type_) and not is_.is_uint64(type_) else str(type_)


def _lines(file: File) -> Iterator[bytes | None]:
    """Each line with its end; None for one that is too long. A byte order mark is left out."""
    with file.content() as (content, raw):
        line = content.readline(MAX_LINE).removeprefix(b"\xef\xbb\xbf")
        while line:
            if len(line) < MAX_LINE:
                yield line
            else:
                while line and not line.endswith(b"\n"):
                    line = content.readline(MAX_LINE)
                yield None
            file.position = raw.tell()
            line = content.readline(MAX_LINE)


def _records(file: File) -> Iterator[dict[str, Any] | str]:
    """Each line's JSON object, or why it is none; blank lines are passed over."""
    for number, line in enumerate(_lines(file)):
        if line is None:
            yield f"longer than {MAX_CHARACTERS:,} characters"
        elif number == 0 and line.lstrip().startswith(b"["):
            raise CorpusError(f"{file.path} is one JSON array. Make it JSONL, an object a line: jq -c '.[]'")
        elif not line.isspace():
            yield _record(line)


def _record(line: bytes) -> dict[str, Any] | str:
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line)  # reads what Python writes and orjson refuses: NaN, halves of surrogate pairs
        except (ValueError, RecursionError):
            return "not JSON"
    return record if isinstance(record, dict) else "not a JSON object"


@contextmanager
def _table(file: File) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """A CSV file's column names, and its records."""
    csv.field_size_limit(MAX_CHARACTERS)
    with (
        file.content() as (content, raw),
        io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines,
    ):

        def pieces() -> Iterator[str]:
            while line := lines.readline(MAX_CHARACTERS):
                file.position = raw.tell()
                yield line

        first = lines.readline(MAX_CHARACTERS)
        records = csv.reader(chain([first], pieces()), delimiter=max(DELIMITERS, key=first.count))
        yield next(records, []), records
