"""One shard from its texts to its file of vectors."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedding.corpus.errors import CorpusError
from embedding.corpus.job import Job
from embedding.corpus.rows import Reject
from embedding.corpus.shard_file import Chunk, ShardReport, write
from embedding.corpus.shards import Shard
from embedding.corpus.windows import Cutter
from embedding.model import Engine, TextError, TokenizedText

# Batches in one call of the engine: it sorts out what belongs together better than a cut here and there.
CALL_BATCHES = 16
NOT_FINITE = "the model gives it a vector that is not finite"

Tick = Callable[[int, int], None]
"""Told the chunks and tokens of a call that was computed."""


def embed_shard(engine: Engine, job: Job, shard: Shard, folder: Path, tick: Tick = lambda *_: None) -> ShardReport:
    """Embed `shard` and write its file into `folder`, under its name once it is whole.

    The file is the same to the byte, however often it is made. Raises CorpusError where it can't be written, or
    `engine` isn't the job's.
    """
    if (engine.info.engine, engine.info.precision) != (job.model.engine, job.model.precision):
        raise CorpusError(
            f"this job is for {job.model.engine} in {job.model.precision}, and the engine is {engine.info}."
        )
    cutter = Cutter(engine, job)
    windows = cutter.windows(
        [document.title for document in shard.documents], [document.text for document in shard.documents]
    )
    chunks = [
        Chunk(document, number, window)
        for document, cut in zip(shard.documents, windows, strict=True)
        for number, window in enumerate(cut)
    ]
    vectors = _embed(engine, [chunk.window.tokens for chunk in chunks], tick)
    limit = np.finfo(np.float16).max if job.vector_format == "float16" else np.finfo(np.float32).max
    fine = np.all(np.abs(vectors) <= limit, axis=1).tolist()  # false for NaN too
    bad = {chunk.document.row for chunk, good in zip(chunks, fine, strict=True) if not good}
    rejects = [Reject(document.row, document.id, NOT_FINITE) for document in shard.documents if document.row in bad]
    kept = [index for index, chunk in enumerate(chunks) if chunk.document.row not in bad]
    report = ShardReport(
        index=shard.index,
        documents=len(shard.documents) - len(rejects),
        chunks=len(kept),
        tokens=sum(chunks[index].window.tokens.kept for index in kept),
        rejects=len(rejects),
        characters=shard.characters,
    )
    write(folder / shard.name, job, report, [chunks[index] for index in kept], vectors[kept], rejects)
    return report


def _embed(engine: Engine, tokens: Sequence[TokenizedText], tick: Tick) -> NDArray[np.float32]:
    """The vectors of all, in their order; computed in the order of their lengths."""
    vectors = np.empty((len(tokens), engine.info.dimension), np.float32)
    for call in _calls([text.kept for text in tokens], CALL_BATCHES * engine.batch_tokens):
        vectors[call] = _finite(engine, [tokens[index] for index in call])
        tick(len(call), sum(tokens[index].kept for index in call))
    return vectors


def _calls(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Texts by index, the shortest first, in calls of at most `most` tokens."""
    call: list[int] = []
    held = 0
    for index in np.argsort(lengths, kind="stable").tolist():
        if call and held + lengths[index] > most:
            yield call
            call, held = [], 0
        call.append(index)
        held += lengths[index]
    if call:
        yield call


def _finite(engine: Engine, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
    """The vectors of a batch, NaN for a text that the engine gives none: found by halving."""
    try:
        return engine.embed(batch)
    except TextError:
        if len(batch) == 1:
            return np.full((1, engine.info.dimension), np.nan, np.float32)
        half = len(batch) // 2
        return np.concatenate([_finite(engine, batch[:half]), _finite(engine, batch[half:])])
