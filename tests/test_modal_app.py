"""The Modal home, as far as it goes without an account: what it declares, and its class called in this process."""

import asyncio
import importlib
from pathlib import Path

import httpx
import pytest

from embedding.settings import SettingsError
from tests.live import TOKEN

modal = pytest.importorskip("modal")


def ask(app, headers: dict[str, str]) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://modal") as client:
            return await client.post("/predict", json={"query": "lattice"}, headers=headers)

    return asyncio.run(post())


def test_the_class_serves_what_every_home_serves(tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_ID", str(tiny_gemma))
    monkeypatch.setenv("auth_token", TOKEN)
    modal_app = importlib.reload(importlib.import_module("modal_app"))

    app = modal_app.Embedding().web.local()

    assert app.state.service.ready
    assert ask(app, {}).status_code == 401
    assert len(ask(app, {"Authorization": f"Bearer {TOKEN}"}).json()) == 96


def test_without_a_token_the_container_does_not_start(tiny_gemma: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_ID", str(tiny_gemma))
    modal_app = importlib.reload(importlib.import_module("modal_app"))

    with pytest.raises(SettingsError, match="auth_token"):
        modal_app.Embedding().web.local()
