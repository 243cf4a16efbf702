"""Parquet and Arrow: tables with typed columns, read a batch at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import BUFFER, File
from embedding.corpus.read.record import BINARY, BOOLEAN, INTEGER, LIST, NUMBER, OBJECT, TEXT, TEXTS, Kinds, Record

BATCH_BYTES = 8 << 20
BATCH_ROWS = 4096


def parquet_kinds(file: File) -> dict[str, Kinds]:
    with _parquet(file) as parquet:
        return schema_kinds(parquet.schema_arrow)


def parquet_rows(file: File) -> int:
    """How many rows the file has."""
    with _parquet(file) as parquet:
        return int(parquet.metadata.num_rows)


def parquet_records(file: File, names: Sequence[str]) -> Iterator[Record]:
    with _parquet(file) as parquet:
        columns = whole_columns(file, parquet.schema_arrow.names, names)
        rows, done = parquet.metadata.num_rows, 0
        groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
        widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
        size = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, widest)))
        for batch in parquet.iter_batches(size, columns=columns):
            yield from batch_records(batch)
            done += batch.num_rows
            file.position = file.size * done // rows


@contextmanager
def _parquet(file: File) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with file.open_seekable() as content:
        yield pq.ParquetFile(content, buffer_size=BUFFER, pre_buffer=False)


def arrow_kinds(file: File) -> dict[str, Kinds]:
    with _arrow(file) as (schema, _):
        return schema_kinds(schema)


def arrow_records(file: File, names: Sequence[str]) -> Iterator[Record]:
    with _arrow(file) as (schema, batches):
        columns = whole_columns(file, schema.names, names)
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield from batch_records(batch.slice(start, BATCH_ROWS).select(columns))


@contextmanager
def _arrow(file: File) -> Iterator[tuple[Any, Iterable[Any]]]:
    """The schema and the batches of an Arrow file, or of a stream, which the same names are given to."""
    import pyarrow as pa

    with file.open_seekable() as content:
        try:
            table = pa.ipc.open_file(content)
            yield table.schema, (table.get_batch(index) for index in range(table.num_record_batches))
            return
        except pa.ArrowInvalid:
            content.seek(0)
        stream = pa.ipc.open_stream(content)
        yield stream.schema, stream


def whole_columns(file: File, there: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of a schema that `names` are, or are fields of. Raises CorpusError where one is there twice."""
    columns: list[str] = []
    for name in names:
        parts = name.split(".")
        heads = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        column = next((head for head in heads if head in there), None)
        if column is None or column in columns:
            continue
        if there.count(column) > 1:
            raise CorpusError(f"{file.name} has several columns '{column}'. Give them names of their own.")
        columns.append(column)
    return columns


def batch_records(batch: Any) -> Iterator[Record]:
    """The rows of a record batch."""
    names = batch.schema.names
    lists = [_values(batch.column(index)) for index in range(len(names))]
    if not names:
        yield from (Record(None, {}) for _ in range(batch.num_rows))
    for values in zip(*lists, strict=True):
        yield Record(None, dict(zip(names, values, strict=True)))


def _values(column: Any) -> list[Any]:
    """What a column holds, times and decimals as text.

    A byte of a text that is not UTF-8 becomes half of a surrogate pair, by which its row is told.
    """
    import pyarrow as pa

    plain = _plain(column.type)
    if plain != column.type:
        column = (column.storage if isinstance(column.type, pa.BaseExtensionType) else column).cast(plain)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        if not pa.types.is_string(plain) and not pa.types.is_large_string(plain):
            raise
        values = column.cast(pa.large_binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "surrogateescape") for value in values]


def _plain(type_: Any) -> Any:
    """The type to read a column as, so that any value of it becomes one of Python's."""
    import pyarrow as pa
    import pyarrow.types as is_

    if isinstance(type_, pa.BaseExtensionType):
        return _plain(type_.storage_type)
    if is_.is_dictionary(type_):
        return _plain(type_.value_type)
    if is_.is_string_view(type_):
        return pa.large_string()
    if is_.is_temporal(type_):
        return pa.int64() if is_.is_duration(type_) else pa.string()
    if is_.is_decimal(type_):
        return pa.string()
    if is_.is_struct(type_):
        return pa.struct([(field.name, _plain(field.type)) for field in type_])
    if is_.is_large_list(type_):
        return pa.large_list(_plain(type_.value_type))
    if is_.is_list(type_):
        return pa.list_(_plain(type_.value_type))
    return type_


def schema_kinds(schema: Any) -> dict[str, Kinds]:
    """What the columns of a schema hold, and the fields of its structs by their paths."""
    found: dict[str, Kinds] = {}
    for field in schema:
        found[field.name] = _kinds(field.type)
        found |= {name: kinds for name, kinds in _fields(field.name, field.type).items() if name not in found}
    return found


def _fields(prefix: str, type_: Any) -> Mapping[str, Kinds]:
    import pyarrow.types as is_

    while is_.is_list(type_) or is_.is_large_list(type_):
        type_ = type_.value_type
    found: dict[str, Kinds] = {}
    if is_.is_struct(type_):
        for field in type_:
            name = f"{prefix}.{field.name}"
            found |= {name: _kinds(field.type), **_fields(name, field.type)}
    return found


def _kinds(type_: Any) -> Kinds:
    import pyarrow as pa
    import pyarrow.types as is_

    if isinstance(type_, pa.BaseExtensionType):
        return _kinds(type_.storage_type)
    if is_.is_dictionary(type_):
        return _kinds(type_.value_type)
    simple = {
        TEXT: is_.is_string(type_) or is_.is_large_string(type_) or is_.is_string_view(type_),
        INTEGER: is_.is_integer(type_) and not is_.is_uint64(type_),
        NUMBER: is_.is_floating(type_),
        BOOLEAN: is_.is_boolean(type_),
        BINARY: is_.is_binary(type_) or is_.is_large_binary(type_) or is_.is_fixed_size_binary(type_),
        OBJECT: is_.is_struct(type_) or is_.is_map(type_),
    }
    if is_.is_null(type_):
        return frozenset()
    if is_.is_list(type_) or is_.is_large_list(type_) or is_.is_fixed_size_list(type_):
        return frozenset({TEXTS if _kinds(type_.value_type) == {TEXT} else LIST})
    return frozenset({next((name for name, holds in simple.items() if holds), str(type_))})
