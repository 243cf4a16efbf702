"""The Dockerfile, built and run for real by a tool that needs no Docker engine: `pytest -m container`.

The tool is named by the variable CONTAINER_TOOL, and does `TOOL build` and `TOOL run`. The build takes minutes.
"""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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

TOOL = os.environ.get("CONTAINER_TOOL", "")
SECRET = "hf_" + "thesecretofthebuild"
BUILDAH = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
MARK = f"CONTAINER_TEST={uuid.uuid4().hex}"

pytestmark = [pytest.mark.container, pytest.mark.skipif(not TOOL, reason="needs CONTAINER_TOOL")]


@dataclass(frozen=True)
class Image:
    """The image that was built, and what building it printed."""

    log: str


def build(*options: str, **arguments: str) -> Image:
    given = [option for name, value in arguments.items() for option in ("--build-arg", f"{name}={value}")]
    command = [TOOL, "build", "--format", "docker", *given, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Image(done.stdout + done.stderr)


@pytest.fixture(scope="module")
def image(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Built as a Space builds it, with the secret HF_TOKEN, from a hub on this machine."""
    secret = tmp_path_factory.mktemp("secret") / "token"
    secret.write_text(SECRET)
    with fake_hub(tiny_gemma, token=SECRET) as hub:
        return build("--secret", f"id=HF_TOKEN,src={secret}", TORCH_INDEX="", MODEL_ID=MODEL, HF_ENDPOINT=hub.url)


@pytest.fixture(scope="module")
def bare_image(image: Image) -> Image:
    """Built after `image`, and in its place, with neither a secret nor a model: torch goes along."""
    return build(TORCH_INDEX="")


class Server:
    """The image's own command under a token, on a free port."""

    def __init__(self, output: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._output = output
        given = ["-e", f"auth_token={TOKEN}", "-e", f"PORT={self.port}", "-e", MARK, *options]
        with output.open("w") as file:
            self.process = subprocess.Popen([TOOL, "run", *given], stdout=file, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        return self._output.read_text()

    def signal(self, number: int) -> None:
        """Tell the server inside, which the mark in its environment tells from any other process."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"-m", b"embedding"] and MARK.encode() in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), number)

    def health(self) -> str:
        """What /health says; nothing while the port is closed."""
        assert self.process.poll() is None, self.output
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/health").text
        return ""

    def step(self) -> str:
        """What loading is busy with, as the page shows it."""
        with suppress(httpx.TransportError):
            return str(httpx.get(f"http://127.0.0.1:{self.port}/status").json()["step"])
        return ""

    def wait_until_ready(self) -> None:
        while self.health() != "ok":
            time.sleep(0.1)

    def ask(self, token: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}/predict"
        return httpx.post(url, json={"query": "lattice"}, headers={"X-API-Key": token}, timeout=30)


@contextmanager
def running(output: Path, *options: str) -> Iterator[Server]:
    server = Server(output, *options)
    try:
        yield server
    finally:
        server.signal(signal.SIGKILL)
        server.process.wait(60)


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


def test_it_serves_the_model_it_was_built_with_and_stops_in_order(
    image: Image, tiny_gemma: Path, tmp_path: Path
) -> None:
    health = re.search(r"HEALTHCHECK.*\\\n +CMD (\[.*\])", (ROOT / "Dockerfile").read_text())
    assert health
    with running(tmp_path / "output") as server:
        server.wait_until_ready()
        right, wrong = server.ask(TOKEN), server.ask("wrong")
        well = in_image("env", f"PORT={server.port}", *json.loads(health[1]))
        server.signal(signal.SIGTERM)
        status = server.process.wait(60)

    unwell = in_image("env", f"PORT={server.port}", *json.loads(health[1]))
    expected = SentenceTransformer(str(tiny_gemma), device="cpu").encode_query("lattice")
    assert np.dot(right.json(), expected) > 0.99
    assert wrong.status_code == 401
    assert (well.returncode, unwell.returncode) == (0, 1), well.stderr
    assert status == 0, server.output
    assert "Ready: onnx on cpu, int8" in server.output
    assert "Stopping" in server.output


def test_the_user_is_1000_and_may_write_nothing_of_the_application(image: Image) -> None:
    assert in_image("id", "-u").stdout.strip() == "1000"
    assert in_image("sh", "-c", "touch /app/new || touch /app/embedding/new").returncode != 0
    assert in_image("sh", "-c", 'touch "$HF_HOME/new"').returncode == 0


def test_torch_and_the_weights_stayed_behind(image: Image) -> None:
    assert "No module named 'torch'" in in_image("python", "-c", "import torch").stderr
    assert in_image("sh", "-c", "test -e $HF_HOME/hub || test -e /opt/torch/bin").returncode != 0


def test_another_user_is_served_too(image: Image) -> None:
    done = in_image("python", "-c", "from embedding.model import *; from embedding.settings import *; "
                                    "print(load_engine(Settings.read()).info)", user="2000:2000")  # fmt: skip

    assert "onnx on cpu, int8" in done.stdout, done.stderr


def test_another_model_than_the_one_inside_is_refused_with_what_to_do(image: Image) -> None:
    done = in_image("env", "MODEL_ID=someone/else", "auth_token=t", "python", "-m", "embedding", "--port", "0")

    assert done.returncode == 1
    assert "has to be built anew" in done.stderr
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


@pytest.mark.parametrize("user", ["2000:2000", "1000:1000"])
def test_a_cache_that_can_not_be_written_to_ends_it_with_what_to_do(
    bare_image: Image, user: str, tiny_gemma: Path
) -> None:
    with fake_hub(tiny_gemma) as hub:
        settings = [f"MODEL_ID={MODEL}", f"HF_ENDPOINT={hub.url}", "HF_HOME=/app/cache", "auth_token=t"]
        done = in_image("env", *settings, "python", "-m", "embedding", "--port", "0", user=user)

    assert done.returncode == 1
    assert "Set HF_HOME to another folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_in_the_image_is_prepared_into_the_storage_of_the_space(
    bare_image: Image, tiny_gemma: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    steps = set()
    with fake_hub(tiny_gemma) as hub:
        options = ["-e", f"MODEL_ID={MODEL}", "-e", f"HF_ENDPOINT={hub.url}", "-v", f"{data}:/data"]
        with running(tmp_path / "first", *options) as server:
            while server.health() != "ok":
                steps.add(server.step())
                time.sleep(0.1)
            first = server.ask(TOKEN)
            told = server.output
        with running(tmp_path / "second", *options) as server:
            server.wait_until_ready()
            again = server.output

    assert len(first.json()) == 96
    assert list((data / "huggingface/embedding").glob("*/manifest.json"))
    assert any(step.startswith("preparing") for step in steps)
    assert "preparing  20%" in told
    assert "preparing" not in again


def _opened(path: Path) -> BinaryIO:
    packed = path.read_bytes()[:2] == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
