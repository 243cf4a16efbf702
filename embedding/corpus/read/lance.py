"""Lance data sets, which are folders; read with pylance, where that is installed."""

from collections.abc import Iterator, Sequence
from typing import Any

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import File
from embedding.corpus.read.record import Kinds, Record
from embedding.corpus.read.tables import BATCH_ROWS, batch_records, schema_kinds, whole_columns


def kinds(file: File) -> dict[str, Kinds]:
    return schema_kinds(_dataset(file).schema)


def records(file: File, names: Sequence[str]) -> Iterator[Record]:
    dataset = _dataset(file)
    columns = whole_columns(file, dataset.schema.names, names)
    scanner = dataset.scanner(columns=columns, batch_size=BATCH_ROWS, scan_in_order=True)
    for batch in scanner.to_batches():
        yield from batch_records(batch)


def _dataset(file: File) -> Any:
    try:
        import lance
    except ImportError:
        raise CorpusError(f"{file.name} is a Lance data set, which needs pylance: pip install pylance") from None
    try:
        return lance.dataset(file.path)
    except ValueError:
        raise CorpusError(f"{file.name} can't be read: it is damaged, or no Lance data set.") from None
