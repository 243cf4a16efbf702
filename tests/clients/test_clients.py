"""The clients that people already have get the vectors that SentenceTransformer gives, from a real server.

They live in an environment of their own, which `tests/clients/install` makes. A module of `cases` drives each of them
there; the server and SentenceTransformer are here.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.settings import DEFAULT_MODEL
from tests.cli import ROOT
from tests.live import TOKEN, live

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*_cases.py"))
CLIENTS = Path(os.environ.get("CLIENTS", ROOT / ".artifacts/clients")).absolute()
TEXTS = [
    "What is machine learning?",
    "Ein Satz mit Umlauten: Übergrößenträger",
    "量子纠缠与信息论",
    "The entropy of a lattice. " * 4,
    "x",
]
# What the clients need of whoever runs the tests. The rest would be theirs to misread, as OPENAI_API_KEY is.
KEPT = {"PATH", "HOME", "LANG", "TMPDIR"}

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def environment(
    tiny_gemma: Path, prepared_gemma: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A server's address, and a file of texts with their vectors, as the environment of the clients."""
    reference = SentenceTransformer(str(tiny_gemma), device="cpu")
    file = tmp_path_factory.mktemp("clients") / "reference.npz"
    np.savez(
        file,
        texts=TEXTS,
        query=reference.encode_query(TEXTS),
        document=reference.encode_document(TEXTS),
        none=reference.encode(TEXTS, prompt=""),
    )
    options = {"model_id": str(tiny_gemma), "precision": "float32"}
    with (
        live(**options, served_model_name=DEFAULT_MODEL.split("/")[1]) as named,
        live(**options, served_model_name="*") as any_name,
    ):
        yield {
            **{name: value for name, value in os.environ.items() if name in KEPT},
            "EMBEDDING_URL": str(named.base_url).rstrip("/"),
            "ANY_NAME_URL": str(any_name.base_url).rstrip("/"),
            "auth_token": TOKEN,
            "REFERENCE": str(file),
            "CLIENTS": str(CLIENTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet
        }


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem.removesuffix("_cases"))
def test_a_client_gets_the_vectors_of_the_model(cases: Path, environment: dict[str, str]) -> None:
    python = CLIENTS / "venv/bin/python"
    assert python.exists(), "The clients are not installed: run tests/clients/install"
    options = ["-q", "-rs", "-c", "/dev/null", f"--rootdir={cases.parent}", "-p", "no:cacheprovider"]
    command = [str(python), "-m", "pytest", *options, f"--confcutdir={cases.parent}", str(cases)]

    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    print(run.stdout)  # also names what was skipped
    assert run.returncode == 0, run.stderr
