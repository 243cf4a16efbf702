"""How far a job is: a bar on a terminal, a line a minute elsewhere."""

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from embedding.corpus.worker import Done
from embedding.corpus.write.shard_file import ShardReport

WIDTH = 24
TERMINAL_SECONDS = 0.2
LINE_SECONDS = 60.0


@dataclass
class Tally:
    """What shards came to, all that were added."""

    shards: int = 0
    documents: int = 0
    chunks: int = 0
    tokens: int = 0
    rejects: int = 0
    characters: int = 0

    def add(self, report: ShardReport) -> None:
        self.shards += 1
        self.documents += report.documents
        self.chunks += report.chunks
        self.tokens += report.tokens
        self.rejects += report.rejects
        self.characters += report.characters


class Display:
    """Says something now and then on `stream`: on a terminal in one line that is written anew."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = TERMINAL_SECONDS if self._live else LINE_SECONDS
        self._said = time.monotonic()

    def start(self) -> None:
        """Wait from now on."""
        self._said = time.monotonic()

    def show(self, line: Callable[[], str]) -> None:
        """Say `line`, if it is time to."""
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        if self._live:
            columns = shutil.get_terminal_size().columns - 1
            said = line()
            if len(said) > columns:
                said = said[WIDTH + 1 :].lstrip()  # without the bar
            self._write(f"\r\033[K{said[:columns]}")
        else:
            self._write(f"{line()}\n")

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._live:
            self._write("\r\033[K")

    def _write(self, text: str) -> None:
        with suppress(BrokenPipeError):  # nobody reads it any more, and the job goes on
            self._stream.write(text)
            self._stream.flush()


def bar(done: float) -> str:
    """A part of the whole, 0 to 1."""
    return f"{'█' * int(done * WIDTH):░<{WIDTH}} {done:4.0%}"


class Progress:
    """Counts what is done of one job, `now` and by an earlier run (`before`), and says so on `stream`.

    `characters` are those of the whole input, as they weigh in the plan, where they are known. Otherwise `fraction` and
    `planned` tell how much of the input was read, and how much of it that was in characters.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._display = Display(stream)
        self._start = time.monotonic()
        self._partial: dict[int, Done] = {}
        self.now = Tally()
        self.before = Tally()
        self.characters: int | None = None
        self.fraction = 0.0
        self.planned = 0

    def start(self) -> None:
        """Measure from now on: what came before, such as loading the model, is not the job's."""
        self._start = time.monotonic()
        self._display.start()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def tick(self, shard: int, done: Done) -> None:
        """Some of a shard was computed."""
        texts, tokens, characters = self._partial.get(shard, Done(0.0, 0, 0.0))
        self._partial[shard] = Done(texts + done.texts, tokens + done.tokens, characters + done.characters)
        self.show()

    def add(self, report: ShardReport, *, earlier: bool = False) -> None:
        """A shard is done; `earlier`: an earlier run did it."""
        self._partial.pop(report.first_row, None)
        (self.before if earlier else self.now).add(report)
        self.show()

    def show(self) -> None:
        """Say how far it is, if it is time to."""
        self._display.show(lambda: self.line(self.seconds))

    def close(self) -> None:
        """Leave the terminal's line."""
        self._display.close()

    def line(self, seconds: float) -> str:
        """What is said after `seconds`."""
        partial = list(self._partial.values())
        now, before = self.now, self.before
        texts = now.documents + now.rejects + sum(done.texts for done in partial)
        tokens = now.tokens + sum(done.tokens for done in partial)
        characters = now.characters + sum(done.characters for done in partial)
        total = self.characters or (self.planned / self.fraction if self.fraction else 0.0)
        done = min(1.0, (before.characters + characters) / total) if total else 0.0
        left = (total - before.characters - characters) / characters * seconds if characters else None
        rates = f"  {texts / seconds:,.1f} texts/s  {tokens / seconds:,.0f} tokens/s" if seconds else ""
        said = f"{texts:,.0f} texts  {tokens:,} tokens{rates}  {_time(left)} left"
        return f"{bar(done)}  {said}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
