"""Texts to tokens, in threads of its own: short texts never wait for long ones, and the event loop for neither."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from embedding.model import Engine, Task, TextError, TokenizedText
from embedding.model.machine import return_freed_memory, yield_to_others
from embedding.serving.errors import TextFailed
from embedding.serving.queue import Job

logger = logging.getLogger(__name__)

# Tokenizing this many characters takes less than handing them to a thread and back.
AT_ONCE_CHARS = 1_000
SHORT_CHARS = 16_000
# Beyond, the C library keeps so much of what was freed that giving it back is worth the milliseconds.
LARGE_CHARS = 200_000

Results = list[TokenizedText | Exception]


class Tokenization:
    """Gives jobs their tokens, or their error where the tokenizer fails on a text."""

    def __init__(self, engine: Engine, finished: Callable[[Job], None]) -> None:
        """`finished` is told of jobs that have an error."""
        self._engine = engine
        self._finished = finished
        self._short = ThreadPoolExecutor(1, thread_name_prefix="tokenize-short", initializer=yield_to_others)
        self._long = ThreadPoolExecutor(1, thread_name_prefix="tokenize-long", initializer=yield_to_others)
        self._closed = False

    def start(self, jobs: Sequence[Job], task: Task, prompt: str | None) -> "asyncio.Future[Any] | None":
        """Give each its tokens, or its error: now where that is quick, or else once the future returned is done."""
        chars = sum(len(job.text) for job in jobs)
        if chars <= AT_ONCE_CHARS:
            self._hand_out(jobs, self._tokenize([job.text for job in jobs], task, prompt))
            return None

        def tokenize_wanted() -> tuple[list[Job], Results]:
            # Between its admission and its turn, a request's caller may have left.
            wanted = [job for job in jobs if job.requests]
            return wanted, self._tokenize([job.text for job in wanted], task, prompt)

        def ended(work: "asyncio.Future[tuple[list[Job], Results]]") -> None:
            for job in jobs:
                job.work = None
            if not work.cancelled():
                self._hand_out(*work.result())
            if chars > LARGE_CHARS and not self._closed:
                self._long.submit(return_freed_memory)

        threads = self._short if chars <= SHORT_CHARS else self._long
        work = asyncio.get_running_loop().run_in_executor(threads, tokenize_wanted)
        for job in jobs:
            job.work = work
        work.add_done_callback(ended)
        return work

    def close(self) -> None:
        """Tokenize no more; what is under way ends by itself."""
        self._closed = True
        self._short.shutdown(wait=False, cancel_futures=True)
        self._long.shutdown(wait=False, cancel_futures=True)

    def _tokenize(self, texts: Sequence[str], task: Task, prompt: str | None) -> Results:
        if not texts:
            return []
        try:
            tokens = self._engine.tokenize(texts, task, prompt)
            if len(tokens) == len(texts):
                return list(tokens)
            error: BaseException = ValueError(f"{len(tokens)} results for {len(texts)} texts")
        except BaseException as raised:
            error = raised
        if len(texts) == 1:
            logger.debug("the tokenizer failed on a text: %s", type(error).__name__)
            return [error if isinstance(error, TextError) else TextFailed([0])]
        return [result for text in texts for result in self._tokenize([text], task, prompt)]

    def _hand_out(self, jobs: Sequence[Job], results: Results) -> None:
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.error = result
                self._finished(job)
            else:
                job.tokens, job.text = result, ""
