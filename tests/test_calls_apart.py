"""Texts that have a call of the engine each, as for the vectors of their tokens, queue and fail like all others."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embedding.model import NoTokens, TextError, Unsupported
from embedding.serving import DeadlineExceeded, EngineFailed, Limits, NotReady, Service, TextFailed, TooLarge
from tests.fake_engine import DIMENSION, FakeEngine, vector_of, vectors_of


def service_of(engine: FakeEngine, **limits: Any) -> Service:
    service = Service(lambda report: engine, Limits(**limits))
    service.load_now()
    return service


async def tokens_of(service: Service, *texts: str) -> list[np.ndarray]:
    return await service.embed_tokens(texts, "query", truncate=True, prompt=None, keep_end=False)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def failing(error: BaseException) -> FakeEngine:
    def respond(texts: list[str]) -> np.ndarray:
        if "bad" in texts[0]:
            raise error
        return vectors_of(texts)

    return FakeEngine(respond)


def test_a_short_query_does_not_wait_for_all_texts_that_came_before_it() -> None:
    engine = FakeEngine()
    service = service_of(engine)

    async def run() -> None:
        engine.gate.clear()
        bulk = [asyncio.create_task(tokens_of(service, f"{'word ' * 60}{n}", "word " * 61)) for n in range(20)]
        await until(lambda: service.queue_requests == 20)
        query = asyncio.create_task(service.embed(["short"], "query"))
        await until(lambda: service.queue_requests == 21)
        engine.gate.set()
        await asyncio.gather(query, *bulk)

    asyncio.run(run())

    assert engine.calls.index(["short"]) < 4


def test_they_stand_apart_from_the_texts_of_a_batch() -> None:
    engine = FakeEngine()
    service = service_of(engine)

    async def run() -> list[Any]:
        engine.gate.clear()
        first = asyncio.create_task(service.embed(["the first"], "query"))
        await until(lambda: len(engine.calls) == 1)
        works = [service.embed([f"text {n}"], "query") if n % 2 else tokens_of(service, f"text {n}") for n in range(8)]
        tasks = [asyncio.create_task(work) for work in works]
        await until(lambda: service.queue_requests == 8)
        engine.gate.set()
        await first
        return await asyncio.gather(*tasks)

    for n, answer in enumerate(asyncio.run(run())):
        vectors = answer.vectors if n % 2 else answer[0]
        assert vectors.tolist() == [vector_of(f"text {n}")] * (1 if n % 2 else 2)
    assert [call for call in engine.calls if len(call) > 1 and any(text in ("text 0", "text 2") for text in call)] == []


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(1), NoTokens([0]), Unsupported("can't")])
def test_a_text_that_the_engine_fails_on_is_named(error: BaseException) -> None:
    service = service_of(failing(error))

    with pytest.raises(type(error) if isinstance(error, TextError | Unsupported) else TextFailed) as caught:
        asyncio.run(tokens_of(service, "fine", "bad"))

    assert not isinstance(caught.value, TextError) or caught.value.index == 1
    assert service.live


@pytest.mark.parametrize("result", [None, np.zeros(DIMENSION), np.full((1, DIMENSION), np.nan)])
def test_what_is_no_vectors_is_not_served(result: Any) -> None:
    engine = FakeEngine()
    engine.embed_tokens = lambda text: result

    with pytest.raises(TextError):
        asyncio.run(tokens_of(service_of(engine), "text"))


def test_where_memory_runs_out_it_is_told() -> None:
    with pytest.raises(EngineFailed, match="memory"):
        asyncio.run(tokens_of(service_of(failing(MemoryError())), "bad"))


def test_an_engine_that_hangs_is_not_live() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    service = service_of(engine, engine_timeout=0.05, request_timeout=0.1)

    async def run() -> None:
        with pytest.raises(DeadlineExceeded):
            await tokens_of(service, "slow")
        assert not service.live
        with pytest.raises(NotReady):
            await tokens_of(service, "next")
        engine.gate.set()

    asyncio.run(run())


def test_what_can_t_be_done_in_time_is_refused() -> None:
    service = service_of(FakeEngine(), max_queue_tokens=100)

    with pytest.raises(TooLarge, match="MAX_QUEUE_TOKENS"):
        asyncio.run(tokens_of(service, "word " * 60, "word " * 61))


def test_a_caller_who_leaves_keeps_the_room_of_what_is_still_read() -> None:
    engine = FakeEngine()
    service = service_of(engine)

    async def run() -> None:
        engine.tokenizer_gate.clear()
        callers = [asyncio.create_task(tokens_of(service, text)) for text in ("read", "waits to be read")]
        await until(lambda: service.in_flight == 2 and "read" in engine.tokenized)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await until(lambda: service.in_flight == 1)
        engine.tokenizer_gate.set()
        await until(lambda: service.in_flight == 0)

    asyncio.run(run())

    assert "waits to be read" not in engine.tokenized


def test_a_caller_who_leaves_keeps_the_room_of_what_the_engine_still_does() -> None:
    engine = FakeEngine()
    service = service_of(engine)

    async def run() -> None:
        engine.gate.clear()
        caller = asyncio.create_task(tokens_of(service, "text", "another"))
        await until(lambda: len(engine.calls) == 1)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert service.in_flight == 1
        engine.gate.set()
        await until(lambda: service.in_flight == 0)

    asyncio.run(run())

    assert len(engine.calls) == 1
