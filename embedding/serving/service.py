"""One engine shared by many callers: loaded in the background, admitting what it can answer."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property

from embedding.model import Engine, EngineInfo, Report, Task, TextTooLong, TokenizedText
from embedding.serving.errors import Draining, NotReady, Overloaded
from embedding.serving.limits import Limits
from embedding.serving.observer import Observer, Timings
from embedding.serving.scheduler import Scheduler, Vectors

logger = logging.getLogger(__name__)

DRAIN_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one request, in its order: float32, (texts, dimension), and the tokens behind them."""

    vectors: Vectors
    tokens: Sequence[TokenizedText]
    timings: Timings
    cached: int
    """Texts whose vectors the cache had."""

    @property
    def truncated(self) -> int:
        """How many of the texts were cut to the model's limit."""
        return sum(tokens.truncated for tokens in self.tokens)


class Service:
    """Embeds texts for any number of callers with one engine.

    `load` makes the engine; it is called once, by `start` or `load_now`, and `engine` is the future of what it gives.
    Meanwhile `progress` is the current step in words, and the fraction of it that is done where that is known.
    """

    def __init__(
        self,
        load: Callable[[Report], Engine],
        limits: Limits | None = None,
        observer: Observer | None = None,
    ) -> None:
        limits = limits or Limits()
        self.observer = observer or Observer()
        self.engine: Future[Engine] = Future()
        self.progress: tuple[str, float | None] = ("starting", None)
        self._load = load
        self._max_batch_tokens = limits.max_batch_tokens
        self._max_requests = limits.max_concurrent_requests
        self._requests = 0
        self._draining = False

    def start(self) -> None:
        """Load the engine in the background, unless that was begun before."""
        if self._begin():
            # A daemon, so that a process told to stop need not wait for a download.
            threading.Thread(target=self._settle, name="load", daemon=True).start()

    def load_now(self) -> Engine:
        """Load the engine before returning; what `load` raises is raised here."""
        if self._begin():
            self._settle()
        return self.engine.result()

    @property
    def ready(self) -> bool:
        return self.engine.done() and self.engine.exception() is None

    @property
    def info(self) -> EngineInfo:
        """What computes the vectors. Raises NotReady."""
        if not self.ready:
            raise NotReady("the model is loading")
        return self.engine.result().info

    @property
    def live(self) -> bool:
        """False once the engine hangs, or fails on everything: only a new process can help."""
        return True

    queue_tokens = queue_requests = in_flight = cache_bytes = 0
    estimated_wait = 0.0
    """Seconds until what waits now is done, by the rate measured; 0 before there is one."""

    async def embed(
        self, texts: Sequence[str], task: Task, *, truncate: bool = True, prompt: str | None = None
    ) -> Embeddings:
        """The vectors of `texts` under the task's prompt, or under `prompt`.

        Raises NotReady, Draining, Overloaded and EngineFailed (all Unavailable), TooLarge, DeadlineExceeded;
        TextTooLong where a text would be cut and `truncate` is false; and TextError for the first text that alone
        gets no vector: NoTokens, NotFinite or TextFailed.
        """
        if not self.ready:
            raise NotReady("the model is loading")
        if self._draining:
            raise Draining("the service is stopping")
        if self._requests >= self._max_requests:
            raise Overloaded(f"{self._max_requests} requests are under way")
        self._requests += 1
        try:
            tokens = await asyncio.to_thread(self.engine.result().tokenize, texts, task, prompt)
            for index, text in enumerate(tokens):
                if text.truncated and not truncate:
                    raise TextTooLong(index, text.total, text.kept)
            vectors = await self._scheduler.embed(tokens)
        finally:
            self._requests -= 1
        logger.debug("embedded %d texts, %d tokens", len(tokens), sum(text.kept for text in tokens))
        return Embeddings(vectors, tokens, Timings(), 0)

    async def drain(self, grace: float | None = None) -> bool:
        """Take nothing new, and wait until all that is under way is answered: whether it was within `grace` seconds."""
        self._draining = True
        end = asyncio.get_running_loop().time() + (grace if grace is not None else float("inf"))
        while self._requests and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(DRAIN_STEP)
        return not self._requests

    def close(self) -> None:
        """Drop what waits; an engine call under way ends by itself."""
        if self.ready:
            self._scheduler.close()

    @cached_property
    def _scheduler(self) -> Scheduler:
        engine = self.engine.result()
        return Scheduler(engine.embed, self._max_batch_tokens or engine.batch_tokens)

    def _begin(self) -> bool:
        return not self.engine.running() and not self.engine.done() and self.engine.set_running_or_notify_cancel()

    def _report(self, step: str, fraction: float | None) -> None:
        self.progress = (step, fraction)

    def _settle(self) -> None:
        try:
            self.engine.set_result(self._load(self._report))
        except BaseException as error:
            self.engine.set_exception(error)
