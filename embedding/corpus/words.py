"""What is said of a job in any home: what was found in its input, and what it came to."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from embedding.corpus.input import Input, open_input
from embedding.corpus.progress import Display, Progress, bar
from embedding.corpus.read.found import readable
from embedding.corpus.read.record import in_words
from embedding.corpus.read.rows import REJECTS
from embedding.corpus.run import SET_ASIDE, FileCount, Summary
from embedding.settings import CorpusSettings

MOST_LISTED = 12
SHOWN = 40


def say(text: str) -> None:
    """Print `text`. Where nobody reads it any more, as behind `| head`, the job goes on."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_and_describe(
    addresses: str | Sequence[str], output: Path, settings: CorpusSettings, token: str | None = None
) -> Input:
    """The input that `addresses` name, once it is printed what was found there. Raises CorpusError."""
    display = Display()
    try:
        input = open_input(
            addresses,
            output,
            settings,
            token,
            lambda done: display.show(lambda: f"{bar(done())}  looking at the input"),
        )
    finally:
        display.close()
    say(describe_input(input))
    return input


def describe_input(input: Input) -> str:
    """What will be read: files, columns and their types, rows as far as known, and what is left out."""
    source, found = input.source, input.survey
    count = f"{len(source.files)} {source.format.name} file(s)"
    lines = [f"{source.name}: {count}, {found.columns}", f"  {_counted(input)}"]
    if source.format.has_columns:
        top = [name for name in found.kinds if not any(name.startswith(f"{other}.") for other in found.kinds)]
        told = [f"{_short(name)} ({in_words(found.kinds[name])})" for name in top[:MOST_LISTED]]
        lines.append(f"  columns: {', '.join(told)}{' …' if len(top) > MOST_LISTED else ''}")
    if found.columns.keep:
        lines.append(f"  kept: {', '.join(f'{name} ({type_})' for name, type_ in found.columns.keep)}")
    lines += [f"  {note}" for note in found.notes[:MOST_LISTED]]
    if found.blank_lines:
        lines.append(f"  {found.blank_lines:,} blank lines are no rows; each row has the number of its line, from 0")
    if found.missing_ids or found.duplicate_ids:
        lines.append(f"  {_id_faults(found.missing_ids, found.duplicate_ids)}")
    if found.rejects:
        lines.append(f"  {found.rejects:,} of {found.rows:,} rows can't be embedded; the first: {found.first_reject}")
    if source.skipped:
        lines.append(f"  not read: {', '.join(source.skipped[:MOST_LISTED])}{_more(len(source.skipped))}")
    return "\n".join(lines)


def _counted(input: Input) -> str:
    found = input.survey
    parts = ["rows not counted before they are read" if found.rows is None else f"{found.rows:,} rows"]
    if found.complete:
        parts.append(f"{found.characters:,} characters of text")
    if input.settings.limit is not None:
        parts.append(f"of the first {input.settings.limit:,} rows (--limit)")
    return ", ".join([*parts, found.layout] if found.layout else parts)


def describe_result(summary: Summary, output: str, progress: Progress) -> str:
    """What a job came to, in words; `output` is what its user calls the folder."""
    output = readable(output)
    if summary.documents == 0:
        first = "no row could be embedded"
    elif summary.embedded == 0:
        first = f"{output} was complete already"
    else:
        seconds, texts = progress.seconds, progress.now.documents + progress.now.rejects
        rate = f"{texts / seconds:,.1f} texts/s, {progress.now.tokens / seconds:,.0f} tokens/s"
        first = f"{texts:,} texts embedded in {seconds:,.0f} s ({rate})"
    rejects = f"{summary.rejects:,} rows have none: {output}/{REJECTS}" if summary.rejects else "every row has one"
    vectors = f"{summary.chunks:,} vectors of {summary.documents:,} documents, {summary.tokens:,} tokens; {rejects}"
    lines = [f"{first}.", f"{vectors}.", *_sums(summary)]
    if summary.missing_ids or summary.duplicate_ids:
        lines.append(_id_faults(summary.missing_ids, summary.duplicate_ids) + ".")
    if summary.set_aside:
        lines.append(f"{summary.set_aside:,} files of vectors are of the input no more: see {output}/{SET_ASIDE}.")
    return "\n".join(lines)


def too_many_rejects(summary: Summary) -> str:
    """What is wrong with a job that is poor in documents, and what to do."""
    what = "no row" if summary.documents == 0 else f"only {summary.documents:,} of {summary.rows:,} rows"
    return f"{what} could be embedded. {REJECTS} says why of each; --allow-rejects takes them for what they are."


def _sums(summary: Summary) -> list[str]:
    """How the rows add up, of all and of each file; of many files, those with rejects first."""
    whole = FileCount("rows read", summary.rows, summary.documents, summary.rejects)
    files = sorted(summary.files, key=lambda file: -file.rejects)[:MOST_LISTED]
    listed = [f"  {_sum(file)}" for file in summary.files if file in files] if len(summary.files) > 1 else []
    rest = [f"  {_more(len(summary.files)).strip()}"] if len(summary.files) > MOST_LISTED else []
    return [f"{_sum(whole)}", *listed, *rest]


def _sum(count: FileCount) -> str:
    return f"{count.name}: {count.rows:,} = {count.documents:,} documents + {count.rejects:,} rejects"


def _id_faults(missing: int, duplicate: int) -> str:
    parts = [f"{missing:,} rows have no id"] if missing else []
    return ", and ".join(parts + ([f"{duplicate:,} rows have an id that a row before has"] if duplicate else []))


def _more(count: int) -> str:
    return f" and {count - MOST_LISTED:,} more" if count > MOST_LISTED else ""


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
