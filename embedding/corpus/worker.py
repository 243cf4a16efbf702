"""One shard from its texts to its file of vectors."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedding.corpus.cut.shards import Shard, weight
from embedding.corpus.errors import CorpusError
from embedding.corpus.job import Job
from embedding.corpus.read.rows import Document, Reject
from embedding.corpus.write.shard_file import Chunk, ShardReport, write
from embedding.model import Engine, TextError, TokenizedText
from embedding.model.ragged import runs
from embedding.model.windows import Cutter

# Batches in one call of the engine: it sorts out what belongs together better than a cut here and there.
CALL_BATCHES = 16
NOT_FINITE = "the model gives it a vector that is not finite"


class Done(NamedTuple):
    """What was computed of a shard: texts and their characters, of a text in several chunks a part; and tokens."""

    texts: float
    tokens: int
    characters: float


Tick = Callable[[Done], None]


def embed_shard(engine: Engine, job: Job, shard: Shard, folder: Path, tick: Tick = lambda *_: None) -> ShardReport:
    """Embed `shard` and write its file into `folder`, under its name once it is whole.

    The file is the same to the byte, however often it is made. Raises CorpusError where it can't be written, or
    `engine` isn't the job's.
    """
    if (engine.info.engine, engine.info.precision) != (job.model.engine, job.model.precision):
        raise CorpusError(
            f"this job is for {job.model.engine} in {job.model.precision}, and the engine is {engine.info}."
        )
    chunks = _cut(engine, job, shard.documents)
    counts = Counter(chunk.document.row for chunk in chunks)

    def tell(indices: Sequence[int]) -> None:
        tick(_done([(chunks[index], counts[chunks[index].document.row]) for index in indices]))

    vectors, reasons = _embed(engine, [chunk.window.tokens for chunk in chunks], tell)
    limit = np.finfo(np.float16).max if job.vector_format == "float16" else np.finfo(np.float32).max
    fine = np.all(np.abs(vectors) <= limit, axis=1).tolist()  # false for NaN too
    bad = {
        chunk.document.row: reasons.get(index, NOT_FINITE)
        for index, (chunk, good) in enumerate(zip(chunks, fine, strict=True))
        if not good
    }
    rejects = [
        Reject(document.row, document.id, bad[document.row], document.line)
        for document in shard.documents
        if document.row in bad
    ]
    kept = [index for index, chunk in enumerate(chunks) if chunk.document.row not in bad]
    report = ShardReport(
        first_row=shard.first_row,
        last_row=shard.documents[-1].row,
        documents=len(shard.documents) - len(rejects),
        chunks=len(kept),
        tokens=sum(chunks[index].window.tokens.kept for index in kept),
        rejects=len(rejects),
        characters=shard.characters,
    )
    write(folder / shard.name, job, report, [chunks[index] for index in kept], vectors[kept], rejects)
    return report


def _cut(engine: Engine, job: Job, documents: Sequence[Document]) -> list[Chunk]:
    cutter = Cutter(engine, job.chunk_tokens, job.chunk_overlap)
    windows = cutter.windows([document.title for document in documents], [document.text for document in documents])
    return [
        Chunk(document, number, window)
        for document, cut in zip(documents, windows, strict=True)
        for number, window in enumerate(cut)
    ]


def _done(chunks: Sequence[tuple[Chunk, int]]) -> Done:
    """What so many chunks are, each with the number of its document's chunks."""
    return Done(
        texts=sum(1 / count for _, count in chunks),
        tokens=sum(chunk.window.tokens.kept for chunk, _ in chunks),
        characters=sum(weight(chunk.document) / count for chunk, count in chunks),
    )


def _embed(
    engine: Engine, tokens: Sequence[TokenizedText], tell: Callable[[Sequence[int]], None]
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """The vectors of all, in their order; computed in the order of their lengths. `tell` is told which are done.

    A text that has none gets NaN, and its reason by its index.
    """
    vectors = np.full((len(tokens), engine.info.dimension), np.nan, np.float32)
    reasons: dict[int, str] = {}
    lengths = [text.kept for text in tokens]
    for call in runs(np.argsort(lengths, kind="stable").tolist(), lengths, CALL_BATCHES * engine.batch_tokens):
        left = call
        while left:
            try:
                vectors[left] = engine.embed([tokens[index] for index in left])
                break
            except TextError as error:
                guilty = {left[index] for index in error.indices}
                reasons |= dict.fromkeys(guilty, str(error))
                left = [index for index in left if index not in guilty]
        tell(call)
    return vectors, reasons
