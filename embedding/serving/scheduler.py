"""Queued texts to few engine calls; whatever an engine raises or returns, only the guilty text has no vector."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedding.model import NotFinite, TextError, TokenizedText
from embedding.model.machine import yield_to_others
from embedding.serving.errors import EngineFailed, TextFailed
from embedding.serving.observer import EngineError, Observer
from embedding.serving.queue import Job, Queue, Request, up_to
from embedding.serving.speed import Speed
from embedding.telemetry.logs import raised_at

logger = logging.getLogger(__name__)

T = TypeVar("T")
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[TokenizedText]], Vectors]

FAILURES_IN_A_ROW = 3  # of the engine on a text that it is known to embed
FINEST_TURN = 16  # parts of the engine's batch: smaller calls would waste a GPU
CALLS_UNTIL_LARGER = 64  # after memory ran out
OUT_OF_MEMORY = ("out of memory", "bad_alloc", "failed to allocate")


class BadResult(Exception):
    """The engine returned something other than a vector for each text."""


class Scheduler:
    """Runs `embed` on batches from its queue, `calls` at a time, in threads of their own.

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
        self._one_aside = asyncio.Lock()
        self._again: list[list[Job]] = []  # from the last to the first
        self._calls: dict[asyncio.Future[Any], _Call] = {}
        self._failures = 0
        self._calls_since_full = 0

    def submit(self, request: Request) -> None:
        """Queue a request; its `done` tells of its end."""
        self.queue.add(request)
        self._start_calls()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, in one of the engine's threads, once one is free; one such work at a time.

        It goes past the queue, so more of it at once would go past all that waits there.
        """
        async with self._one_aside:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

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
            texts = [job.tokens for job in batch if job.tokens]
            call = self._begin(texts, _Call(tokens, _is_long(batch, turn)), partial(self._settle, batch, tokens))
            for job in batch:
                job.work = call

    def _begin(
        self, texts: Sequence[TokenizedText], about: "_Call", settle: Callable[["_Outcome"], None]
    ) -> "asyncio.Future[_Outcome]":
        def ended(call: "asyncio.Future[_Outcome]") -> None:
            del self._calls[call]
            if call.cancelled() or not self._parallel:  # the scheduler is closed, and its jobs are given up
                return
            try:
                settle(call.result())
            finally:
                self._start_calls()

        call = asyncio.get_running_loop().run_in_executor(self._threads, _attempt, self._embed, texts, self._dimension)
        self._calls[call] = about
        call.add_done_callback(ended)
        return call

    def _next(self, turn: int) -> list[Job]:
        """Of short requests and of a long one a call each may be under way, so that neither waits for the other."""
        while self._again:
            jobs = [job for job in self._again.pop() if self._is_wanted(job)]
            if batch := list(up_to(self._limit, jobs)):
                if rest := jobs[len(batch) :]:
                    self._again.append(rest)
                return batch
        long = sum(call.is_long for call in self._calls.values())
        most = max(1, self._parallel - 1)
        return self.queue.take(self._limit, turn, short=len(self._calls) - long < most, long=long < most)

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
        else:
            self._fail(batch, tokens, outcome.error or BadResult())

    def _succeed(self, batch: list[Job], tokens: int, vectors: Vectors, seconds: float) -> None:
        self._failures = 0
        self._calls_since_full += 1
        if self._limit < self.max_tokens and self._calls_since_full >= CALLS_UNTIL_LARGER:
            self._limit, self._calls_since_full = min(self.max_tokens, 2 * self._limit), 0
        self.speed.observe(tokens, seconds)
        self._observer.batch(len(batch), tokens, seconds)
        finite: list[bool] = np.isfinite(vectors).all(axis=1).tolist()  # type: ignore[assignment]
        if not all(finite):
            self._observer.engine_error("not_finite")
        for job, vector, is_finite in zip(batch, vectors, finite, strict=True):
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

        job.work = self._begin([self._probe], _Call(self._probe.kept), answered)

    def _give_up(self, job: Job, error: Exception) -> None:
        if isinstance(error, TextError):
            self._observer.text_failed()
        job.error = error
        self._finished(job)


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
    """What one call gave: vectors (texts, dimension) in float32, or else an error."""

    def __init__(self, seconds: float, vectors: Vectors | None = None, error: BaseException | None = None) -> None:
        self.seconds, self.vectors, self.error = seconds, vectors, error


def _attempt(embed: Embed, texts: Sequence[TokenizedText], dimension: int) -> _Outcome:
    """Call `embed` in this thread. Also what would end the thread or the event loop (SystemExit) comes back."""
    start = time.perf_counter()
    try:
        vectors = np.asarray(embed(texts))
        if vectors.shape != (len(texts), dimension) or vectors.dtype.kind != "f":
            raise BadResult(f"{vectors.dtype} {vectors.shape} for {len(texts)} texts of dimension {dimension}")
        return _Outcome(time.perf_counter() - start, np.array(vectors, np.float32))
    except BaseException as error:
        return _Outcome(time.perf_counter() - start, error=error)


def _kind(error: BaseException) -> EngineError:
    if isinstance(error, BadResult):
        return "bad_result"
    message = str(error).lower()
    memory = isinstance(error, MemoryError) or any(words in message for words in OUT_OF_MEMORY)
    return "out_of_memory" if memory else "raised"
