"""Many callers, one engine."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from embedding.model import TokenizedText, load_engine
from embedding.model.machine import available_cores
from embedding.serving import Draining, Embeddings, Service
from embedding.serving.scheduler import Scheduler
from embedding.settings import Settings
from tests.live import live


class Recorder:
    """An engine that notes its calls: a text's vector is its length."""

    def __init__(self, failing: int = -1) -> None:
        self.calls: list[list[int]] = []
        self._failing = failing

    def embed(self, batch: Sequence[TokenizedText]) -> np.ndarray:
        self.calls.append([text.kept for text in batch])
        time.sleep(0.02)
        if self._failing in self.calls[-1]:
            raise MemoryError
        return np.array([[text.kept] for text in batch], np.float32)


def texts(*lengths: int) -> list[TokenizedText]:
    return [TokenizedText("", "query", length, length) for length in lengths]


def schedule(engine: Recorder, max_tokens: int, *requests: list[TokenizedText]) -> list[np.ndarray | BaseException]:
    async def together() -> list[np.ndarray | BaseException]:
        scheduler = Scheduler(engine.embed, max_tokens)
        try:
            return await asyncio.gather(*(scheduler.embed(request) for request in requests), return_exceptions=True)
        finally:
            scheduler.close()

    return asyncio.run(together())


def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    lengths = np.random.default_rng(0).integers(1, 400, size=200).tolist()
    engine = Recorder()

    (vectors,) = schedule(engine, 1000, texts(*lengths))

    assert vectors[:, 0].tolist() == lengths
    assert all(sum(call) <= 1000 for call in engine.calls)


def test_a_text_beyond_the_budget_gets_a_call_of_its_own() -> None:
    engine = Recorder()

    schedule(engine, 100, texts(5, 5000, 5))

    assert engine.calls == [[5, 5], [5000]]


def test_what_waits_shares_a_call() -> None:
    engine = Recorder()

    schedule(engine, 1000, *(texts(10) for _ in range(16)))

    assert engine.calls == [[10] * 16]


def test_requests_take_turns() -> None:
    engine = Recorder()

    schedule(engine, 30, texts(*[10] * 20), texts(7), texts(8))

    assert engine.calls[0] == [10, 7, 8]


def test_a_failed_call_fails_its_requests_and_no_other() -> None:
    bad, good = schedule(Recorder(failing=50), 60, texts(50), texts(20, 21))

    assert isinstance(bad, MemoryError)
    assert good[:, 0].tolist() == [20, 21]


def test_a_caller_that_left_is_not_computed_for() -> None:
    async def leave() -> None:
        engine = Recorder()
        scheduler = Scheduler(engine.embed, 10)
        caller = asyncio.create_task(scheduler.embed(texts(*[10] * 50)))
        while not engine.calls:
            await asyncio.sleep(0)
        caller.cancel()

        await scheduler.embed(texts(3))

        assert len(engine.calls) < 5
        scheduler.close()

    asyncio.run(leave())


def test_requests_beyond_the_limit_are_turned_away_and_the_rest_served(tiny_gemma: Path) -> None:
    with live(model_id=str(tiny_gemma), max_concurrent_requests=2) as client:
        body = {"query": ["lattice " * 500] * 32}

        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(lambda _: client.post("/predict", json=body), range(8)))
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
                client.post("/predict", json={"query": ["entropy " * 500] * 128}, timeout=0.05)

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


def test_a_service_that_drains_answers_what_is_under_way_and_takes_nothing_new(prepared_gemma: Path) -> None:
    engine = load_engine(Settings.read(model_id=str(prepared_gemma), precision="float32"))
    service = Service(lambda report: engine)
    service.load_now()

    async def drain_while_embedding() -> tuple[Embeddings, list[BaseException | Embeddings]]:
        under_way = asyncio.create_task(service.embed(["lattice"], "query"))
        await asyncio.sleep(0)
        draining = asyncio.create_task(service.drain())
        await asyncio.sleep(0)
        late = await asyncio.gather(service.embed(["late"], "query"), return_exceptions=True)
        await draining
        assert under_way.done()
        return await under_way, late

    answered, (late,) = asyncio.run(drain_while_embedding())

    assert answered.vectors.shape == (1, 96)
    assert isinstance(late, Draining)
