"""Cuts a stream of documents into shards, in the order of their rows."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import orjson

from embedding.corpus.job import Job
from embedding.corpus.read.rows import Document

MAX_DOCUMENTS = 8192
# What a document weighs beside its characters.
OVERHEAD = 64
# A shard that is there keeps its place though its documents have grown, up to so many times the size of a new one.
MOST_GROWTH = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """Documents that are embedded and written together, in the order of their rows."""

    documents: tuple[Document, ...]
    digest: str
    """Of the job and the documents: 16 hexadecimal digits."""

    @property
    def name(self) -> str:
        """That of its file. By it files are in the order of their rows, wherever others come in between."""
        return f"{self.first_row:010d}-{self.digest}.parquet"

    @property
    def first_row(self) -> int:
        return self.documents[0].row

    @property
    def characters(self) -> int:
        return sum(weight(document) for document in self.documents)


def first_row(name: str) -> int:
    """The first row of the shard whose file has that name."""
    return int(name.partition("-")[0])


def weight(document: Document) -> int:
    """About what a document costs, in characters."""
    return len(document.text) + len(document.title) + OVERHEAD


def plan(documents: Iterable[Document], job: Job, there: Mapping[int, int]) -> Iterator[Shard]:
    """The shards of a job: consecutive documents, as many as make `shard_chars`.

    `there` tells where shards that were made before end, by where they begin, in rows. A new one keeps to them: what is
    appended comes into shards of its own, and what changed makes one shard anew, not all that follow.
    """
    fingerprint = job.fingerprint.encode()
    for group in _groups(documents, job.shard_chars, there):
        yield Shard(tuple(group), _digest(fingerprint, group))


def _groups(documents: Iterable[Document], size: int, there: Mapping[int, int]) -> Iterator[list[Document]]:
    group: list[Document] = []
    held, last, most = 0, None, size
    for document in documents:
        full = held + weight(document) > most or len(group) == MAX_DOCUMENTS
        if group and (full or document.row in there or (last is not None and document.row > last)):
            yield group
            group, held = [], 0
        if not group:
            last = there.get(document.row)
            most = size if last is None else MOST_GROWTH * size
        group.append(document)
        held += weight(document)
    if group:
        yield group


def _digest(fingerprint: bytes, documents: Iterable[Document]) -> str:
    digest = hashlib.blake2b(fingerprint, digest_size=8)
    for document in documents:
        told = [document.row, document.id, document.title, document.text, document.kept]
        digest.update(orjson.dumps(told))
    return digest.hexdigest()
