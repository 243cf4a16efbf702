"""Shards embedded in this process: while the engine computes one, the texts of another are cut into tokens."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedding.corpus.cut.shards import Shard
from embedding.corpus.job import Job
from embedding.corpus.worker import Done, embed_shard
from embedding.corpus.write.shard_file import ShardReport
from embedding.model import Engine, Task, TokenizedText

THREADS = 2

ShardTick = Callable[[int, Done], None]
"""Told a shard's first row, and what of it was computed."""


class CallQueue:
    """An engine for several threads: one at a time embeds, while others tokenize and write."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()
        self._stopped = False
        self.info = engine.info
        self.batch_tokens, self.parallel_calls = engine.batch_tokens, 1
        self.prompts: Mapping[str, str | None] = engine.prompts

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return self._engine.tokenize(texts, task, prompt)

    def token_starts(self, text: str) -> list[int]:
        return self._engine.token_starts(text)

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        with self._turn:
            if self._stopped:
                raise InterruptedError("another shard failed")
            return self._engine.embed(batch)

    def stop(self) -> None:
        """Let every later call fail, so that threads under way end soon."""
        self._stopped = True


def local_map(
    engine: Engine, job: Job, shards: Iterator[Shard], folder: Path, tick: ShardTick = lambda *_: None
) -> Iterator[ShardReport]:
    """Embed `shards` into `folder`, and report each as it is done. Raises what `embed_shard` raises."""
    turns = CallQueue(engine)

    def embed(shard: Shard) -> ShardReport:
        return embed_shard(turns, job, shard, folder, lambda done: tick(shard.first_row, done))

    with ThreadPoolExecutor(THREADS, thread_name_prefix="shard") as threads:
        under_way: deque[Future[ShardReport]] = deque()
        try:
            for shard in shards:
                under_way.append(threads.submit(embed, shard))
                if len(under_way) > THREADS:
                    yield from _done(under_way)
            while under_way:
                yield from _done(under_way)
        finally:
            turns.stop()
            for future in under_way:
                future.cancel()


def _done(under_way: deque[Future[ShardReport]]) -> Iterator[ShardReport]:
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        under_way.remove(future)
        yield future.result()
