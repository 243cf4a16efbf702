"""One engine shared by many callers: loaded in the background, watched, and stopped in order."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from embedding.model import EngineInfo, Report, ServedEngine, Task, Token
from embedding.model.machine import yield_to_others
from embedding.model.windows import Window
from embedding.serving.errors import Draining, NotReady
from embedding.serving.limits import Limits
from embedding.serving.observer import Cause, Observer, Timings
from embedding.serving.pipeline import Embeddings, Pipeline
from embedding.serving.queue import Reading
from embedding.serving.scheduler import Vectors


class Service:
    """Embeds texts for any number of callers with one engine.

    `load` makes the engine; it is called once, by `start` or `load_now`, and `engine` is the future of what it gives.
    Meanwhile `progress` is the current step in words, and the fraction of it that is done where that is known.
    `observer` is told what happens.
    """

    def __init__(
        self, load: Callable[[Report], ServedEngine], limits: Limits | None = None, observer: Observer | None = None
    ) -> None:
        self.engine: Future[ServedEngine] = Future()
        self.progress: tuple[str, float | None] = ("starting", None)
        self.limits = limits or Limits()
        self.observer = observer or Observer()
        self._load = load
        self._pipeline: Pipeline | None = None
        self._closed = False

    def start(self) -> None:
        """Load the engine in the background, unless that was begun before."""
        if not self.engine.running() and not self.engine.done() and self.engine.set_running_or_notify_cancel():
            # A daemon, so that a process told to stop need not wait for a download.
            threading.Thread(target=self._settle, name="load", daemon=True).start()

    def load_now(self) -> ServedEngine:
        """Load the engine before returning; what `load` raises is raised here."""
        self.start()
        return self.engine.result()

    @property
    def ready(self) -> bool:
        """Whether a request would be let in, if there is room."""
        return self._pipeline is not None and not self._closed and self.live

    @property
    def live(self) -> bool:
        """False once the engine hangs, or fails on all that it is asked: then only a new process can help."""
        return self._pipeline is None or self._pipeline.scheduler.live

    @property
    def loaded(self) -> ServedEngine:
        """The engine, for a request that needs it. Raises NotReady."""
        if self._pipeline is None:
            raise self._refusal("not_ready", NotReady("the model is loading"))
        return self.engine.result()

    @property
    def info(self) -> EngineInfo:
        """What computes the vectors. Raises NotReady."""
        if self._pipeline is None:
            raise NotReady("the model is loading")
        return self.engine.result().info

    @property
    def in_flight(self) -> int:
        """Requests that were let in and are not answered, or left work behind that still runs."""
        return self._pipeline.admission.requests if self._pipeline else 0

    @property
    def queue_requests(self) -> int:
        """Requests that wait for the engine."""
        return len(self._pipeline.scheduler.queue) if self._pipeline else 0

    @property
    def queue_tokens(self) -> int:
        """Tokens that wait for the engine; by estimate where a text has no tokens yet."""
        return self._pipeline.admission.queue_tokens if self._pipeline else 0

    @property
    def estimated_wait(self) -> float:
        """Seconds until all that is here now is done, by the rate measured; 0 before there is one."""
        return self._pipeline.admission.estimated_wait if self._pipeline else 0.0

    @property
    def cache_bytes(self) -> int:
        """Memory of the vectors kept."""
        return self._pipeline.cache.bytes if self._pipeline else 0

    async def embed(
        self,
        texts: Sequence[str],
        task: Task,
        *,
        truncate: bool = True,
        prompt: str | None = None,
        titles: Sequence[str] = (),
        normalize: bool = True,
        keep_end: bool = False,
    ) -> Embeddings:
        """The vectors of `texts` under the task's prompt, or under `prompt`, each with its title if there are `titles`.

        Where `normalize` is false, they are as they are before the model's own normalisation. Where
        `keep_end` is true, a text beyond the model's limit is cut at its start.

        Raises NotReady, Draining, Overloaded and EngineFailed (all Unavailable), TooLarge, DeadlineExceeded;
        TextTooLong where a text would be cut and `truncate` is false; and TextError for the first text that alone
        gets no vector: NoTokens, NotFinite or TextFailed.
        """
        pipeline = self._open()
        if not texts:
            return Embeddings(np.empty((0, self.info.dimension), np.float32), (), Timings(), 0)
        return await pipeline.embed(texts, Reading(task, prompt, normalize, keep_end), titles, truncate)

    async def cut(
        self,
        texts: Sequence[str],
        task: Task,
        *,
        prompt: str | None,
        titles: Sequence[str],
        size: int | None,
        overlap: int,
        most: int,
    ) -> list[list[Window]]:
        """The windows of each text, of at most `size` tokens, as `embedding.model.windows.Cutter` makes them.

        Raises Unavailable, DeadlineExceeded, and TooManyWindows where there are more than `most` in all.
        """
        return await self._open().cut(texts, titles, Reading(task, prompt), size, overlap, most)

    async def embed_windows(self, windows: Sequence[Window], task: Task, *, normalize: bool) -> Embeddings:
        """The vectors of windows, each read for itself. Raises what `embed` raises, but for TextTooLong."""
        return await self._open().embed_windows(windows, Reading(task, normalize=normalize))

    async def embed_windows_late(
        self, texts: Sequence[str], cut: Sequence[Sequence[Window]], task: Task, *, normalize: bool
    ) -> Embeddings:
        """The vectors of each text's windows, one after the other, each text read whole (late chunking).

        The tokens are those of the texts. Raises what `embed` raises, and Unsupported.
        """
        return await self._open().embed_windows_late(texts, cut, Reading(task, normalize=normalize))

    async def embed_tokens(
        self, texts: Sequence[str], task: Task, *, truncate: bool, prompt: str | None, keep_end: bool
    ) -> list[Vectors]:
        """The encoder's own vector of each token of each text: (tokens, hidden size), neither pooled nor normalised.

        Raises what `embed` raises, and Unsupported.
        """
        return await self._open().embed_tokens(texts, Reading(task, prompt, keep_end=keep_end), truncate)

    async def tokens(self, texts: Sequence[str], task: Task, prompt: str, special: bool) -> list[list[Token]]:
        """All tokens of each text under `prompt`, with those that the model adds where `special` is true.

        Raises Unavailable, DeadlineExceeded, and Unsupported.
        """
        return await self._open().tokens(texts, Reading(task, prompt), special)

    async def decode(self, ids: Sequence[Sequence[int]], skip_special: bool) -> list[str]:
        """The text that has these tokens, for each list of ids.

        Raises Unavailable, DeadlineExceeded, Unsupported, and ValueError for an id that is no token's.
        """
        return await self._open().decode(ids, skip_special)

    def close(self) -> None:
        """Drop what waits; an engine call under way ends by itself."""
        self._closed = True
        if self._pipeline:
            self._pipeline.close()

    def _open(self) -> Pipeline:
        """The way from text to vector, if a request would be let in now. Raises Unavailable."""
        if self._pipeline is None:
            raise self._refusal("not_ready", NotReady("the model is loading"))
        if self._closed:
            raise self._refusal("draining", Draining("the service is stopping"))
        if self._pipeline.scheduler.hung:
            raise self._refusal("not_ready", NotReady("the model does not answer"))
        return self._pipeline

    def _refusal(self, cause: Cause, error: Exception) -> Exception:
        self.observer.rejected(cause)
        return error

    def _report(self, step: str, fraction: float | None) -> None:
        self.progress = (step, fraction)

    def _settle(self) -> None:
        yield_to_others()  # so do the threads that the engine starts now, and health checks are answered under load
        try:
            engine = self._load(self._report)
            self._pipeline = Pipeline(engine, self.limits, self.observer)
            self.engine.set_result(engine)
        except BaseException as error:
            self.engine.set_exception(error)
