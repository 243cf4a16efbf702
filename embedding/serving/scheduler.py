"""Texts of many requests to few engine calls, in turn and without waiting for more."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from embedding.model import TokenizedText

Vectors = NDArray[np.float32]


class Scheduler:
    """Runs `embed` on batches of up to `max_tokens` tokens, one call at a time, in a thread of its own.

    Whatever waits when a call ends goes into the next one. Requests take turns, a text each, so that a request of
    many texts holds up nobody. Belongs to one event loop, the first that calls it.
    """

    def __init__(self, embed: Callable[[Sequence[TokenizedText]], Vectors], max_tokens: int) -> None:
        self._embed = embed
        self._max_tokens = max_tokens
        self._waiting: deque[_Request] = deque()
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def embed(self, texts: Sequence[TokenizedText]) -> Vectors:
        """The vectors of `texts`, in their order: float32, (len(texts), dimension). Raises what the engine raises."""
        request = _Request(texts)
        self._waiting.append(request)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await request.vectors

    def close(self) -> None:
        """Drop what waits; a call under way ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            texts = [request.texts[index] for request, index in batch]
            try:
                vectors = await loop.run_in_executor(self._thread, self._embed, texts)
            except Exception as error:
                for request, _ in batch:
                    request.fail(error)
            else:
                for (request, index), vector in zip(batch, vectors, strict=True):
                    request.finish(index, vector)

    def _next_batch(self) -> list[tuple["_Request", int]]:
        batch: list[tuple[_Request, int]] = []
        tokens = 0
        while self._waiting:
            request = self._waiting[0]
            if request.vectors.done():  # failed, or its caller is gone
                self._waiting.popleft()
                continue
            index = request.order[-1]
            if batch and tokens + request.texts[index].kept > self._max_tokens:
                break
            batch.append((request, index))
            tokens += request.texts[index].kept
            request.order.pop()
            self._waiting.popleft()
            if request.order:
                self._waiting.append(request)
        return batch


class _Request:
    """Texts that one caller waits for. They run shortest first, so that neighbours in a batch are of like length."""

    def __init__(self, texts: Sequence[TokenizedText]) -> None:
        self.texts = texts
        self.order = sorted(range(len(texts)), key=lambda index: -texts[index].kept)
        self.vectors: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._done: dict[int, Vectors] = {}

    def finish(self, index: int, vector: Vectors) -> None:
        self._done[index] = vector
        if len(self._done) == len(self.texts) and not self.vectors.done():
            self.vectors.set_result(np.stack([self._done[i] for i in range(len(self.texts))]))

    def fail(self, error: Exception) -> None:
        if not self.vectors.done():
            self.vectors.set_exception(error)
