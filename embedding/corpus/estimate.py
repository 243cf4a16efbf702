"""How long a job would take, by the rate at which some of its texts are embedded."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from embedding.corpus.cut.shards import OVERHEAD, weight
from embedding.corpus.input import Input
from embedding.corpus.job import Job
from embedding.corpus.read.rows import Document
from embedding.corpus.run import SHARDS
from embedding.corpus.write.shard_file import read_note
from embedding.model import Engine, TextError
from embedding.model.windows import Cutter

SAMPLE = 256
SECONDS = 5.0
AT_ONCE = 16


@dataclass(frozen=True)
class Speed:
    """What was embedded in so many seconds; `characters` as they weigh in the plan."""

    texts: int
    tokens: int
    characters: int
    seconds: float

    def __str__(self) -> str:
        return f"about {self.texts / self.seconds:,.1f} texts/s, {self.tokens / self.seconds:,.0f} tokens/s"


def sample(input: Input, job: Job) -> list[Document]:
    """The input's first documents."""
    documents = (row for _, row in input.rows(job.columns) if isinstance(row, Document))
    return list(islice(documents, SAMPLE))


def measure(engine: Engine, job: Job, documents: Sequence[Document]) -> Speed:
    """Embed `documents`, a few at a time, for some seconds; one comes first, unmeasured, to warm the engine up."""
    _embed(engine, job, documents[:1])
    texts = tokens = characters = 0
    start = time.monotonic()
    for first in range(0, len(documents), AT_ONCE):
        some = documents[first : first + AT_ONCE]
        tokens += _embed(engine, job, some)
        texts += len(some)
        characters += sum(map(weight, some))
        if time.monotonic() - start > SECONDS:
            break
    return Speed(texts, tokens, characters, max(time.monotonic() - start, 1e-9))


def _embed(engine: Engine, job: Job, documents: Sequence[Document]) -> int:
    """How many tokens they are."""
    cutter = Cutter(engine, job.chunk_tokens, job.chunk_overlap)
    windows = cutter.windows([document.title for document in documents], [document.text for document in documents])
    tokens = [window.tokens for cut in windows for window in cut]
    with suppress(TextError):  # a text without a vector takes its time all the same
        engine.embed(tokens)
    return sum(text.kept for text in tokens)


def work_left(input: Input, output: Path, job: Job, documents: Sequence[Document]) -> int | None:
    """The characters that are not embedded yet, as they weigh in the plan; None where that can't be told.

    Where the rows are counted and not read, they are taken to be like the first, `documents`.
    """
    survey, limit = input.survey, input.settings.limit
    if survey.complete:
        total = survey.characters + OVERHEAD * survey.documents
    elif survey.rows is not None:
        rows = min(survey.rows, limit) if limit is not None else survey.rows
        total = rows * sum(map(weight, documents)) // len(documents)
    else:
        return None
    notes = (read_note(path) for path in (output / SHARDS).glob("*.parquet"))
    return max(0, total - sum(note[0].characters for note in notes if note))


def in_time(characters: int, speed: Speed, machines: int = 1) -> str:
    """How long so much work takes, in words."""
    seconds = work_seconds(characters, speed) / machines
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"it takes about {seconds / size:,.1f} {unit}"
    return f"it takes about {seconds:,.0f} seconds"


def work_seconds(characters: int, speed: Speed) -> float:
    """Of one machine."""
    return characters * speed.seconds / speed.characters
