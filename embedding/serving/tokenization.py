"""Texts to tokens, in threads of its own: short texts never wait for long ones, and the event loop for neither."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from embedding.model import Engine, TextError, TokenizedText
from embedding.model.machine import return_freed_memory, yield_to_others
from embedding.model.prompts import prefix
from embedding.model.truncation import keep_end
from embedding.serving.errors import TextFailed
from embedding.serving.queue import Job, Reading

logger = logging.getLogger(__name__)

TOKENIZATION_THREADS = 2
"""One for short texts, one for long ones."""
# Tokenizing this many characters takes less than handing them to a thread and back.
AT_ONCE_CHARS = 1_000
SHORT_CHARS = 16_000
# Beyond, the C library keeps so much of what was freed that giving it back is worth the milliseconds.
LARGE_CHARS = 200_000

T = TypeVar("T")
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

    def start(self, jobs: Sequence[Job], reading: Reading) -> "asyncio.Future[Any] | None":
        """Give each its tokens, or its error: now where that is quick, or else once the future returned is done."""
        before = len(reading.prompt or "")
        chars = sum(before + len(job.title) + len(job.text) for job in jobs)
        if chars <= AT_ONCE_CHARS:
            self._hand_out(jobs, self._tokenize(jobs, reading))
            return None

        def tokenize_wanted() -> tuple[list[Job], Results]:
            # Between its admission and its turn, a request's caller may have left.
            wanted = [job for job in jobs if job.requests]
            return wanted, self._tokenize(wanted, reading)

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

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in the thread of long texts."""
        return self._long.submit(work)

    def read(self, texts: Sequence[str], reading: Reading) -> Results:
        """The tokens of each text, or its error."""
        return self._under("", texts, reading)

    def _tokenize(self, jobs: Sequence[Job], reading: Reading) -> Results:
        alike: dict[str, list[int]] = defaultdict(list)
        for index, job in enumerate(jobs):
            alike[job.title].append(index)
        results: dict[int, TokenizedText | Exception] = {}
        for title, mine in alike.items():
            results.update(zip(mine, self._under(title, [jobs[index].text for index in mine], reading), strict=True))
        return [results[index] for index in range(len(jobs))]

    def _under(self, title: str, texts: Sequence[str], reading: Reading) -> Results:
        """The tokens of texts that share a title, or the error of each for which there are none."""
        try:
            tokens = self._read(title, texts, reading)
            if len(tokens) == len(texts):
                return list(tokens)
            error: BaseException = ValueError(f"{len(tokens)} results for {len(texts)} texts")
        except BaseException as raised:
            error = raised
        if len(texts) == 1:
            logger.debug("the tokenizer failed on a text: %s", type(error).__name__)
            return [error if isinstance(error, TextError) else TextFailed([0])]
        return [result for text in texts for result in self._under(title, [text], reading)]

    def _read(self, title: str, texts: Sequence[str], reading: Reading) -> Sequence[TokenizedText]:
        prompt, cut = reading.prompt, 0
        if title:
            limit = self._engine.info.task_max_tokens[reading.task]
            prompt, cut = prefix(self._engine, reading.task, prompt, title, limit)
        tokens = self._engine.tokenize(texts, reading.task, prompt)
        if reading.keep_end:
            whole = zip(texts, tokens, strict=True)
            tokens = [keep_end(self._engine, text, read, reading.task, prompt) for text, read in whole]
        if reading.normalize and not cut:
            return tokens
        # What a title is cut by counts as cut off its text.
        return [replace(text, total=text.total + cut, normalize=reading.normalize) for text in tokens]

    def _hand_out(self, jobs: Sequence[Job], results: Results) -> None:
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.error = result
                self._finished(job)
            else:
                job.tokens, job.text = result, ""
