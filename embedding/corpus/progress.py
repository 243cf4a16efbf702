"""How far a job is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from dataclasses import dataclass
from typing import TextIO

from embedding.corpus.shard_file import ShardReport

WIDTH = 24
TERMINAL_SECONDS = 0.2
LINE_SECONDS = 10.0


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


class Progress:
    """Counts what is done of one job, `now` and by an earlier run (`before`), and says so on `stream`.

    `fraction` and `planned` tell how much of the input was read, and how much of it that was in characters; together
    with the characters that are done they tell how much is left.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._every = TERMINAL_SECONDS if self._live else LINE_SECONDS
        self._start = self._said = time.monotonic()
        self._partial: dict[int, tuple[int, int]] = {}
        self.now = Tally()
        self.before = Tally()
        self.fraction = 0.0
        self.planned = 0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def tick(self, shard: int, chunks: int, tokens: int) -> None:
        """Some of a shard was computed."""
        before = self._partial.get(shard, (0, 0))
        self._partial[shard] = (before[0] + chunks, before[1] + tokens)
        self.show()

    def add(self, report: ShardReport, *, earlier: bool = False) -> None:
        """A shard is done; `earlier`: an earlier run did it."""
        self._partial.pop(report.index, None)
        (self.before if earlier else self.now).add(report)
        self.show()

    def show(self) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if now - self._said >= self._every:
            self._said = now
            self._print(self.line(now - self._start))

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def line(self, seconds: float) -> str:
        """What is said after `seconds`."""
        partial = list(self._partial.values())
        now, embedded = self.now, self.now.documents + self.now.rejects
        chunks = sum(count for count, _ in partial)
        tokens = now.tokens + sum(count for _, count in partial)
        # Of a shard under way only its chunks are known; so far as known, a document has so many.
        texts = embedded + round(chunks * (embedded / now.chunks if now.chunks else 1))
        characters = now.characters * tokens / now.tokens if now.tokens else 0.0
        total = self.planned / self.fraction if self.fraction else 0.0
        done = min(1.0, (self.before.characters + characters) / total) if total else 0.0
        left = (total - self.before.characters - characters) / characters * seconds if characters else None
        bar = "█" * int(done * WIDTH)
        rates = f"{texts / seconds:,.1f} texts/s  {tokens / seconds:,.0f} tokens/s" if seconds else ""
        return f"{bar:░<{WIDTH}} {done:4.0%}  {texts:,} texts  {rates}  {_time(left)} left"

    def _print(self, line: str) -> None:
        self._stream.write(f"\r\033[K{line}" if self._live else f"{line}\n")
        self._stream.flush()


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
