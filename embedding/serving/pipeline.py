"""A request's way from text to vector: cache, admission, tokens, queue, engine. For an engine that is loaded."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedding.model import Engine, Task, TextError, TextTooLong, TokenizedText
from embedding.serving.admission import Admission, Size
from embedding.serving.cache import Cache, Embedded, Keys
from embedding.serving.errors import DeadlineExceeded, Draining
from embedding.serving.limits import Limits
from embedding.serving.observer import Observer, Timings
from embedding.serving.queue import Job, Request
from embedding.serving.scheduler import FINEST_TURN, Scheduler, Vectors
from embedding.serving.tokenization import Tokenization

PROBE = "Is the engine well?"


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

    def __init__(self, engine: Engine, limits: Limits, observer: Observer) -> None:
        self.cache = Cache(limits.cache_bytes)
        self.scheduler = Scheduler(
            engine.embed,
            max_tokens=limits.max_batch_tokens or engine.batch_tokens,
            least_turn=engine.batch_tokens // FINEST_TURN,
            dimension=engine.info.dimension,
            probe=engine.tokenize([PROBE], "query")[0],
            finished=self._finish,
            calls=engine.parallel_calls,
            call_timeout=limits.engine_timeout,
            observer=observer,
        )
        self.admission = Admission(limits, self.scheduler, engine.info.max_tokens, observer)
        self._tokenization = Tokenization(engine, self._finish)
        self._dimension = engine.info.dimension
        self._timeout = limits.request_timeout
        self._observer = observer
        self._keys = Keys()
        self._jobs: dict[bytes, Job] = {}

    async def embed(self, texts: Sequence[str], task: Task, prompt: str | None, truncate: bool) -> Embeddings:
        """The vectors of `texts`; see `Service.embed`."""
        start = time.perf_counter()
        keys = self._keys.of(texts, task, prompt)
        done = {key: entry for key in keys if (entry := self.cache.get(key))}
        hits = sum(key in done for key in keys)
        self._observer.cache(hits, len(keys) - hits)
        timings = Timings()
        if hits < len(keys):
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in done}
            timings = await self._compute(missing, keys, done, task, prompt, truncate)
        elif not truncate:
            _refuse_cut(keys, {key: entry.tokens for key, entry in done.items()})
        timings = replace(timings, total=time.perf_counter() - start)
        embeddings = Embeddings(
            np.stack([done[key].vector for key in keys]), [done[key].tokens for key in keys], timings, hits
        )
        self._observer.finished(
            timings, len(texts), sum(tokens.kept for tokens in embeddings.tokens), embeddings.truncated
        )
        return embeddings

    def close(self) -> None:
        """Drop what waits; what is under way ends by itself."""
        self._tokenization.close()
        self.scheduler.close()
        for job in list(self._jobs.values()):
            job.error = Draining("the service is stopping")
            self._finish(job)

    async def _compute(
        self,
        missing: Mapping[bytes, str],
        keys: Sequence[bytes],
        done: dict[bytes, Embedded],
        task: Task,
        prompt: str | None,
        truncate: bool,
    ) -> Timings:
        """Put what `missing` gives into `done`."""
        start = time.perf_counter()
        new = {key: Job(key, text) for key, text in missing.items() if key not in self._jobs}
        size = self.admission.enter([job.text for job in new.values()])
        self._jobs |= new
        request = Request([self._jobs[key] for key in missing], asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(self._timeout):
                await self._tokenize(list(new.values()), request, size, task, prompt)
                tokenized = time.perf_counter()
                _raise_error(request, keys)
                if not truncate:
                    known = {key: entry.tokens for key, entry in done.items()}
                    _refuse_cut(keys, known | {job.key: job.tokens for job in request.jobs if job.tokens})
                self.admission.check(sum(job.size for job in new.values()))
                self.scheduler.submit(request)
                await request.done
                _raise_error(request, keys)
        except TimeoutError:
            self._observer.expired()
            raise DeadlineExceeded(f"took more than {self._timeout:g} s (REQUEST_TIMEOUT), and was given up") from None
        except asyncio.CancelledError:
            self._observer.abandoned()
            raise
        finally:
            self._leave(request)
        for job in request.jobs:
            assert job.vector is not None
            assert job.tokens is not None
            done[job.key] = Embedded(job.vector, job.tokens)
        tokenization, engine = tokenized - start, request.engine_seconds
        return Timings(max(0.0, time.perf_counter() - tokenized - engine), tokenization, engine)

    async def _tokenize(self, new: list[Job], request: Request, size: Size, task: Task, prompt: str | None) -> None:
        """Tokenize the new jobs, and wait until all jobs of the request have their tokens or an error."""
        for job in request.jobs:
            job.requests.append(request)
        work = self._tokenization.start(new, task, prompt)
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
        if job.vector is not None and job.tokens is not None:
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


def _refuse_cut(keys: Sequence[bytes], tokens: Mapping[bytes, TokenizedText]) -> None:
    for index, key in enumerate(keys):
        if (text := tokens[key]).truncated:
            raise TextTooLong(index, text.total, text.kept, text.at_least)


def _raise_error(request: Request, keys: Sequence[bytes]) -> None:
    """The error of the first of the texts that has one, if any, with the text's place in the request."""
    errors = {job.key: job.error for job in request.jobs if job.error}
    for index, key in enumerate(keys if errors else ()):
        if error := errors.get(key):
            # Anew, for several requests may raise it.
            raise type(error)([index]) if isinstance(error, TextError) else type(error)(*error.args)
