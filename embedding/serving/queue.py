"""Which texts the engine gets next, and how much waits for it. Knows no engine, no thread and no clock."""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding.model import Task, TokenizedText

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """How all texts of a request are read, and what is wanted of them."""

    task: Task
    prompt: str | None = None
    """Words before each text; None: the task's own prompt."""
    normalize: bool = True
    """False: vectors as they are before the model's own normalisation."""
    keep_end: bool = False
    """Cut a text beyond the model's limit at its start."""


@dataclass(eq=False, slots=True)
class Job:
    """A text to embed once, for every request that waits for it."""

    key: bytes
    text: str
    title: str = ""
    """For the prompt of a document."""
    read: Callable[[TokenizedText], Vector] | None = None
    """What gives its vectors, a row each, in a call of its own. None: the engine's `embed`, with others, gives one."""
    requests: list["Request"] = field(default_factory=list)
    tokens: TokenizedText | None = None
    vector: Vector | None = None
    error: Exception | None = None
    waits: bool = False
    """It is in the queue."""
    taken: bool = False
    """It left the queue for the engine."""
    work: "asyncio.Future[Any] | None" = None
    """Its tokenization, or the call of the engine that it is in."""

    @property
    def size(self) -> int:
        """Tokens that the engine reads."""
        assert self.tokens is not None
        return self.tokens.kept


@dataclass(eq=False, slots=True)
class Request:
    """The jobs that one caller waits for. `done` is set once all have a vector, or one has an error."""

    jobs: list[Job]
    done: "asyncio.Future[None]"
    engine_seconds: float = 0.0
    """What the calls took that its texts were in."""
    finish: float = 0.0
    """Its place in the queue, see `Queue`."""
    waiting: int = 0
    """Tokens of its jobs in the queue."""
    order: list[Job] = field(default_factory=list)
    """Its jobs in the queue, longest first, so that the last is taken first and neighbours are of like length."""
    missing: int = field(init=False)
    """Jobs without a vector."""

    def __post_init__(self) -> None:
        self.missing = len(self.jobs)

    def note(self, job: Job) -> None:
        """A job has its vector or its error."""
        self.missing -= 1
        if (job.error or not self.missing) and not self.done.done():
            self.done.set_result(None)


class Queue:
    """Requests in the order in which they would finish if the engine were shared out evenly among them all.

    So a short request passes long ones, and a long one is done no later than if all took turns: none is overtaken for
    ever. Source of the order: E. J. Friedman, S. G. Henderson, "Fairness and efficiency in web server protocols",
    SIGMETRICS 2003 (the fair sojourn protocol). On top of it, the oldest request gets half of the engine, in turns,
    for as long as others pass it, so that a deadline can be kept.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._by_finish: list[Request] = []
        self._by_arrival: dict[Request, None] = {}
        self._shares = _EvenShares()
        self._owed = 0  # tokens by which others passed the oldest request

    def __len__(self) -> int:
        return len(self._by_arrival)

    def add(self, request: Request) -> None:
        """Queue the jobs of a request that the engine did not get yet. All have tokens."""
        jobs = [job for job in request.jobs if not job.taken and not job.error]
        if not jobs:
            return
        for job in jobs:
            if not job.waits:
                job.waits = True
                self.tokens += job.size
        request.order = sorted(jobs, key=lambda job: -job.size)
        request.waiting = sum(job.size for job in jobs)
        request.finish = self._shares.enter(request.waiting)
        insort(self._by_finish, request, key=_finish)
        self._by_arrival[request] = None

    def remove(self, request: Request) -> None:
        """Drop what waits for this request alone. The request must no longer be among those of its jobs."""
        if request in self._by_arrival:
            self._shares.leave(request.finish)
            self._forget(request)
        for job in request.jobs:
            if job.waits and not job.requests:
                job.waits = False
                self.tokens -= job.size

    def ahead(self, tokens: int) -> int:
        """Tokens that would be embedded before those of a new request of that many."""
        place = bisect_right(self._by_finish, self._shares.now + tokens, key=_finish)
        return sum(request.waiting for request in self._by_finish[:place])

    def take(self, limit: int, turn: int, *, short: bool = True, long: bool = True) -> list[Job]:
        """The jobs for one call of the engine; none where none waits.

        Requests of at most `turn` tokens, the short ones, go whole, many together up to `limit` tokens. A longer one
        gets `turn` tokens and waits again, since what comes meanwhile has to wait for this call. A text that is longer
        has a call of its own. Only `short` ones are taken, or only `long` ones, where the other is false.
        """
        wanted = (request for request in self._by_finish if (short if request.waiting <= turn else long))
        first = next(wanted, None)
        if first is None:
            return []
        oldest = next(iter(self._by_arrival))
        if self._owed >= limit and (short if oldest.waiting <= turn else long):
            first = oldest
        if first.waiting <= turn:
            jobs = list(self._whole(first, limit, turn))
        else:
            jobs = list(up_to(turn, reversed(first.order)))
        taken = sum(job.size for job in jobs)
        self._owed = max(0, self._owed - taken) if first is oldest else self._owed + taken
        self._shares.advance(taken)
        self._unqueue(jobs)
        return jobs

    def _whole(self, first: Request, limit: int, turn: int) -> Iterator[Job]:
        chosen: set[Job] = set()
        tokens = 0
        for request in (first, *self._by_finish):
            if request.waiting > turn:
                continue
            jobs = [job for job in request.order if job not in chosen]
            tokens += sum(job.size for job in jobs)
            if tokens > limit:
                break
            chosen.update(jobs)
            yield from reversed(jobs)

    def _unqueue(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            job.waits, job.taken = False, True
            self.tokens -= job.size
            for request in job.requests:
                if request in self._by_arrival:
                    request.order.remove(job)
                    request.waiting -= job.size
                    if not request.order:
                        self._forget(request)

    def _forget(self, request: Request) -> None:
        del self._by_arrival[request]
        self._by_finish.remove(request)
        if not self._by_arrival:
            self._shares, self._owed = _EvenShares(), 0


class _EvenShares:
    """An engine that all requests share evenly, which is only reckoned: `now` is the tokens each has had of it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._finishes: list[float] = []

    def enter(self, tokens: int) -> float:
        """When a request of so many tokens finishes."""
        finish = self.now + tokens
        insort(self._finishes, finish)
        return finish

    def leave(self, finish: float) -> None:
        """A request is given up."""
        if finish in self._finishes:
            self._finishes.remove(finish)

    def advance(self, tokens: float) -> None:
        """The engine has done so many tokens."""
        while self._finishes:
            until_next = (self._finishes[0] - self.now) * len(self._finishes)
            if tokens < until_next:
                self.now += tokens / len(self._finishes)
                return
            tokens -= until_next
            self.now = self._finishes.pop(0)


def up_to(limit: int, jobs: Iterable[Job]) -> Iterator[Job]:
    """The first of them that have no more than `limit` tokens together; at least one."""
    tokens = 0
    for job in jobs:
        if tokens and tokens + job.size > limit:
            return
        tokens += job.size
        yield job


def _finish(request: Request) -> float:
    return request.finish
