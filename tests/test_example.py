"""The example of the README finds what it is asked for, and never mixes two models."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.cli import ROOT
from tests.live import TOKEN


def search(server: httpx.Client, question: str, folder: Path) -> subprocess.CompletedProcess[str]:
    address = {"EMBEDDING_URL": str(server.base_url), "auth_token": TOKEN, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples/search_abstracts.py"), *question.split()]
    environment = {**os.environ, **address}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_abstract_that_answers_comes_first(demo: httpx.Client, tmp_path: Path) -> None:
    indexed = search(demo, "why do old galaxies stop making stars?", tmp_path)
    found = search(demo, "how does a fish heal?", tmp_path)

    assert "1. " in indexed.stdout, indexed.stderr
    assert "Why massive galaxies ran out of cold gas" in indexed.stdout.splitlines()[0]
    assert "How zebrafish close a wound without a scar" in found.stdout.splitlines()[0]
    assert len(found.stdout.splitlines()) == 5


def test_an_index_is_not_searched_with_another_model(demo: httpx.Client, gemma: httpx.Client, tmp_path: Path) -> None:
    search(demo, "galaxies", tmp_path)

    refused = search(gemma, "galaxies", tmp_path)

    assert refused.returncode == 1
    assert "ModelChanged: The service runs" in refused.stderr
