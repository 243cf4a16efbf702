"""The Dockerfile, built and run for real by a tool that needs no Docker engine: `pytest -m container`.

The tool is `container build` and `container run`, named by the variable CONTAINER_TOOL. The build takes minutes.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.cli import ROOT
from tests.fake_hub import MODEL, fake_hub
from tests.live import TOKEN

TOOL = Path(os.environ.get("CONTAINER_TOOL") or ROOT.parent / "shared/tools/container")
SECRET = "hf_" + "thesecretofthebuild"
BUILDAH = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
PORT = 7869

pytestmark = [pytest.mark.container, pytest.mark.skipif(not TOOL.exists(), reason="needs the tool `container`")]


@dataclass(frozen=True)
class Image:
    """The image that was built, and what building it printed."""

    log: str


@pytest.fixture(scope="module")
def image(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Built as a Space builds it, with the secret HF_TOKEN, from a hub on this machine."""
    secret = tmp_path_factory.mktemp("secret") / "token"
    secret.write_text(SECRET)
    with fake_hub(tiny_gemma, token=SECRET) as hub:
        arguments = {"TORCH_INDEX": "", "MODEL_ID": MODEL, "HF_ENDPOINT": hub.url}
        options = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
        done = subprocess.run(
            [TOOL, "build", "--format", "docker", *options, "--secret", f"id=HF_TOKEN,src={secret}"],
            cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Image(done.stdout + done.stderr)


@contextmanager
def running(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The image's own command, under a token."""
    settings = ["-e", f"auth_token={TOKEN}", "-e", f"PORT={PORT}", *options]
    process = subprocess.Popen(
        [TOOL, "run", *settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        subprocess.run(["pkill", "-KILL", "-f", "python -m embedding$"], check=False)
        process.wait(60)


def in_image(*command: str, user: str = "") -> subprocess.CompletedProcess[str]:
    """Run `command` in the image, as `user` if one is given."""
    container = subprocess.run(
        ["buildah", "from", "--pull=never", "app"], env=BUILDAH, capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        options = ["--network", "host", *(["--user", user] if user else [])]
        return subprocess.run(
            ["buildah", "run", *options, container, "--", *command],
            env=BUILDAH, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["buildah", "rm", container], env=BUILDAH, capture_output=True, check=False)


def wait_until_ready(seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        assert time.monotonic() < deadline, "the container did not become ready"
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/health").text == "ok":
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)


def ask(token: str) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{PORT}/predict", json={"query": "lattice"}, headers={"X-API-Key": token}, timeout=30
    )


def test_it_serves_the_model_it_was_built_with_and_stops_in_order(image: Image, tiny_gemma: Path) -> None:
    with running() as process:
        wait_until_ready()
        right, wrong = ask(TOKEN), ask("wrong")
        health = re.search(r"HEALTHCHECK.*\\\n +CMD (\[.*\])", (ROOT / "Dockerfile").read_text())
        assert health
        well = in_image("env", f"PORT={PORT}", *json.loads(health[1]))
        subprocess.run(["pkill", "-TERM", "-x", "-f", "python -m embedding"], check=True)
        status = process.wait(60)
        output = process.stdout.read() if process.stdout else ""

    expected = SentenceTransformer(str(tiny_gemma), device="cpu").encode_query("lattice")
    assert np.dot(right.json(), expected) > 0.99
    assert wrong.status_code == 401
    assert well.returncode == 0, well.stderr
    assert status == 0, output
    assert "Ready: onnx on cpu, int8" in output
    assert "Stopping" in output


def test_the_user_is_1000_and_may_write_nothing_of_the_application(image: Image) -> None:
    assert in_image("id", "-u").stdout.strip() == "1000"
    assert in_image("sh", "-c", "touch /app/new || touch /app/embedding/new").returncode != 0
    assert in_image("sh", "-c", 'touch "$HF_HOME/new"').returncode == 0


def test_torch_and_the_weights_stayed_behind(image: Image) -> None:
    assert "No module named 'torch'" in in_image("python", "-c", "import torch").stderr
    assert in_image("sh", "-c", "ls $HF_HOME/hub /opt/torch/bin").returncode != 0


def test_another_user_is_served_too(image: Image) -> None:
    done = in_image("python", "-c", "from embedding.model import *; from embedding.settings import *; "
                                    "print(load_engine(Settings.read()).info)", user="2000:2000")  # fmt: skip

    assert "onnx on cpu, int8" in done.stdout, done.stderr


@pytest.mark.parametrize("user", ["2000:2000", "1000:1000"])
def test_a_cache_that_can_not_be_written_to_ends_it_with_what_to_do(image: Image, user: str, tiny_gemma: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        settings = [f"HF_ENDPOINT={hub.url}", "HF_HOME=/app/cache", "auth_token=t"]
        done = in_image("env", *settings, "python", "-m", "embedding", "--port", "0", user=user)

    assert done.returncode == 1
    assert "Set HF_HOME to another folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_layer_holds_the_secret_of_the_build_and_each_layer_s_size_is_told(
    image: Image, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["buildah", "push", "app", f"dir:{tmp_path}"], env=BUILDAH, capture_output=True, check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    sizes = []
    for layer in manifest["layers"]:
        size = 0
        with _opened(tmp_path / layer["digest"].partition(":")[2]) as content:
            tail = b""
            while chunk := content.read(1 << 24):
                size += len(chunk)
                assert SECRET.encode() not in tail + chunk
                tail = chunk[-len(SECRET) :]
        sizes.append(size)
    config = (tmp_path / manifest["config"]["digest"].partition(":")[2]).read_text()
    shutil.rmtree(tmp_path)

    assert SECRET not in config + image.log
    assert "Healthcheck" in config
    with capfd.disabled():
        told = " + ".join(f"{size / 1e6:.0f}" for size in sizes)
        print(f"\nimage of the tiny model: {sum(sizes) / 1e6:.0f} MB = {told} (layers, the base first)")


def _opened(path: Path) -> BinaryIO:
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
