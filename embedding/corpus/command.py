"""The local home of `embed`: this machine's engine, the terminal's progress and what is said at the end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from embedding.corpus.job import Job, as_recorded, describe, recorded
from embedding.corpus.local import local_map
from embedding.corpus.progress import Progress
from embedding.corpus.rejects import REJECTS
from embedding.corpus.run import SHARDS, Summary, embed_corpus
from embedding.corpus.shard_file import ShardReport
from embedding.corpus.shards import Shard
from embedding.corpus.source import Source, open_source
from embedding.demo import demo_settings
from embedding.model.load import load_engine, make_ready
from embedding.settings import CorpusSettings, Settings


def embed(settings: Settings, corpus: CorpusSettings, address: str, output: Path) -> int:
    """Embed the input at `address` into `output`; the exit status.

    Raises SettingsError, ModelUnavailable and CorpusError.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _stop)
    source = opened(address, settings.hub_token, corpus)
    name = "demo" if settings.demo else settings.model_id
    settings = as_recorded(demo_settings(settings), recorded(output))
    folder = make_ready(settings)
    engine = load_engine(settings)
    progress = Progress()

    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        return local_map(engine, job, shards, output / SHARDS, progress.tick)

    summary = embed_corpus(source, output, corpus, describe(engine, name, folder), map, progress=progress)
    print(said(summary, output, progress))
    return 0


def opened(address: str, token: str | None, corpus: CorpusSettings) -> Source:
    """The input at `address`, once it is printed what was found there and which of its columns are taken."""
    source = open_source(address, token)
    print(f"{source.name}: {len(source.files)} {source.kind.name} file(s), {source.columns(corpus)}", flush=True)
    return source


def said(summary: Summary, output: Path, progress: Progress) -> str:
    """What a job came to, in words."""
    if summary.embedded == 0:
        first = f"{output} was complete already"
    else:
        seconds = progress.seconds
        rate = f"{progress.documents / seconds:,.1f} texts/s, {progress.tokens / seconds:,.0f} tokens/s"
        first = f"{progress.documents:,} texts embedded in {seconds:,.0f} s ({rate})"
    rejects = f"{summary.rejects:,} rows have none: {output / REJECTS}" if summary.rejects else "every row has one"
    vectors = f"{summary.chunks:,} vectors of {summary.documents:,} documents, {summary.tokens:,} tokens; {rejects}"
    return f"{first}.\n{vectors}.\nRead them: pandas.read_parquet({str(output / SHARDS)!r})"


def _stop(number: int, _frame: object) -> None:
    # What is written is whole and what is half done is made anew, so there is nothing to wait for.
    sys.stderr.write("\nStopped. The same command goes on from here.\n")
    sys.stderr.flush()
    os._exit(128 + number)
