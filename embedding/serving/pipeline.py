"""A request's way from text to vector: cache, admission, tokens, queue, engine. For an engine that is loaded."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from embedding.model import ServedEngine, TextError, TextTooLong, Token, TokenizedText
from embedding.model.windows import Cutter, Window, read_whole
from embedding.serving.admission import Admission, Size
from embedding.serving.cache import Cache, Embedded, Keys
from embedding.serving.errors import DeadlineExceeded, Draining, TooLarge
from embedding.serving.limits import Limits
from embedding.serving.observer import Observer, Timings
from embedding.serving.queue import Job, Reading, Request
from embedding.serving.scheduler import FINEST_TURN, Scheduler, Vectors
from embedding.serving.tokenization import Tokenization

T = TypeVar("T")

PROBE = "Is the engine well?"
MAX_TOKEN_VECTORS = 8192
"""Tokens whose vectors one answer gives: of 768 numbers they take 70 MB as JSON."""
USUAL_TOKENS = 2048  # a longer text may take longer before its call counts as hung


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


class Pipeline:
    """Embeds the texts of many requests with one engine. Belongs to one event loop."""

    def __init__(self, engine: ServedEngine, limits: Limits, observer: Observer) -> None:
        self.cache = Cache(limits.cache_bytes)
        self.scheduler = Scheduler(
            engine.embed,
            max_tokens=limits.max_batch_tokens or engine.batch_tokens,
            least_turn=engine.batch_tokens // FINEST_TURN,
            dimension=engine.info.dimension,
            probe=engine.tokenize([PROBE], "query")[0],
            finished=self._finish,
            calls=engine.parallel_calls,
            call_timeout=limits.engine_timeout * max(1, (engine.info.max_tokens or 0) / USUAL_TOKENS),
            observer=observer,
        )
        self.admission = Admission(limits, self.scheduler, engine.info.max_tokens, observer)
        self._tokenization = Tokenization(engine, self._finish)
        self._engine = engine
        self._dimension = engine.info.dimension
        self._timeout = limits.request_timeout
        self._observer = observer
        self._keys = Keys()
        self._jobs: dict[bytes, Job] = {}

    async def embed(self, texts: Sequence[str], reading: Reading, titles: Sequence[str], truncate: bool) -> Embeddings:
        """The vectors of `texts`; see `Service.embed`."""
        keys = self._keys.of(texts, reading.task, reading.prompt, titles, reading.normalize, reading.keep_end)
        titled = zip(keys, texts, titles or [""] * len(texts), strict=True)
        async with self._deadline():
            return await self._embed([Job(key, text, title) for key, text, title in titled], reading, truncate)

    async def cut(
        self, texts: Sequence[str], titles: Sequence[str], reading: Reading, size: int | None, overlap: int, most: int
    ) -> list[list[Window]]:
        """The windows of each text; see `Service.cut`."""
        cutter = Cutter(self._engine, size, overlap, reading.task, reading.prompt, most)
        async with self._deadline():
            return await self._in_thread(texts, partial(cutter.windows, titles or [""] * len(texts), texts))

    async def embed_windows(self, windows: Sequence[Window], reading: Reading) -> Embeddings:
        """The vectors of windows, each read for itself; see `Service.embed_windows`."""
        jobs = []
        for window in windows:
            tokens = replace(window.tokens, normalize=reading.normalize)
            (key,) = self._keys.of([tokens.text], tokens.task, tokens.prompt, normalize=reading.normalize)
            jobs.append(Job(key, "", tokens=tokens))
        async with self._deadline():
            return await self._embed(jobs, reading, truncate=True)

    async def embed_windows_late(
        self, texts: Sequence[str], cut: Sequence[Sequence[Window]], reading: Reading
    ) -> Embeddings:
        """The vectors of each text's windows, the text read whole; see `Service.embed_windows_late`."""
        start = time.perf_counter()
        async with self._deadline():
            read = await self._in_thread(texts, partial(read_whole, self._engine, texts, cut))
            jobs = [
                _apart(replace(whole, normalize=reading.normalize), partial(self._engine.embed_spans, spans=spans))
                for whole, spans in read
            ]
            done, timings, cached = await self._vectors(jobs, reading, True, time.perf_counter() - start)
        return Embeddings(np.concatenate([each.vector for each in done]), [e.tokens for e in done], timings, cached)

    async def _embed(self, jobs: Sequence[Job], reading: Reading, truncate: bool) -> Embeddings:
        """The vectors of new jobs, one each, in their order."""
        done, timings, cached = await self._vectors(jobs, reading, truncate)
        return Embeddings(np.stack([each.vector for each in done]), [each.tokens for each in done], timings, cached)

    async def _vectors(
        self, jobs: Sequence[Job], reading: Reading, truncate: bool, before: float = 0.0
    ) -> tuple[list[Embedded], Timings, int]:
        """What becomes of new jobs, in their order, and how many of them the cache had.

        `before`: seconds that the request has taken so far, to tokenize its texts.
        """
        start = time.perf_counter()
        keys = [job.key for job in jobs]
        done = {key: entry for key in keys if (entry := self.cache.get(key))}
        hits = sum(key in done for key in keys)
        self._observer.cache(hits, len(keys) - hits)
        timings = Timings()
        if hits < len(keys):
            missing = {job.key: job for job in jobs if job.key not in done}
            timings = await self._compute(missing, keys, done, reading, truncate)
        elif not truncate:
            _refuse_cut(keys, {key: entry.tokens for key, entry in done.items()})
        total = before + time.perf_counter() - start
        timings = replace(timings, tokenization=before + timings.tokenization, total=total)
        embedded = [done[key] for key in keys]
        kept, truncated = sum(each.tokens.kept for each in embedded), sum(each.tokens.truncated for each in embedded)
        self._observer.finished(timings, len(jobs), kept, truncated)
        return embedded, timings, hits

    async def tokens(self, texts: Sequence[str], reading: Reading, special: bool) -> list[list[Token]]:
        """The tokens of each text; see `Service.tokens`."""
        prompt = reading.prompt or ""

        def read() -> list[list[Token]]:
            return [self._engine.tokens(text, reading.task, prompt, special) for text in texts]

        async with self._deadline():
            return await self._in_thread(texts, read)

    async def decode(self, ids: Sequence[Sequence[int]], skip_special: bool) -> list[str]:
        """The text of each list of ids; see `Service.decode`."""

        def write() -> list[str]:
            return [self._engine.decode(some, skip_special) for some in ids]

        async with self._deadline():
            return await self._in_thread((), write)

    async def embed_tokens(self, texts: Sequence[str], reading: Reading, truncate: bool) -> list[Vectors]:
        """The vectors of each text's tokens; see `Service.embed_tokens`."""
        start = time.perf_counter()
        async with self._deadline():
            read = await self._in_thread(texts, partial(self._tokenization.read, texts, reading))
            for index, result in enumerate(read):
                if isinstance(result, Exception):
                    raise _at(result, index)
            jobs = [_apart(text, self._engine.embed_tokens) for text in read if isinstance(text, TokenizedText)]
            if (total := sum(job.size for job in jobs)) > MAX_TOKEN_VECTORS:
                few = f"vectors of at most {MAX_TOKEN_VECTORS} tokens are given at once"
                raise TooLarge(f"has {total} tokens, and {few}: send fewer texts")
            done, _, _ = await self._vectors(jobs, reading, truncate, time.perf_counter() - start)
        return [each.vector for each in done]

    async def _in_thread(self, texts: Sequence[str], work: Callable[[], T]) -> T:
        """What `work` gives, in the thread of long texts.

        The room of `texts` is free once the work has ended, also where its caller has left before.
        """
        size = self.admission.enter(texts, [0] * len(texts))
        submitted = self._tokenization.submit(work)
        running = asyncio.wrap_future(submitted)

        def ended(work: asyncio.Future[T]) -> None:
            self.admission.tokenized(size)
            self.admission.leave()
            if not work.cancelled():
                work.exception()  # where the caller has left, nobody else asks for it

        running.add_done_callback(ended)
        try:
            await asyncio.wait([running])
        finally:
            submitted.cancel()  # if it has not begun
        if running.cancelled():
            raise Draining("the service is stopping")
        return running.result()

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raises DeadlineExceeded once a request has taken too long; and counts that, or that its caller left."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            self._observer.expired()
            raise DeadlineExceeded(f"took more than {self._timeout:g} s (REQUEST_TIMEOUT), and was given up") from None
        except asyncio.CancelledError:
            self._observer.abandoned()
            raise

    def close(self) -> None:
        """Drop what waits; what is under way ends by itself."""
        self._tokenization.close()
        self.scheduler.close()
        for job in list(self._jobs.values()):
            job.error = Draining("the service is stopping")
            self._finish(job)

    async def _compute(
        self,
        missing: Mapping[bytes, Job],
        keys: Sequence[bytes],
        done: dict[bytes, Embedded],
        reading: Reading,
        truncate: bool,
    ) -> Timings:
        """Put what `missing` gives into `done`."""
        start = time.perf_counter()
        new = {key: job for key, job in missing.items() if key not in self._jobs}
        prompt = len(reading.prompt or "")
        size = self.admission.enter([j.text for j in new.values()], [prompt + len(j.title) for j in new.values()])
        self._jobs |= new
        request = Request([self._jobs[key] for key in missing], asyncio.get_running_loop().create_future())
        try:
            await self._tokenize(list(new.values()), request, size, reading)
            tokenized = time.perf_counter()
            _raise_error(request, keys)
            if not truncate:
                known = {key: entry.tokens for key, entry in done.items()}
                _refuse_cut(keys, known | {job.key: job.tokens for job in request.jobs if job.tokens})
            self.admission.check(sum(job.size for job in new.values()))
            self.scheduler.submit(request)
            await request.done
            _raise_error(request, keys)
        finally:
            self._leave(request)
        for job in request.jobs:
            assert job.vector is not None
            assert job.tokens is not None
            done[job.key] = Embedded(job.vector, job.tokens)
        tokenization, engine = tokenized - start, request.engine_seconds
        return Timings(max(0.0, time.perf_counter() - tokenized - engine), tokenization, engine)

    async def _tokenize(self, new: list[Job], request: Request, size: Size, reading: Reading) -> None:
        """Tokenize the new jobs, and wait until all jobs of the request have their tokens or an error."""
        for job in request.jobs:
            job.requests.append(request)
        work = self._tokenization.start([job for job in new if job.tokens is None], reading)
        if work is None:
            self.admission.tokenized(size)
        else:
            work.add_done_callback(lambda _: self.admission.tokenized(size))
        if works := {job.work for job in request.jobs if job.work and not job.tokens}:
            await asyncio.wait(works)

    def _finish(self, job: Job) -> None:
        """A job has its vector or its error, or nobody wants it any more."""
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
        if job.vector is not None and job.tokens is not None and job.read is None:
            job.vector.setflags(write=False)
            self.cache.put(job.key, job.vector, job.tokens)
        for request in job.requests:
            request.note(job)

    def _leave(self, request: Request) -> None:
        """A request ends, also before its jobs: what nobody else waits for is dropped, or ends by itself."""
        for job in request.jobs:
            job.requests.remove(request)
            if not job.requests and self._jobs.get(job.key) is job:
                del self._jobs[job.key]
        self.scheduler.queue.remove(request)
        if works := {job.work for job in request.jobs if job.work and not job.requests}:
            # Its room is free once the work is, or whoever hangs up and comes again gets more than one share.
            asyncio.gather(*works, return_exceptions=True).add_done_callback(lambda _: self.admission.leave())
        else:
            self.admission.leave()


def _apart(tokens: TokenizedText, read: Callable[[TokenizedText], Vectors]) -> Job:
    """A job for which the engine has a call of its own; none other shares its vectors."""
    return Job(uuid.uuid4().bytes, "", tokens=tokens, read=read)


def _refuse_cut(keys: Sequence[bytes], tokens: Mapping[bytes, TokenizedText]) -> None:
    for index, key in enumerate(keys):
        if (text := tokens[key]).truncated:
            raise TextTooLong(index, text.total, text.kept, text.at_least)


def _raise_error(request: Request, keys: Sequence[bytes]) -> None:
    """The error of the first of the texts that has one, if any, with the text's place in the request."""
    errors = {job.key: job.error for job in request.jobs if job.error}
    for index, key in enumerate(keys if errors else ()):
        if error := errors.get(key):
            raise _at(error, index)


def _at(error: Exception, index: int) -> Exception:
    """The error anew, for several requests may raise it, with the place of its text in the request."""
    return type(error)([index]) if isinstance(error, TextError) else type(error)(*error.args)
