"""The demo's model is prepared without torch, against what SentenceTransformer said of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embedding.model import ModelUnavailable
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.recordings import RECORDINGS, find_recording
from embedding.model.prepare.recorded import RecordedModel
from tests.cli import ROOT

RECORDING = RECORDINGS / "all-minilm-l6-v2.json"
TORCH = ("torch", "transformers", "sentence_transformers")


def without(*modules: str, folder: Path) -> dict[str, str]:
    """An environment whose Python, and each process that it starts, lacks these modules."""
    (folder / "sitecustomize.py").write_text(f"import sys; sys.modules |= dict.fromkeys({modules})")
    return {**os.environ, "PYTHONPATH": str(folder), "HF_HOME": str(folder / "home")}


def download_the_demo(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "embedding", "download", "--demo", "--precision", "float32"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_demo_is_prepared_without_torch(tmp_path: Path) -> None:
    done = download_the_demo(without(*TORCH, folder=tmp_path))

    assert done.returncode == 0, done.stderr
    assert "float32: cosine mean 1.00000" in done.stdout


def test_what_else_it_needs_is_told(tmp_path: Path) -> None:
    done = download_the_demo(without(*TORCH, "onnx", folder=tmp_path))

    assert done.returncode == 1
    assert "pip install onnx" in done.stderr


def test_a_recording_is_of_one_model_alone(demo_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(demo_model, tmp_path / "copy"))
    assert find_recording(content_digest(copy)) == RECORDING

    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    assert find_recording(content_digest(copy)) is None


def test_a_text_that_was_not_recorded_ends_in_what_to_do(demo_model: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"prepare\.record .* all-minilm-l6-v2"):
        RecordedModel(demo_model, RECORDING).vectors([("query", "never compared")])
