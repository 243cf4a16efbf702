"""The local home of `embed`: this machine's engine, what a signal does, and where finished files go."""

import io
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedding.corpus.cut.shards import Shard
from embedding.corpus.estimate import in_time, measure, sample, work_left
from embedding.corpus.input import Input
from embedding.corpus.job import Job, as_recorded, describe, make_job, recorded, refuse_another_model
from embedding.corpus.local import local_map
from embedding.corpus.progress import Progress
from embedding.corpus.read.found import readable
from embedding.corpus.run import SHARDS, embed_corpus
from embedding.corpus.words import describe_result, open_and_describe, say, too_many_rejects
from embedding.corpus.write.destination import check_destination, deliver
from embedding.corpus.write.shard_file import ShardReport
from embedding.demo import demo_settings
from embedding.model import Engine
from embedding.model.load import fetch_and_prepare, load_engine
from embedding.model.precision import with_corpus_precision
from embedding.settings import CorpusSettings, Settings

TOO_MANY_REJECTS = 3
"""The exit status where all was embedded that could be, and that is not enough."""


def embed(
    settings: Settings, corpus: CorpusSettings, addresses: Sequence[str], output: Path, unasked: Sequence[str] = ()
) -> int:
    """Embed the input at `addresses` into `output`; the exit status.

    `unasked` are the options of `corpus` that come from environment variables. Many of those have names that other
    programs use as well, so they are said.

    Raises SettingsError, ModelUnavailable and CorpusError.
    """
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of columns and files may be anything
    logging.raiseExceptions = False  # the log may go where nobody reads it any more, as behind `| head`
    if unasked:
        say(f"from environment variables: {', '.join(f'{name.upper()}={getattr(corpus, name)}' for name in unasked)}")
    check_destination(corpus, settings.hub_token)
    input = open_and_describe(addresses, output, corpus, settings.hub_token)
    name = "demo" if settings.demo else settings.model_id
    refuse_another_model(output, before := recorded(output), name)
    settings = as_recorded(demo_settings(settings), before)
    model = fetch_and_prepare(settings)
    engine = load_engine(with_corpus_precision(settings, model.manifest), model=model)
    say(f"vectors by {engine.info}")
    if corpus.dry_run:
        say(_estimated(engine, name, input, output))
        return 0
    progress = Progress()

    def map(job: Job, shards: Iterator[Shard]) -> Iterator[ShardReport]:
        return local_map(engine, job, shards, output / SHARDS, progress.tick)

    summary = embed_corpus(input, output, describe(engine, name), map, progress=progress)
    say(describe_result(summary, str(output), progress))
    if summary.documents:
        say(f"Read them: pandas.read_parquet({readable(str(output / SHARDS))!r})")
    if summary.is_poor and not corpus.allow_rejects:
        print(f"error: {too_many_rejects(summary)}", file=sys.stderr)
        return TOO_MANY_REJECTS
    if words := deliver(output, input.settings, settings.hub_token):
        say(words)
    return 0


def _estimated(engine: Engine, name: str, input: Input, output: Path) -> str:
    """How long the job would take, in words, by the rate at which its first texts are embedded."""
    job = make_job(input.source.name, describe(engine, name), input.survey.columns, input.settings)
    documents = sample(input, job)
    if not documents:
        return "no row can be embedded; nothing was written."
    speed = measure(engine, job, documents)
    left = work_left(input, output, job, documents)
    time = "the rows are not counted, so how long it takes is not known" if left is None else in_time(left, speed)
    return f"{speed}: {time}. Nothing was written (--dry-run)."


def _stop(number: int, _frame: object) -> None:
    # What is written is whole and what is half done is made anew, so there is nothing to wait for.
    sys.stderr.write("\nStopped. Files that were whole are kept, and the same command makes the others.\n")
    sys.stderr.flush()
    os._exit(128 + number)
