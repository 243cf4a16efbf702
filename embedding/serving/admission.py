"""Who gets in: as many requests, bytes and tokens as there is room for, and nobody who would miss the deadline."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from embedding.serving.errors import Overloaded, TooLarge
from embedding.serving.limits import Limits
from embedding.serving.observer import Cause, Observer
from embedding.serving.scheduler import Scheduler

CHARS_A_TOKEN = 4  # about, before the tokens are counted


@dataclass(frozen=True, slots=True)
class Size:
    """What is known of texts before they are tokenized: their memory, and their tokens by estimate."""

    bytes: int
    tokens: int


class Admission:
    """Counts what is in, and turns away what there is no room for.

    A request is checked by its size in bytes before it is tokenized, and once more by its tokens. One that fits into a
    call of the engine is let in however many tokens wait, since it passes them.
    """

    def __init__(self, limits: Limits, scheduler: Scheduler, max_tokens: int | None, observer: Observer) -> None:
        self.requests = 0
        self._limits = limits
        self._scheduler = scheduler
        self._max_tokens = max_tokens or sys.maxsize
        self._observer = observer
        self._bytes = 0
        self._untokenized = 0

    @property
    def queue_tokens(self) -> int:
        """Tokens that wait; of texts that are not tokenized yet, by estimate."""
        return self._scheduler.queue.tokens + self._untokenized

    @property
    def estimated_wait(self) -> float:
        """Seconds until all that is in is done, by the rate measured; 0 before there is one."""
        rate = self._scheduler.speed.rate
        return (self.queue_tokens + self._scheduler.tokens_under_way) / rate if rate else 0.0

    def enter(self, texts: Sequence[str], before: Sequence[int]) -> Size:
        """Let a request in, or raise Overloaded. `leave` and `tokenized` must follow.

        `before` are the characters that stand before each text, of its title and prompt.
        """
        lengths = [len(text) + more for text, more in zip(texts, before, strict=True)]
        size = Size(
            sum(map(sys.getsizeof, texts)) + sum(before),
            sum(min(length // CHARS_A_TOKEN + 1, self._max_tokens) for length in lengths),
        )
        if self.requests >= self._limits.max_concurrent_requests:
            wait = self.estimated_wait / max(1, self.requests)
            raise self._overloaded("requests", f"{self.requests} requests are under way", wait)
        if self._bytes and self._bytes + size.bytes > self._limits.max_queue_bytes:
            raise self._overloaded(
                "bytes", f"{self._bytes} bytes of text wait to be tokenized", self.estimated_wait / 2
            )
        self._check_tokens(size.tokens)
        self._check_deadline(size.tokens, own=0)
        self.requests += 1
        self._bytes += size.bytes
        self._untokenized += size.tokens
        return size

    def tokenized(self, size: Size) -> None:
        """The texts of that size are tokenized, or given up."""
        self._bytes -= size.bytes
        self._untokenized -= size.tokens

    def leave(self) -> None:
        """A request that was let in has ended, and so has all work on it."""
        self.requests -= 1

    def check(self, tokens: int) -> None:
        """Let a request go on to the queue, now that its tokens are counted, or raise Overloaded or TooLarge."""
        rate, timeout = self._scheduler.speed.rate, self._limits.request_timeout
        alone = tokens / rate if rate else 0
        if alone > timeout or tokens > max(self._limits.max_queue_tokens, self._scheduler.max_tokens):
            self._observer.rejected("too_large")
            takes = f"which take about {alone:.0f} s here, and a request may take {timeout:g} s (REQUEST_TIMEOUT)"
            many = f"and at most {self._limits.max_queue_tokens} may wait (MAX_QUEUE_TOKENS)"
            raise TooLarge(f"has {tokens} tokens, {takes if alone > timeout else many}: send fewer texts at once")
        self._check_tokens(tokens)
        self._check_deadline(tokens, own=tokens)

    def _check_tokens(self, tokens: int) -> None:
        excess = self.queue_tokens + tokens - self._limits.max_queue_tokens
        if excess > 0 and tokens > self._scheduler.max_tokens and self.queue_tokens:
            wait = excess / (self._scheduler.speed.rate or math.inf)
            raise self._overloaded("tokens", f"{self.queue_tokens} tokens wait", wait)

    def _check_deadline(self, tokens: int, own: int) -> None:
        """What is ahead may take twice as long as if it had the engine for itself: see Queue."""
        rate = self._scheduler.speed.rate
        if not rate:
            return
        ahead = self._scheduler.queue.ahead(tokens) + self._scheduler.tokens_under_way
        late = (2 * ahead + own) / rate - self._limits.request_timeout
        if late > 0 and ahead:
            raise self._overloaded("deadline", "what waits already takes as long as a request may", late / 2)

    def _overloaded(self, cause: Cause, message: str, seconds: float) -> Overloaded:
        self._observer.rejected(cause)
        return Overloaded(message, max(1, math.ceil(seconds)))
