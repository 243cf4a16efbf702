"""Many callers, one engine."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedding.model import TextTooLong
from embedding.model.machine import available_cores
from embedding.serving import (
    DeadlineExceeded,
    Draining,
    Embeddings,
    Limits,
    Observer,
    Overloaded,
    Service,
    Timings,
    TooLarge,
)
from tests.fake_engine import FakeEngine, vector_of, vectors_of
from tests.live import live


def service_of(engine: FakeEngine, observer: Observer | None = None, **limits: Any) -> Service:
    service = Service(lambda report: engine, Limits(**limits), observer)
    service.load_now()
    return service


def begin(service: Service, texts: Sequence[str], **options: Any) -> asyncio.Task[Embeddings]:
    return asyncio.create_task(service.embed(texts, "query", **options))


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.001)


async def outcome(work: Awaitable[Any]) -> Any:
    """The result, or the error."""
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result


async def measured(service: Service) -> None:
    """Embed until the service knows its rate."""
    for i in range(5):
        await service.embed([f"measure {i}"], "query")


def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text {i} " + "word " * rng.integers(0, 90) for i in range(200)]
    engine = FakeEngine()

    embeddings = asyncio.run(service_of(engine).embed(texts, "query"))

    assert embeddings.vectors.tolist() == [vector_of(text) for text in texts]
    assert [tokens.kept for tokens in embeddings.tokens] == [len(text.split()) for text in texts]
    assert all(len(call) == 1 or sum(len(text.split()) for text in call) <= 64 for call in engine.calls)


def test_a_short_query_is_next_however_much_bulk_waits() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine)
        bulk = [begin(service, [f"bulk {i} {j} " + "word " * 30 for j in range(50)]) for i in range(20)]
        await until(lambda: service.queue_requests == 20)
        short = begin(service, ["short"])
        await until(lambda: service.queue_requests == 21)
        engine.gate.set()
        await asyncio.gather(short, *bulk)

        assert engine.calls[1] == ["short"]

    asyncio.run(work())


def test_a_short_query_does_not_wait_for_a_long_text_where_calls_may_overlap() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.parallel_calls = 2
        engine.gate.clear()
        service = service_of(engine)
        bulk = begin(service, [f"bulk {i} " + "word " * 80 for i in range(50)])
        await until(lambda: engine.calls)
        short, other = begin(service, ["short"]), begin(service, ["another"])
        await until(lambda: engine.calls[1:])
        engine.gate.set()
        await asyncio.gather(bulk, short, other)

        assert engine.calls[1] == ["short"]
        assert len(engine.calls[0]) == 1

    asyncio.run(work())


def test_a_caller_that_left_is_not_computed_for() -> None:
    async def leave() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine)
        caller = begin(service, [f"text {i} of a caller that leaves" for i in range(50)])
        await until(lambda: engine.calls)
        caller.cancel()
        await outcome(caller)
        engine.gate.set()
        await service.embed(["another"], "query")

        assert engine.calls[1:] == [["another"]]
        assert service.queue_tokens == 0

    asyncio.run(leave())


@pytest.mark.parametrize("held", ["gate", "tokenizer_gate"])
def test_the_room_of_a_caller_that_left_is_free_once_its_work_is(held: str) -> None:
    async def leave() -> None:
        engine = FakeEngine()
        service = service_of(engine, max_concurrent_requests=1)
        gate = getattr(engine, held)
        gate.clear()
        caller = begin(service, ["word " * 400])
        await until(lambda: engine.calls if held == "gate" else engine.tokenized[1:])
        caller.cancel()
        await outcome(caller)

        assert isinstance(await outcome(service.embed(["too early"], "query")), Overloaded)

        gate.set()
        await until(lambda: service.in_flight == 0)
        await service.embed(["in time"], "query")

    asyncio.run(leave())


def test_equal_texts_at_once_are_embedded_once() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine)
        callers = [begin(service, ["the same"]) for _ in range(20)]
        await until(lambda: service.in_flight == 20)
        callers[0].cancel()
        await outcome(callers[0])
        engine.gate.set()
        answers = await asyncio.gather(*callers[1:])

        assert engine.calls == [["the same"]]
        assert all(answer.vectors.tolist() == [vector_of("the same")] for answer in answers)

    asyncio.run(work())


def test_a_text_that_is_being_tokenized_for_a_caller_that_leaves_is_embedded_for_the_others() -> None:
    async def work() -> None:
        engine = FakeEngine()
        service = service_of(engine)
        engine.tokenizer_gate.clear()
        text, other = "a long text " * 200, "another long text " * 200
        first, second = begin(service, [text, "own"]), begin(service, [text, other])
        await until(lambda: service.in_flight == 2)
        first.cancel()
        await outcome(first)
        engine.tokenizer_gate.set()

        assert (await second).vectors.tolist() == [vector_of(text), vector_of(other)]
        assert engine.tokenized.count(text) == 1

    asyncio.run(work())


def test_a_text_that_comes_again_is_not_embedded_again() -> None:
    async def work() -> None:
        engine = FakeEngine()
        service = service_of(engine)
        first = await service.embed(["one", "two", "one"], "query")
        again = await service.embed(["two", "one"], "query")
        await service.embed(["one"], "document")
        await service.embed(["one"], "query", prompt="other: ")

        assert (first.cached, again.cached) == (0, 2)
        assert again.vectors.tolist() == [vector_of("two"), vector_of("one")]
        assert [tokens.kept for tokens in again.tokens] == [1, 1]
        assert sorted(text for call in engine.calls for text in call) == ["one", "one", "one", "two"]

    asyncio.run(work())


def test_a_full_service_still_answers_what_it_has_in_its_cache() -> None:
    async def work() -> None:
        engine = FakeEngine()
        service = service_of(engine, max_concurrent_requests=1)
        await service.embed(["known"], "query")
        engine.gate.clear()
        busy = begin(service, ["unknown"])
        await until(lambda: engine.calls[1:])

        assert (await service.embed(["known"], "query")).cached == 1

        engine.gate.set()
        await busy

    asyncio.run(work())


def test_a_text_that_was_cut_is_refused_to_who_wants_none_cut_also_from_the_cache() -> None:
    async def work() -> None:
        service = service_of(FakeEngine())
        texts = ["short", "word " * 150]

        first = await outcome(service.embed(texts, "query", truncate=False))
        assert (await service.embed(texts, "query")).truncated == 1
        again = await outcome(service.embed(texts, "query", truncate=False))

        for error in (first, again):
            assert isinstance(error, TextTooLong)
            assert (error.index, str(error)) == (1, "has 150 tokens, and the model reads at most 100")

    asyncio.run(work())


def test_past_its_deadline_a_request_ends_and_what_is_left_of_it_is_dropped() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine, request_timeout=0.05)
        late = await outcome(service.embed([f"late {i} " + "word " * 40 for i in range(20)], "query"))
        engine.gate.set()
        await until(lambda: service.in_flight == 0)

        assert isinstance(late, DeadlineExceeded)
        assert "REQUEST_TIMEOUT" in str(late)
        assert (len(engine.calls), service.queue_tokens) == (1, 0)

    asyncio.run(work())


def slow(texts: list[str]) -> np.ndarray:
    """A hundredth of a second a word, at least."""
    time.sleep(0.01 * sum(len(text.split()) for text in texts))
    return vectors_of(texts)


def test_a_request_that_no_deadline_can_hold_is_refused_at_once() -> None:
    async def work() -> None:
        engine = FakeEngine(slow)
        service = service_of(engine, request_timeout=1)
        await measured(service)
        calls = len(engine.calls)

        refused = await outcome(service.embed([f"{i} " + "word " * 50 for i in range(128)], "query"))

        assert isinstance(refused, TooLarge)
        assert "fewer texts" in str(refused)
        assert len(engine.calls) == calls

    asyncio.run(work())


def test_a_request_that_would_miss_its_deadline_behind_others_is_told_when_to_come_back() -> None:
    async def work() -> None:
        engine = FakeEngine(slow)
        service = service_of(engine, request_timeout=20)
        await measured(service)
        engine.gate.clear()
        bulk = [begin(service, [f"{i} {j} " + "word " * 50 for j in range(12)]) for i in range(3)]
        answers = [await outcome(asyncio.wait_for(asyncio.shield(task), 0.2)) for task in bulk]
        short = begin(service, ["short"])
        turned_away = [answer for answer in answers if isinstance(answer, Overloaded)]

        assert 0 < len(turned_away) < 3
        assert all(1 <= answer.retry_after <= 20 for answer in turned_away)
        assert service.estimated_wait > 1

        engine.gate.set()
        assert (await short).vectors.tolist() == [vector_of("short")]
        service.close()
        await asyncio.gather(*bulk, return_exceptions=True)

    asyncio.run(work())


def test_bulk_beyond_the_queue_is_turned_away_and_a_short_query_is_not() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine, max_queue_tokens=1100)
        bulk = [begin(service, [f"{i} {j} " + "word " * 50 for j in range(8)]) for i in range(4)]
        await until(lambda: service.queue_requests + sum(task.done() for task in bulk) == 4)
        short = begin(service, ["short"])
        engine.gate.set()
        answers = await asyncio.gather(*bulk, return_exceptions=True)
        too_large = await outcome(service.embed([f"{j} " + "word " * 90 for j in range(20)], "query"))

        assert [type(answer) for answer in answers].count(Overloaded) == 2
        assert isinstance(too_large, TooLarge)
        assert (await short).vectors.tolist() == [vector_of("short")]

    asyncio.run(work())


def test_what_is_told_of_time_adds_up() -> None:
    finished: list[Timings] = []

    class Watch(Observer):
        def finished(self, timings: Timings, texts: int, tokens: int, truncated: int) -> None:
            finished.append(timings)

    async def work() -> None:
        service = service_of(FakeEngine(slow), Watch())
        computed = await service.embed(["some words"], "query")
        cached = await service.embed(["some words"], "query")

        assert finished == [computed.timings, cached.timings]
        assert computed.timings.engine >= 0.02
        parts = computed.timings.queue + computed.timings.tokenization + computed.timings.engine
        assert parts <= computed.timings.total
        assert (cached.timings.queue, cached.timings.tokenization, cached.timings.engine) == (0, 0, 0)

    asyncio.run(work())


def test_nothing_of_a_request_is_kept_but_as_many_vectors_as_may_be() -> None:
    async def work() -> None:
        service = service_of(FakeEngine(), cache_bytes=10_000)
        for i in range(200):
            await service.embed([f"a text {i} that nobody should find"], "query")

        assert 0 < service.cache_bytes <= 10_000
        assert service.in_flight == service.queue_requests == service.queue_tokens == 0

    asyncio.run(work())


def test_requests_beyond_the_limit_are_turned_away_and_the_rest_served(tiny_gemma: Path) -> None:
    with live(model_id=str(tiny_gemma), max_concurrent_requests=2) as client:
        bodies = [{"query": [f"lattice {i} {j} " * 100 for j in range(32)]} for i in range(8)]

        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda body: client.post("/predict", json=body), bodies))
        after = client.post("/predict", json={"query": "calm"})

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    turned_away = answers[statuses.index(429)]
    assert int(turned_away.headers["Retry-After"]) > 0
    assert turned_away.json()["detail"]
    assert after.status_code == 200


def test_callers_at_once_each_get_their_own_vectors(gemma: httpx.Client) -> None:
    texts = [f"text number {i} " * (i % 7 + 1) for i in range(40)]
    alone = [gemma.post("/predict", json={"query": text}).json() for text in texts]

    with ThreadPoolExecutor(10) as callers:
        together = list(callers.map(lambda text: gemma.post("/predict", json={"query": text}).json(), texts))

    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_callers_who_hang_up_leave_room_for_others(tiny_gemma: Path) -> None:
    with live(model_id=str(tiny_gemma), max_concurrent_requests=2, max_batch_tokens=200, precision="float32") as client:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                client.post("/predict", json={"query": [f"entropy {i} " * 100 for i in range(128)]}, timeout=0.05)

        statuses = []
        while 200 not in statuses and len(statuses) < 100:
            statuses.append(client.post("/predict", json={"query": "calm"}).status_code)
            time.sleep(0.02)

    assert statuses[-1] == 200


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "garbage"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_cores_are_those_of_the_container(files: dict[str, str], cores: int | None, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    assert available_cores(tmp_path) == (cores or available_cores(tmp_path / "nothing"))


def test_a_service_that_closes_leaves_nobody_waiting() -> None:
    async def work() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = service_of(engine)
        callers = [begin(service, [f"text {i} " + "word " * 60]) for i in range(5)]
        await until(lambda: service.queue_requests == 4)
        service.close()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        engine.gate.set()

        assert all(isinstance(answer, Draining) for answer in answers)

    asyncio.run(work())


def test_a_query_waits_for_one_text_of_those_that_are_read_whole() -> None:
    ended: list[str] = []
    engine = FakeEngine()
    engine.gate.clear()

    async def note(name: str, work: Awaitable[Any]) -> None:
        await work
        ended.append(name)

    async def flood() -> None:
        service = service_of(engine)
        texts = [f"text {i} " + "word " * 30 for i in range(20)]
        options: dict[str, Any] = {"truncate": True, "prompt": None, "keep_end": False}
        works = [service.embed_tokens([text], "document", **options) for text in texts]
        whole = [asyncio.create_task(note("whole", work)) for work in works]
        await until(lambda: service.queue_requests == 19)
        query = asyncio.create_task(note("query", service.embed(["a query"], "query")))
        await until(lambda: service.queue_requests == 20)
        engine.gate.set()
        await asyncio.gather(query, *whole)

    asyncio.run(flood())

    assert ended.index("query") <= 2
