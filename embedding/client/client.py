"""The two clients. They take the same steps, written once in `service` and `patience`; here is how each takes one."""

import asyncio
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Self, TypeVar

import httpx

from embedding.client.answers import Model, ServiceInfo, Vectors, join
from embedding.client.errors import FOREIGN
from embedding.client.patience import Answer, Patience, Pause, Send, Steps
from embedding.client.service import Service, similarity, warn_of_cut
from embedding.client.texts import Task, encode

T = TypeVar("T")

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60)


class _Stopped(Exception):
    """Another request of the same call failed."""


class _Client:
    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        hf_token: str | None = None,
        expected_model: str | Model | None = None,
        truncate: bool = True,
        timeout: float | None = None,
        cold_start: float = 300.0,
        retries: int = 6,
        concurrency: int = 4,
    ) -> None:
        """A client of the service at `url`. Connects to nothing yet.

        `url` and `token` come from EMBEDDING_URL and auth_token where they are not given. `hf_token` is for a private
        Space: its gateway takes the Authorization header for it, and the service's own token goes as X-API-Key.

        `expected_model` is `ID` or `ID@REVISION`, or what `info().model` was when an index was made. `truncate` cuts a
        text beyond the model's limit; if false, such a text raises TextTooLong. A call of many texts keeps up to
        `concurrency` requests in flight.

        `timeout` is the seconds that a whole call may take, None for any. A service that is not up (502, 503) is
        waited for up to `cold_start` seconds. Other faults that may pass, which are 429, 504 and lost connections, get
        `retries` more tries, with growing pauses and as `Retry-After` asks.

        Raises ConfigurationError, and AuthenticationError where there is no token.
        """
        patience = Patience(timeout, cold_start, retries)
        self._service = Service(
            url, token, hf_token=hf_token, expected_model=expected_model, truncate=truncate, patience=patience
        )
        self._concurrency = max(1, concurrency)
        self._open()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._service.url!r})"

    similarity = staticmethod(similarity)

    def _open(self) -> None:
        raise NotImplementedError


class EmbeddingClient(_Client):
    """Embeds texts by a service. Many threads may share one. Close it, or use it in a `with`.

    It can be passed where LangChain expects an Embeddings. Every method but `similarity` raises EmbeddingError.
    """

    def embed_query(self, text: str) -> Vectors:
        """The vector of a text to search with: float32, (dimension,)."""
        vector: Vectors = self._embed("query", [text])[0]
        return vector

    def embed_documents(self, texts: Iterable[str], titles: Iterable[str | None] | None = None) -> Vectors:
        """The vectors of texts to search in, in their order: float32, (texts, dimension).

        `titles`, one a text, go where the model's document prompt has a place for them.
        """
        return self._embed("document", texts, titles)

    async def aembed_query(self, text: str) -> Vectors:
        """`embed_query` on a thread, as LangChain's asynchronous methods call it."""
        return await asyncio.to_thread(self.embed_query, text)

    async def aembed_documents(self, texts: Iterable[str]) -> Vectors:
        """`embed_documents` on a thread, as LangChain's asynchronous methods call it."""
        return await asyncio.to_thread(self.embed_documents, texts)

    def info(self) -> ServiceInfo:
        """What the service says of itself now: its model and limits."""
        return self._take(self._service.look(self._service.patience.deadline()))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._http = httpx.Client(limits=LIMITS)
        if langchain := sys.modules.get("langchain_core.embeddings"):
            langchain.Embeddings.register(EmbeddingClient)  # some of its vector stores ask for the class

    def _embed(self, task: Task, texts: Iterable[str], titles: Iterable[str | None] | None = None) -> Vectors:
        service, deadline = self._service, self._service.patience.deadline()
        whole = encode(task, texts, titles)
        info = self._take(service.learn(deadline))
        parts = self._take_all([service.fetch(batch, deadline) for batch in service.batches(whole, info)])
        part = join(parts) if parts else service.empty(info)
        self._take(service.confirm(part, deadline))
        warn_of_cut(part)
        return part.vectors

    def _take_all(self, jobs: Sequence[Steps[T]]) -> list[T]:
        """What each of `jobs` comes to, in their order; a few at a time, until the first failure."""
        if len(jobs) < 2 or self._concurrency < 2:
            return [self._take(job) for job in jobs]
        stop = threading.Event()
        pool = ThreadPoolExecutor(min(self._concurrency, len(jobs)), "embedding-client")
        try:
            futures = [pool.submit(self._take, job, stop) for job in jobs]
            for future in as_completed(futures):
                future.result()
            return [future.result() for future in futures]
        finally:
            stop.set()  # wakes those that wait for another try
            pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, steps: Steps[T], stop: threading.Event | None = None) -> T:
        """Take each of `steps`; what they come to."""
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Pause):
                if (stop or threading.Event()).wait(step.seconds):
                    raise _Stopped
                reply = None
            else:
                reply = self._send(step)

    def _send(self, step: Send) -> Answer | Exception:
        try:
            response = self._http.send(step.request, stream=True)
            try:
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    step.deadline.check()
            finally:
                response.close()
        except FOREIGN as error:
            return error
        return Answer(response.status_code, response.headers, bytes(content))


class AsyncEmbeddingClient(_Client):
    """Embeds texts by a service, for callers on one event loop. Close it, or use it in an `async with`.

    Every method but `similarity` raises EmbeddingError.
    """

    async def embed_query(self, text: str) -> Vectors:
        """The vector of a text to search with: float32, (dimension,)."""
        vector: Vectors = (await self._embed("query", [text]))[0]
        return vector

    async def embed_documents(self, texts: Iterable[str], titles: Iterable[str | None] | None = None) -> Vectors:
        """The vectors of texts to search in, in their order: float32, (texts, dimension).

        `titles`, one a text, go where the model's document prompt has a place for them.
        """
        return await self._embed("document", texts, titles)

    async def info(self) -> ServiceInfo:
        """What the service says of itself now: its model and limits."""
        return await self._take(self._service.look(self._service.patience.deadline()))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _open(self) -> None:
        self._http = httpx.AsyncClient(limits=LIMITS)

    async def _embed(self, task: Task, texts: Iterable[str], titles: Iterable[str | None] | None = None) -> Vectors:
        service, deadline = self._service, self._service.patience.deadline()
        whole = encode(task, texts, titles)
        info = await self._take(service.learn(deadline))
        parts = await self._take_all([service.fetch(batch, deadline) for batch in service.batches(whole, info)])
        part = join(parts) if parts else service.empty(info)
        await self._take(service.confirm(part, deadline))
        warn_of_cut(part)
        return part.vectors

    async def _take_all(self, jobs: Sequence[Steps[T]]) -> list[T]:
        """What each of `jobs` comes to, in their order; a few at a time, until the first failure."""
        room = asyncio.Semaphore(self._concurrency)

        async def take(job: Steps[T]) -> T:
            async with room:
                return await self._take(job)

        tasks = [asyncio.create_task(take(job)) for job in jobs]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, steps: Steps[T]) -> T:
        """Take each of `steps`; what they come to."""
        reply = None
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                reply = None
            else:
                reply = await self._send(step)

    async def _send(self, step: Send) -> Answer | Exception:
        try:
            response = await self._http.send(step.request, stream=True)
            try:
                content = bytearray()
                async for chunk in response.aiter_bytes():
                    content += chunk
                    step.deadline.check()
            finally:
                await response.aclose()
        except FOREIGN as error:
            return error
        return Answer(response.status_code, response.headers, bytes(content))
