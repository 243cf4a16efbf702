"""Told to stop, the service fails no request and resets no connection."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.cli import Running, running
from tests.live import TOKEN
from tests.raw import connect, read_answer, read_to_end, request

BODY = b'{"query": "lattice"}'


def until_told_to_close(url: str) -> list[int]:
    """Ask over one connection as long as the server keeps it open; the statuses."""
    statuses = []
    with connect(url) as connection:
        while True:
            connection.sendall(request())
            status, headers, _ = read_answer(connection)
            statuses.append(status)
            if headers.get("connection") == "close":
                assert status == 200 or int(headers["retry-after"]) > 0
                assert read_to_end(connection) == b""
                return statuses


def test_a_signal_amid_traffic_fails_no_request_and_resets_no_connection(prepared_gemma: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = []
        for number in range(5):
            (tmp_path / str(number)).mkdir()
            server = running(tmp_path / str(number), "--model", str(prepared_gemma), auth_token=TOKEN, THREADS="1")
            servers.append(stack.enter_context(server))
        for server in servers:
            server.wait_for("Ready")
        clients = stack.enter_context(ThreadPoolExecutor(40))
        asked = [clients.submit(until_told_to_close, server.url) for server in servers for _ in range(8)]
        time.sleep(0.5)
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
        answers = [future.result() for future in asked]
        ends = [server.process.wait(60) for server in servers]

    assert ends == [0] * 5
    assert all(set(statuses[:-1]) <= {200} for statuses in answers)
    assert all(statuses[-1] in (200, 503) for statuses in answers)


@pytest.fixture
def stopping(prepared_gemma: Path, tmp_path: Path):
    """A server, and what tells it to stop once a request of it is half sent."""
    with running(tmp_path, "--model", str(prepared_gemma), auth_token=TOKEN) as server:
        server.wait_for("Ready")
        yield server


def begin_request(server: Running):
    """A connection with a request under way, of which the last byte of its body is missing."""
    connection = connect(server.url)
    connection.sendall(request(BODY)[:-1])
    deadline = time.monotonic() + 60
    while "embedding_requests_in_progress 2.0" not in _metrics(server):
        assert time.monotonic() < deadline
    return connection


def _metrics(server: Running) -> str:
    return httpx.get(f"{server.url}/metrics", headers={"X-API-Key": TOKEN}, timeout=60).text


def test_while_a_request_is_under_way_the_others_are_told_to_go_elsewhere(stopping: Running) -> None:
    with begin_request(stopping) as under_way:
        stopping.process.send_signal(signal.SIGTERM)
        probes = {path: httpx.get(stopping.url + path) for path in ("/health", "/readyz", "/livez")}
        late = httpx.post(f"{stopping.url}/predict", json={"query": "x"}, headers={"X-API-Key": TOKEN})
        time.sleep(4)  # beyond the notice that load balancers have
        later = httpx.post(f"{stopping.url}/predict", json={"query": "x"}, headers={"X-API-Key": TOKEN})
        under_way.sendall(BODY[-1:])
        status, headers, _ = read_answer(under_way)

    assert {path: answer.status_code for path, answer in probes.items()} == {
        "/health": 503,
        "/readyz": 503,
        "/livez": 200,
    }
    for answer in (late, later):
        assert answer.status_code == 503
        assert answer.headers["Connection"] == "close"
        assert int(answer.headers["Retry-After"]) > 0
        assert "stopping" in answer.json()["detail"]
    assert (status, headers["connection"]) == (200, "close")
    assert stopping.process.wait(60) == 0


def test_the_grace_period_ends(prepared_gemma: Path, tmp_path: Path) -> None:
    options = {"auth_token": TOKEN, "GRACE_PERIOD": "1", "BODY_TIMEOUT": "600"}
    with running(tmp_path, "--model", str(prepared_gemma), **options) as server:
        server.wait_for("Ready")
        with begin_request(server) as under_way:
            server.process.send_signal(signal.SIGTERM)
            status, headers, _ = read_answer(under_way)

            assert server.process.wait(60) == 0

    assert (status, headers["connection"]) == (503, "close")


def test_a_second_signal_ends_it_at_once(stopping: Running) -> None:
    with begin_request(stopping):
        stopping.process.send_signal(signal.SIGTERM)
        stopping.wait_for("Stopping")
        stopping.process.send_signal(signal.SIGTERM)

        assert stopping.process.wait(20) == 1
