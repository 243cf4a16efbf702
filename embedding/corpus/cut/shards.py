"""Cuts a stream of documents into shards of like lengths, the same ones every time."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from embedding.corpus.job import Job
from embedding.corpus.rows import Document

# Documents are sorted by length within so many shards, so what is held does not grow with the input.
WINDOW_SHARDS = 16
MAX_DOCUMENTS = 8192
# What a document weighs beside its characters.
OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class Shard:
    """Documents that are embedded and written together, in the order of their rows."""

    index: int
    documents: tuple[Document, ...]
    digest: str
    """Of the job and the documents: 16 hexadecimal digits."""

    @property
    def name(self) -> str:
        return f"{self.index:06d}-{self.digest}.parquet"

    @property
    def characters(self) -> int:
        return sum(weight(document) for document in self.documents)


def weight(document: Document) -> int:
    """About what a document costs, in characters."""
    return len(document.text) + len(document.title) + OVERHEAD


def plan(documents: Iterable[Document], job: Job) -> Iterator[Shard]:
    """The shards of a job."""
    fingerprint = job.fingerprint.encode()
    shards = 0
    for window in _windows(documents, WINDOW_SHARDS * job.shard_chars):
        for group in _groups(sorted(window, key=weight), job.shard_chars):
            ordered = tuple(sorted(group, key=lambda document: document.row))
            yield Shard(shards, ordered, _digest(fingerprint, ordered))
            shards += 1


def _windows(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    window: list[Document] = []
    held = 0
    for document in documents:
        window.append(document)
        held += weight(document)
        if held >= size:
            yield window
            window, held = [], 0
    if window:
        yield window


def _groups(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    group: list[Document] = []
    held = 0
    for document in documents:
        if group and (held + weight(document) > size or len(group) == MAX_DOCUMENTS):
            yield group
            group, held = [], 0
        group.append(document)
        held += weight(document)
    if group:
        yield group


def _digest(fingerprint: bytes, documents: Iterable[Document]) -> str:
    digest = hashlib.blake2b(fingerprint, digest_size=8)
    for document in documents:
        digest.update(orjson.dumps([document.row, document.id, document.title, document.text]))
    return digest.hexdigest()
