"""The local home of `embed`: this machine's engine, and what a signal does."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from embedding.corpus.job import Job, as_recorded, describe, recorded
from embedding.corpus.local import local_map
from embedding.corpus.progress import Progress
from embedding.corpus.run import SHARDS, embed_corpus
from embedding.corpus.shard_file import ShardReport
from embedding.corpus.shards import Shard
from embedding.corpus.words import describe_result, open_and_describe
from embedding.demo import demo_settings
from embedding.model.load import fetch_and_prepare, load_engine
from embedding.model.precision import with_corpus_precision
from embedding.settings import CorpusSettings, Settings


def embed(settings: Settings, corpus: CorpusSettings, address: str, output: Path) -> int:
    """Embed the input at `address` into `output`; the exit status.

    Raises SettingsError, ModelUnavailable and CorpusError.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _stop)
    source = open_and_describe(address, settings.hub_token, corpus)
    name = "demo" if settings.demo else settings.model_id
    settings = as_recorded(demo_settings(settings), recorded(output))
    model = fetch_and_prepare(settings)
    engine = load_engine(with_corpus_precision(settings, model.manifest), model=model)
    print(f"vectors by {engine.info}", flush=True)
    progress = Progress()

    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        return local_map(engine, job, shards, output / SHARDS, progress.tick)

    summary = embed_corpus(source, output, corpus, describe(engine, name), map, progress=progress)
    print(describe_result(summary, str(output), progress))
    print(f"Read them: pandas.read_parquet({str(output / SHARDS)!r})")
    return 0


def _stop(number: int, _frame: object) -> None:
    # What is written is whole and what is half done is made anew, so there is nothing to wait for.
    sys.stderr.write("\nStopped. Files that were whole are kept, and the same command makes the others.\n")
    sys.stderr.flush()
    os._exit(128 + number)
