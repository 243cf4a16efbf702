"""Many callers, one engine."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from embedding.model.cores import available_cores
from embedding.serving.batches import batches
from tests.live import live, wait_until_ready


def test_batches_hold_every_index_once_within_the_budget() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 400, size=200))

    made = list(batches(lengths, 1000))

    assert sorted(index for batch in made for index in batch) == list(range(200))
    assert all(max(lengths[i] for i in batch) * len(batch) <= 1000 for batch in made)


def test_a_text_beyond_the_budget_gets_a_batch_of_its_own() -> None:
    assert list(batches([5, 5000, 5], 100)) == [[1], [0, 2]]


def test_no_lengths_make_no_batches() -> None:
    assert list(batches([], 100)) == []


def test_requests_beyond_the_limit_are_turned_away_and_the_rest_served(tiny_gemma: Path) -> None:
    with live(model_id=str(tiny_gemma), max_concurrent_requests=2) as client:
        wait_until_ready(client)
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


def test_a_long_request_does_not_hold_up_a_short_one(tiny_gemma: Path) -> None:
    async def race(url: str, headers: httpx.Headers) -> list[str]:
        finished = []
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:

            async def ask(name: str, query: object) -> None:
                assert (await client.post("/predict", json={"query": query})).status_code == 200
                finished.append(name)

            long = asyncio.create_task(ask("long", ["entropy " * 500] * 128))
            await asyncio.sleep(0.3)
            await ask("short", "entropy")
            await long
        return finished

    with live(model_id=str(tiny_gemma), max_batch_tokens=256) as client:
        wait_until_ready(client)

        assert asyncio.run(race(str(client.base_url), client.headers)) == ["short", "long"]


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
