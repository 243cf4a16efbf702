"""From the command to the first vector: what the terminal says, and every way in which it can end."""

import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from embedding.settings import Settings, SettingsError
from tests.cli import run, running
from tests.fake_hub import MODEL, fake_hub


def assert_ends(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (message,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in message


def test_the_demo_prints_a_curl_line_that_answers_a_vector(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as server:
        curl = server.wait_for("curl")
        address = server.wait_for("address").split()[-1]
        token = server.wait_for("  token ").split()[-1]

        answer = subprocess.run(
            [*shlex.split(curl[curl.index("curl") :]), "--silent", "--show-error"], capture_output=True, check=True
        ).stdout

        assert re.fullmatch(rb"\[(-?\d[\d.e-]*,){383}-?\d[\d.e-]*\]", answer), answer[:200]
        assert address == server.url
        assert token in curl
        assert server.wait_for("  open ").split()[-1] == f"{address}/#token={token}"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.output


def test_the_port_is_open_while_the_model_loads(tiny_gemma: Path, tmp_path: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        hub.open.clear()
        options = {
            "MODEL_ID": MODEL,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "AUTH_TOKEN": "t",
            "ENGINE": "torch",
        }
        with running(tmp_path, **options) as server:
            waiting = server.health()
            early = httpx.post(f"{server.url}/predict", json={"query": "x"}, headers={"X-API-Key": "t"})
            hub.open.set()
            server.wait_for("Ready")
            ready = server.health()
            late = httpx.post(f"{server.url}/predict", json={"query": "x"}, headers={"X-API-Key": "t"}, timeout=30)

    assert (waiting.status_code, waiting.text) == (503, "not ready")
    assert early.status_code == 503
    assert int(early.headers["Retry-After"]) > 0
    assert (ready.status_code, ready.text) == (200, "ok")
    assert len(late.json()) == 96


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_download_under_way(stop: signal.Signals, tiny_gemma: Path, tmp_path: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        hub.open.clear()
        options = {"MODEL_ID": MODEL, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "auth_token": "t"}
        with running(tmp_path, **options) as server:
            assert server.health().status_code == 503
            start = time.monotonic()
            server.process.send_signal(stop)
            status = server.process.wait(20)

        assert status == 0
        assert time.monotonic() - start < 10
        assert "Traceback" not in server.output


def assert_model_ends(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert_ends(done, *words, "--demo")


def test_without_a_token_it_does_not_start() -> None:
    assert_ends(run("--port", "0"), "auth_token", "--demo")


def test_a_model_that_is_not_there_ends_it() -> None:
    assert_model_ends(run("--port", "0", "--model", "/no/such/folder", auth_token="t"), "/no/such/folder", "MODEL_ID")


def test_a_folder_that_is_no_model_ends_it(tmp_path: Path) -> None:
    assert_model_ends(
        run("serve", "--port", "0", "--model", str(tmp_path), auth_token="t"), str(tmp_path), "modules.json"
    )


def test_a_broken_model_ends_it(tiny_gemma: Path, tmp_path: Path) -> None:
    for path in tiny_gemma.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(tiny_gemma)
            copy.parent.mkdir(exist_ok=True)
            content = path.read_bytes()
            copy.write_bytes(content[: len(content) // 2] if path.name == "model.safetensors" else content)

    assert_model_ends(run("--port", "0", "--model", str(tmp_path), auth_token="t"), str(tmp_path), "can't be loaded")


def test_a_port_in_use_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        assert_ends(run("--host", "127.0.0.1", "--port", port, "--demo"), port, "in use", "--port")


def test_a_bad_option_is_named() -> None:
    assert_ends(run("--port", "many"), "PORT", "integer")
    assert_ends(run(MAX_CLIENT_BATCH="0"), "MAX_CLIENT_BATCH")
    assert_ends(run("--demo", "--model", "x/y"), "--demo", "--model")


def test_a_flag_wins_over_its_variable() -> None:
    assert_ends(run("--model", "/from/flag", "--port", "0", MODEL_ID="/from/variable", auth_token="t"), "/from/flag")


def test_help_names_every_option() -> None:
    said = run("--help").stdout

    for word in ("--model", "--demo", "--host", "--port", "MODEL_REVISION", "MAX_BODY_BYTES", "auth_token", "HF_TOKEN"):
        assert word in said


def test_a_token_that_no_header_can_carry_is_refused() -> None:
    assert_ends(run("--port", "0", auth_token="\udcff\udcfe"), "auth_token")


def test_a_hub_token_with_stray_white_space_is_trimmed_and_a_broken_one_refused() -> None:
    assert Settings.read(hf_token=" hf_good\n").hub_token == "hf_good"
    with pytest.raises(SettingsError, match="HF_TOKEN"):
        _ = Settings.read(hf_token="hf go\nod").hub_token


def test_ctrl_c_ends_a_download_without_a_traceback(tiny_gemma: Path, tmp_path: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        hub.open.clear()
        options = {"MODEL_ID": MODEL, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        with running(tmp_path, "download", **options) as server:
            server.wait_for("downloading")
            server.process.send_signal(signal.SIGINT)
            server.process.wait(20)

        assert "Traceback" not in server.output


def test_the_demo_s_token_may_be_chosen(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", auth_token="my-own") as server:
        said = server.wait_for("curl")

        assert "$auth_token" in said
        assert "my-own" not in server.output
        assert httpx.post(f"{server.url}/predict", json={"query": "x"}, headers={"X-API-Key": "my-own"}).is_success
