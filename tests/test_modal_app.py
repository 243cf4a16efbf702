"""The Modal home, as far as it goes without an account: what it declares, and its classes called in this process."""

import asyncio
import gc
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.live import TOKEN

modal = pytest.importorskip("modal")

Loader = Callable[..., ModuleType]


@pytest.fixture
def modal_app(tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """Loads modal_app.py as it is deployed with these variables, or as a container has them."""

    def load(**variables: str) -> ModuleType:
        for name, value in {"MODEL_ID": str(tiny_gemma), **variables}.items():
            monkeypatch.setenv(name, value)
        return importlib.reload(importlib.import_module("modal_app"))

    return load


def ask(app: Any, path: str = "/predict", **headers: str) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://modal") as client:
            return await client.post(path, json={"query": "lattice"}, headers=headers)

    return asyncio.run(post())


def test_the_class_serves_what_every_home_serves(modal_app: Loader) -> None:
    app = modal_app(auth_token=TOKEN).Embedding().web.local()

    assert app.state.service.ready
    assert ask(app).status_code == 401
    assert len(ask(app, Authorization=f"Bearer {TOKEN}").json()) == 96


def test_what_the_snapshot_holds_has_no_token_and_takes_the_one_of_the_day(
    modal_app: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = modal_app(auth_token="the-token-of-the-snapshot", HF_TOKEN="hf_thetokenofthesnapshot").Embedding()
    container.load.local()
    held = [thing for thing in gc.get_objects() if isinstance(thing, dict) and thing.get("auth_token") is not None]
    monkeypatch.setenv("auth_token", "the-token-of-today")

    app = container.web.local()

    assert not [thing for thing in held if "the-token-of-the-snapshot" in str(thing["auth_token"])]
    assert ask(app, Authorization="Bearer the-token-of-the-snapshot").status_code == 401
    assert ask(app, Authorization="Bearer the-token-of-today").status_code == 200


def test_without_a_token_every_answer_says_what_to_create(modal_app: Loader) -> None:
    app = modal_app().Embedding().web.local()

    answer = ask(app, "/predict")

    assert answer.status_code == 503
    assert "modal secret create embedding auth_token=YOUR_TOKEN" in answer.json()["detail"]
