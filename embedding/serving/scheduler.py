"""Queued texts to few engine calls; whatever an engine raises or returns, only the guilty text has no vector."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedding.model import NotFinite, TextError, TokenizedText, Unsupported
from embedding.model.machine import yield_to_others
from embedding.serving.errors import EngineFailed, TextFailed
from embedding.serving.observer import EngineError, Observer
from embedding.serving.queue import Job, Queue, Request, up_to
from embedding.serving.speed import Speed
from embedding.telemetry.logs import raised_at

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[TokenizedText]], Vectors]

FAILURES_IN_A_ROW = 3  # of the engine on a text that it is known to embed
FINEST_TURN = 16  # parts of the engine's batch: smaller calls would waste a GPU
CALLS_UNTIL_LARGER = 64  # after memory ran out
OUT_OF_MEMORY = ("out of memory", "bad_alloc", "failed to allocate")


class BadResult(Exception):
    """The engine returned something other than a vector for each text."""


class Scheduler:
    """Runs `embed` on batches from its queue, `calls` at a time, in threads of their own; or what a job has instead.

    A batch that fails is halved until the guilty text stands alone. Then `probe`, a text that should always work,
    tells whether it is the text or the engine. `finished` is told of each job with its vector or its error. Belongs
    to one event loop.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        max_tokens: int,
        dimension: int,
        probe: TokenizedText,
        finished: Callable[[Job], None],
        call_timeout: float = 60,
        least_turn: int = 1,
        calls: int = 1,
        observer: Observer | None = None,
    ) -> None:
        self.queue = Queue()
        self.speed = Speed()
        self._embed = embed
        self.max_tokens = self._limit = max_tokens
        self._dimension = dimension
        self._probe = probe
        self._finished = finished
        self._call_timeout = call_timeout
        self._least_turn = max(1, least_turn)
        self._parallel = calls
        self._observer = observer or Observer()
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="engine", initializer=yield_to_others)
        self._again: list[list[Job]] = []  # from the last to the first
        self._calls: dict[asyncio.Future[Any], _Call] = {}
        self._failures = 0
        self._calls_since_full = 0

    def submit(self, request: Request) -> None:
        """Queue a request; its `done` tells of its end."""
        self.queue.add(request)
        self._start_calls()

    @property
    def tokens_under_way(self) -> int:
        return sum(call.tokens for call in self._calls.values())

    @property
    def hung(self) -> bool:
        """Whether a call takes longer than any should."""
        return any(time.monotonic() - call.start > self._call_timeout for call in self._calls.values())

    @property
    def live(self) -> bool:
        """Whether the engine answers, as far as is known."""
        return self._failures < FAILURES_IN_A_ROW and not self.hung

    def close(self) -> None:
        """Start no more calls; one under way ends by itself."""
        self._parallel = 0
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_calls(self) -> None:
        while len(self._calls) < self._parallel:
            turn = min(self._limit, max(self._least_turn, self.speed.turn()))
            batch = self._next(turn)
            if not batch:
                return
            tokens = sum(job.size for job in batch)
            about = _Call(tokens, _is_long(batch, turn))
            call = self._begin(self._attempt(batch), about, partial(self._settle, batch, tokens))
            for job in batch:
                job.work = call

    def _attempt(self, batch: list[Job]) -> Callable[[], "_Outcome"]:
        """The call of the engine that gives the vectors of a batch."""
        texts = [job.tokens for job in batch if job.tokens]
        if read := batch[0].read:
            return partial(_attempt, partial(read, texts[0]))
        return partial(_attempt, partial(self._embed, texts), (len(texts), self._dimension))

    def _begin(
        self, attempt: Callable[[], "_Outcome"], about: "_Call", settle: Callable[["_Outcome"], None]
    ) -> "asyncio.Future[_Outcome]":
        def ended(call: "asyncio.Future[_Outcome]") -> None:
            del self._calls[call]
            if call.cancelled() or not self._parallel:  # the scheduler is closed, and its jobs are given up
                return
            try:
                settle(call.result())
            finally:
                self._start_calls()

        call = asyncio.get_running_loop().run_in_executor(self._threads, attempt)
        self._calls[call] = about
        call.add_done_callback(ended)
        return call

    def _next(self, turn: int) -> list[Job]:
        """Of short requests and of a long one a call each may be under way, so that neither waits for the other."""
        while self._again:
            if batch := self._first(list(filter(self._is_wanted, self._again.pop()))):
                return batch
        long = sum(call.is_long for call in self._calls.values())
        most = max(1, self._parallel - 1)
        return self._first(self.queue.take(self._limit, turn, short=len(self._calls) - long < most, long=long < most))

    def _first(self, jobs: list[Job]) -> list[Job]:
        """The first of them that one call can do; the rest are next."""
        batch = jobs[:1] if jobs and jobs[0].read else list(takewhile(_joins_others, up_to(self._limit, jobs)))
        if rest := jobs[len(batch) :]:
            self._again.append(rest)
        return batch

    def _is_wanted(self, job: Job) -> bool:
        if not job.requests:
            self._finished(job)
        return bool(job.requests)

    def _settle(self, batch: list[Job], tokens: int, outcome: "_Outcome") -> None:
        for job in batch:
            job.work = None
        for request in {request for job in batch for request in job.requests}:
            request.engine_seconds += outcome.seconds
        if outcome.vectors is not None:
            self._succeed(batch, tokens, outcome.vectors, outcome.seconds)
        elif isinstance(outcome.error, TextError) and (guilty := set(outcome.error.indices) & set(range(len(batch)))):
            self._set_aside(batch, outcome.error, guilty)
        elif isinstance(outcome.error, Unsupported):
            for job in batch:
                self._give_up(job, outcome.error)
        else:
            self._fail(batch, tokens, outcome.error or BadResult())

    def _succeed(self, batch: list[Job], tokens: int, vectors: Vectors, seconds: float) -> None:
        self._failures = 0
        self._calls_since_full += 1
        if self._limit < self.max_tokens and self._calls_since_full >= CALLS_UNTIL_LARGER:
            self._limit, self._calls_since_full = min(self.max_tokens, 2 * self._limit), 0
        self.speed.observe(tokens, seconds)
        self._observer.batch(len(batch), tokens, seconds)
        each = vectors[np.newaxis] if batch[0].read else vectors
        finite = np.asarray(np.isfinite(each).reshape(len(batch), -1).all(axis=1))
        if not finite.all():
            self._observer.engine_error("not_finite")
        for job, vector, is_finite in zip(batch, each, finite, strict=True):
            if is_finite:
                job.vector = vector.copy()  # a view would keep the whole batch
                self._finished(job)
            else:
                self._give_up(job, NotFinite([0]))

    def _set_aside(self, batch: list[Job], error: TextError, guilty: set[int]) -> None:
        """The engine names the guilty texts itself."""
        self._observer.engine_error("not_finite" if isinstance(error, NotFinite) else "raised")
        for index in guilty:
            self._give_up(batch[index], type(error)([0]))
        self._again.append([job for index, job in enumerate(batch) if index not in guilty])

    def _fail(self, batch: list[Job], tokens: int, error: BaseException) -> None:
        kind = _kind(error)
        self._observer.engine_error(kind)
        logger.warning("the engine failed on a batch of %d texts, %d tokens: %s", len(batch), tokens, kind)
        logger.debug("the engine's error: %s", raised_at(error))
        if kind == "out_of_memory":
            self._limit, self._calls_since_full = max(1, min(self._limit, tokens) // 2), 0
        if len(batch) == 1:
            self._blame(batch[0], kind)
        else:
            middle = len(batch) // 2
            self._again += [batch[middle:], batch[:middle]]

    def _blame(self, job: Job, kind: EngineError) -> None:
        """A text failed alone: ask the engine for the probe, and blame whichever it is."""

        def answered(outcome: _Outcome) -> None:
            if outcome.vectors is not None and np.isfinite(outcome.vectors).all():
                self._failures = 0
                memory = EngineFailed("there is not enough memory for one of the texts; send a shorter one")
                self._give_up(job, memory if kind == "out_of_memory" else TextFailed([0]))
            elif isinstance(outcome.error, TextError) and not isinstance(outcome.error, NotFinite):
                self._give_up(job, TextFailed([0]))  # the model's vocabulary lacks the probe, which tells nothing
            else:
                self._failures += 1
                if self._failures == FAILURES_IN_A_ROW:
                    logger.error("the engine fails on everything; the service is no longer live")
                self._give_up(job, EngineFailed("the model fails on all texts"))

        attempt = partial(_attempt, partial(self._embed, [self._probe]), (1, self._dimension))
        job.work = self._begin(attempt, _Call(self._probe.kept), answered)

    def _give_up(self, job: Job, error: Exception) -> None:
        if isinstance(error, TextError):
            self._observer.text_failed()
        job.error = error
        self._finished(job)


def _joins_others(job: Job) -> bool:
    return job.read is None


def _is_long(batch: list[Job], turn: int) -> bool:
    """Whether it is a part of a long request, by its first text's."""
    request = batch[0].requests[0]
    return request.waiting + sum(job.size for job in batch if request in job.requests) > turn


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of the engine that is under way."""

    tokens: int
    is_long: bool = False
    start: float = field(default_factory=time.monotonic)


class _Outcome:
    """What one call gave: vectors in float32, a row each, or else an error."""

    def __init__(self, seconds: float, vectors: Vectors | None = None, error: BaseException | None = None) -> None:
        self.seconds, self.vectors, self.error = seconds, vectors, error


def _attempt(embed: Callable[[], Any], shape: tuple[int, int] | None = None) -> _Outcome:
    """Call `embed` in this thread. Also what would end the thread or the event loop (SystemExit) comes back.

    Its vectors have to be of that shape; without one, any number of rows.
    """
    start = time.perf_counter()
    try:
        vectors = np.asarray(embed())
        if vectors.ndim != 2 or vectors.shape != (shape or vectors.shape) or vectors.dtype.kind != "f":
            raise BadResult(f"{vectors.dtype} {vectors.shape} in place of {shape or 'rows'}")
        return _Outcome(time.perf_counter() - start, np.array(vectors, np.float32))
    except BaseException as error:
        return _Outcome(time.perf_counter() - start, error=error)


def _kind(error: BaseException) -> EngineError:
    if isinstance(error, BadResult):
        return "bad_result"
    message = str(error).lower()
    memory = isinstance(error, MemoryError) or any(words in message for words in OUT_OF_MEMORY)
    return "out_of_memory" if memory else "raised"
