"""A shard's file of vectors: what its columns are, how it is written, and what its footer says."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedding.corpus.errors import CorpusError
from embedding.corpus.files import whole
from embedding.corpus.job import Job
from embedding.corpus.read.rows import Document, Reject
from embedding.model.windows import Window

KEY = b"embedding"
INT8_MAX = 127


@dataclass(frozen=True)
class ShardReport:
    """What became of a shard. `characters` is what its documents weigh in the plan."""

    first_row: int
    last_row: int
    documents: int
    chunks: int
    tokens: int
    rejects: int
    characters: int


@dataclass(frozen=True)
class Chunk:
    """A vector's document, its number among the document's chunks, and its place in it."""

    document: Document
    number: int
    window: Window


def schema(job: Job) -> pa.Schema:
    """The columns of every shard of a job."""
    kinds = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}
    columns = [
        ("id", pa.int64() if job.columns.integer_ids else pa.string()),
        ("row", pa.int64()),
        ("chunk", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("tokens", pa.int32()),
        *((name, arrow_type(type_)) for name, type_ in job.columns.keep),
    ]
    if job.vector_format == "int8":
        columns.append(("scale", pa.float32()))
    columns.append(("vector", pa.list_(kinds[job.vector_format], job.model.dimension)))
    return pa.schema(columns)


def arrow_type(name: str) -> pa.DataType:
    """The type that a kept column has, by its name."""
    if name == "list<string>":
        return pa.list_(pa.string())
    if name.startswith("timestamp["):
        unit, _, zone = name.removeprefix("timestamp[").removesuffix("]").partition(", tz=")
        return pa.timestamp(unit, zone or None)
    return pa.type_for_alias(name)


def write(
    path: Path, job: Job, report: ShardReport, chunks: Sequence[Chunk], vectors: NDArray[Any], rejects: Sequence[Reject]
) -> None:
    """Write a shard: its chunks in order, with their vectors (chunks, dimension) in float32. Raises CorpusError."""
    columns: dict[str, Any] = {
        "id": [chunk.document.id for chunk in chunks],
        "row": [chunk.document.row for chunk in chunks],
        "chunk": [chunk.number for chunk in chunks],
        "start": [chunk.window.start for chunk in chunks],
        "end": [chunk.window.end for chunk in chunks],
        "tokens": [chunk.window.tokens.kept for chunk in chunks],
    }
    for place, (name, _) in enumerate(job.columns.keep):
        columns[name] = [chunk.document.kept[place] for chunk in chunks]
    numbers = vectors
    if job.vector_format == "float16":
        numbers = vectors.astype(np.float16)
    elif job.vector_format == "int8":
        scales = np.abs(vectors).max(axis=1, initial=0) / INT8_MAX
        numbers = np.rint(vectors / np.where(scales, scales, 1)[:, None]).astype(np.int8)
        columns["scale"] = scales.astype(np.float32)
    kinds = schema(job)
    arrays = [_array(values, kinds.field(name)) for name, values in columns.items()]
    arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), job.model.dimension))
    note = {"job": job.fingerprint, "report": asdict(report), "rejects": [asdict(reject) for reject in rejects]}
    table = pa.Table.from_arrays(arrays, schema=kinds.with_metadata({KEY: json.dumps(note, sort_keys=True).encode()}))
    with whole(path) as file:
        # Vectors are noise to a compressor, and none repeats.
        pq.write_table(table, file, compression="none", use_dictionary=False, store_schema=True)


def _array(values: Any, field: pa.Field) -> pa.Array:
    """Times are read as text, so that each value of a file can be."""
    try:
        if pa.types.is_temporal(field.type):
            return pa.array(values, pa.string()).cast(field.type)
        return pa.array(values, field.type)
    except pa.ArrowInvalid:
        raise CorpusError(f"the column '{field.name}', which is kept, holds a value that is no {field.type}.") from None


def read_note(path: Path) -> tuple[ShardReport, list[Reject]] | None:
    """What a shard's footer says; None where the file is not there or not whole."""
    try:
        note = json.loads(pq.read_metadata(path).metadata[KEY])
        return ShardReport(**note["report"]), [Reject(**reject) for reject in note["rejects"]]
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return None
