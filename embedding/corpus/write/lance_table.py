"""A LanceDB table of finished vectors, ready to search."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TABLE_FOLDER, TABLE = "lancedb", "vectors"
SCALE, VECTOR = "scale", "vector"
KEY = b"embedding"
# An index is trained on so many vectors at least; fewer are searched one by one in no time.
LEAST_INDEXED = 256
BATCH_ROWS = 8192


def is_installed() -> bool:
    return find_spec("lancedb") is not None


def write_table(output: Path, database: Path, *, index: bool) -> str:
    """Make the table "vectors" in the folder `database` of the shards in `output`, in their order; words for that.

    Vectors in int8 are multiplied by their scales. A table that has the same shards is left as it is.
    """
    os.environ.setdefault("LANCE_LOG", "error")  # it warns of every new table that it is not there yet
    import lancedb

    shards = sorted((output / "shards").glob("*.parquet"))
    digest = hashlib.sha256("\n".join(path.name for path in shards).encode()).hexdigest()[:16].encode()
    connection = lancedb.connect(database)
    table: Any = None
    with suppress(ValueError, FileNotFoundError):
        table = connection.open_table(TABLE)
    if table is None or (table.schema.metadata or {}).get(KEY) != digest:
        schema = _schema(pq.read_schema(shards[0])).with_metadata({KEY: digest})
        batches = pa.RecordBatchReader.from_batches(schema, _batches(shards, schema))
        table = connection.create_table(TABLE, batches, mode="overwrite")
    words = f"LanceDB table: lancedb.connect({str(database)!r}).open_table({TABLE!r}), {table.count_rows():,} vectors"
    if index and table.count_rows() < LEAST_INDEXED:
        return f"{words}; so few need no index."
    if index and not table.list_indices():
        table.create_index(metric="cosine", vector_column_name=VECTOR)
    return f"{words}, {'indexed' if table.list_indices() else 'without an index (--index)'}."


def _schema(schema: pa.Schema) -> pa.Schema:
    """The table's columns: the shards', but for the scale and with numbers that LanceDB searches."""
    vector = schema.field(VECTOR).type
    if SCALE not in schema.names:
        return schema
    at = schema.get_field_index(VECTOR)
    schema = schema.set(at, pa.field(VECTOR, pa.list_(pa.float32(), vector.list_size)))
    return schema.remove(schema.get_field_index(SCALE))


def _batches(shards: list[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for path in shards:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                columns = [batch.column(name) for name in schema.names]
                if SCALE in batch.schema.names:
                    columns[schema.get_field_index(VECTOR)] = _scaled(batch)
                yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _scaled(batch: pa.RecordBatch) -> pa.Array:
    vectors, scales = batch.column(VECTOR), batch.column(SCALE).to_numpy()
    numbers = vectors.flatten().to_numpy().reshape(len(vectors), -1).astype(np.float32) * scales[:, None]
    return pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), numbers.shape[1])
