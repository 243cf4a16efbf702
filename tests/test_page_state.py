"""What the page is told of the model while it is fetched and prepared."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from embedding.api import create_app
from embedding.settings import Settings
from tests.cli import ROOT
from tests.fake_hub import MODEL, fake_hub
from tests.live import TOKEN

# In a process of its own, for the hub's address and its cache are read at import.
ASK_AT_EACH_REPORT = """
import asyncio, json, sys, threading
import httpx
from embedding.api import create_app
from embedding.model.load import load_engine
from embedding.serving import Service
from embedding.settings import Settings

settings, lock = Settings.read(), threading.Lock()

async def status():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        return (await client.get("/status")).text

def load(report):
    def telling(step, share):
        with lock:
            report(step, share)
            print(asyncio.run(status()), file=sys.stderr)
    return load_engine(settings, telling)

service = Service(load)
app = create_app(settings, service)
service.load_now()
print(asyncio.run(status()), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def told(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What /status says at each step, from an empty cache to a loaded model."""
    home = str(tmp_path_factory.mktemp("home"))
    with fake_hub(tiny_gemma) as hub:
        options = {"MODEL_ID": MODEL, "HF_ENDPOINT": hub.url, "HF_HOME": home, "auth_token": TOKEN, "ENGINE": "onnx"}
        done = subprocess.run(
            [sys.executable, "-c", ASK_AT_EACH_REPORT],
            cwd=ROOT, env={**os.environ, **options}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]


# Preparing says each part as it begins, so its last is short of the whole.
@pytest.mark.parametrize(("step", "last"), [("downloading the model", 1), ("preparing the model: ", 0.9)])
def test_the_share_of_each_long_step_rises_to_its_end(step: str, last: float, told: list[dict[str, Any]]) -> None:
    shares = [now["fraction"] for now in told if now["step"] and now["step"].startswith(step)]
    known = [share for share in shares if share is not None]

    assert all(now["state"] == "loading" for now in told[:-1])
    assert len(set(known)) > 2
    assert max(known) == last


def test_once_ready_there_is_no_step_left(told: list[dict[str, Any]]) -> None:
    assert (told[-1]["state"], told[-1]["step"], told[-1]["fraction"]) == ("ready", None, None)
    assert (told[-1]["model_id"], told[-1]["hub"]) == (MODEL, True)


@pytest.mark.parametrize(
    ("model", "name", "hub"),
    [
        ("a/b", "a/b", True),
        ("./my-model", "./my-model", False),
        ("/x/y/z", "…/y/z", False),
        ("tests/x", "tests/x", False),
    ],
)
def test_only_a_model_of_the_hub_is_said_to_be_one(
    model: str, name: str, hub: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    app = create_app(Settings.read(model_id=model, auth_token=TOKEN))

    answer = _ask(app)

    assert (answer["model_id"], answer["hub"]) == (name, hub)


def _ask(app: Any) -> dict[str, Any]:
    async def status() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            return (await client.get("/status")).json()

    return asyncio.run(status())
