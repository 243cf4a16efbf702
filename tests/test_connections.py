"""Whatever clients do to their connections, a well-behaved one is served."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from embedding.server.connection import CAUSES
from embedding.settings import Settings
from tests.cli import Running, running
from tests.live import TOKEN, live
from tests.raw import connect, connections, head, read_answer, read_to_end, request, wait_until_closed

HALF_A_HEAD = b"POST /predict HTTP/1.1\r\nHost: half"
QUERY = {"query": "lattice"}


@pytest.fixture(scope="module")
def patient(prepared_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with room for 256 files, no fewer seconds than a test takes, and no token shared with other tests."""

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    options = {"auth_token": TOKEN, "HEADER_TIMEOUT": "600", "BODY_TIMEOUT": "600", "HOST": "127.0.0.1"}
    folder = tmp_path_factory.mktemp("patient")
    with running(folder, "--model", str(prepared_gemma), preexec=few_files, **options) as server:
        server.wait_for("Ready")
        yield server


@pytest.fixture(scope="module")
def strict(prepared_gemma: Path) -> Iterator[httpx.Client]:
    """A server that gives a client a second for everything."""
    with live(model_id=str(prepared_gemma), header_timeout=1, body_timeout=1, keep_alive=1) as client:
        yield client


def ask(url: str) -> int:
    answer = httpx.post(f"{url}/predict", json=QUERY, headers={"X-API-Key": TOKEN}, timeout=60)
    return answer.status_code


@pytest.mark.parametrize(
    "first",
    [b"", HALF_A_HEAD, head(Content_Length=1000), head(Content_Length=1000, X_API_Key="")],
    ids=["nothing", "half a head", "half a body", "half a body without a token"],
)
def test_a_flood_of_half_sent_requests_keeps_nobody_out(patient: Running, first: bytes) -> None:
    with connections(patient.url, 300, first):
        assert [ask(patient.url) for _ in range(5)] == [200] * 5
        assert patient.health().status_code == 200

    assert len(patient.output.splitlines()) < 1000


def test_running_out_of_descriptors_is_logged_once_and_got_over(patient: Running) -> None:
    pid, limits = patient.process.pid, (256, 256)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (_open_files(pid) + 10, 256))
    try:
        with connections(patient.url, 60, HALF_A_HEAD):
            patient.wait_for("no more connections can be accepted: Too many open files")
            time.sleep(1)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

    assert ask(patient.url) == 200
    assert patient.output.count("no more connections") == 1


def test_the_limit_on_files_is_raised_as_far_as_it_goes(prepared_gemma: Path, tmp_path: Path) -> None:
    def few_at_first() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, min(hard, 1000)))

    with running(tmp_path, "--model", str(prepared_gemma), preexec=few_at_first, auth_token=TOKEN) as server:
        server.wait_for("Ready")

        assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] > 100


def test_a_head_that_does_not_come_is_answered_408(strict: httpx.Client) -> None:
    with connect(strict.base_url) as connection:
        connection.sendall(HALF_A_HEAD)

        status, headers, body = read_answer(connection)

        assert (status, headers["connection"]) == (408, "close")
        assert b"head" in body
        assert read_to_end(connection) == b""


def test_a_body_that_does_not_come_is_answered_408(strict: httpx.Client) -> None:
    with connect(strict.base_url) as connection:
        connection.sendall(head(Content_Length=1000) + b'{"query": ')

        status, headers, body = read_answer(connection)

        assert (status, headers["connection"]) == (408, "close")
        assert b"body" in body


def test_bytes_that_come_one_by_one_do_not_hold_a_connection_open(strict: httpx.Client) -> None:
    for start in (b"POST /predict HTTP/1.1\r\nX: ", head(Content_Length=100_000)):
        with connect(strict.base_url) as connection:
            connection.sendall(start)
            deadline = time.monotonic() + 60
            while not _has_something(connection):
                connection.sendall(b"x")
                time.sleep(0.05)
                assert time.monotonic() < deadline

            assert read_answer(connection)[0] == 408


def test_blank_lines_do_not_hold_an_idle_connection_open(strict: httpx.Client) -> None:
    with connect(strict.base_url) as connection:
        connection.sendall(request())
        assert read_answer(connection)[0] == 200
        connection.sendall(b"\r\n")

        assert read_to_end(connection) == b""


def test_a_connection_that_says_nothing_is_closed(strict: httpx.Client) -> None:
    with connect(strict.base_url) as connection:
        assert read_to_end(connection) == b""


def test_an_idle_connection_is_closed_after_the_time_that_is_set(strict: httpx.Client) -> None:
    with connect(strict.base_url) as connection:
        connection.sendall(request())
        assert read_answer(connection)[0] == 200

        assert read_to_end(connection) == b""
    assert Settings.read().keep_alive == 75


def test_who_does_not_read_the_answers_loses_the_connection(strict: httpx.Client) -> None:
    many = request(b'{"query": [' + b",".join(b'"%d"' % i for i in range(128)) + b"]}")
    with connect(strict.base_url) as connection:
        connection.setblocking(False)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                connection.send(many)
            except BlockingIOError:
                time.sleep(0.1)
            except ConnectionError:
                break
        assert time.monotonic() < deadline

    assert strict.post("/predict", json=QUERY).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 this is TLS \r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 50_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 1_000, 431),
        (b"GET /" + b"x" * 300_000 + b" HTTP/1.1\r\n\r\n", 431),
        (head(Transfer_Encoding="chunked") + b"1\r\n \r\n" * 10_000, 400),
    ],
    ids=["TLS", "no path", "two lengths", "long header", "many headers", "tiny headers", "long path", "tiny chunks"],
)
def test_what_is_no_decent_request_is_refused(patient: Running, sent: bytes, status: int) -> None:
    before = patient.output.count("WARNING")
    with connect(patient.url) as connection:
        connection.sendall(sent)

        assert read_answer(connection)[0] == status
    assert patient.output.count("WARNING") == before
    assert patient.health().status_code == 200
    metrics = httpx.get(f"{patient.url}/metrics", headers={"X-API-Key": TOKEN}).text
    assert f'embedding_rejects_total{{cause="{CAUSES[status]}"}}' in metrics


def test_a_hundred_requests_at_once_are_answered_and_thousands_are_not_kept(patient: Running) -> None:
    with connect(patient.url) as connection:
        connection.sendall(b"GET /status HTTP/1.1\r\n\r\n" * 99 + head("/status", "GET", Connection="close"))

        assert read_to_end(connection).count(b"HTTP/1.1 200") == 100

    with connect(patient.url) as connection:
        connection.sendall(b"GET /status HTTP/1.1\r\n\r\n" * 5000)
        wait_until_closed([connection], 1)


def test_the_one_that_is_idle_longest_makes_room(prepared_gemma: Path) -> None:
    with live(model_id=str(prepared_gemma), max_connections=3) as client:
        idle = []
        for _ in range(3):
            idle.append(connect(client.base_url))
            idle[-1].sendall(request())
            assert read_answer(idle[-1])[0] == 200
        with connect(client.base_url) as one_more:
            one_more.sendall(request())

            assert read_answer(one_more)[0] == 200
            wait_until_closed(idle, 1)
        for connection in idle:
            connection.close()


def test_who_does_not_read_makes_room(prepared_gemma: Path) -> None:
    many = head("/docs/swagger-ui-bundle.js", "GET", X_API_Key="") * 16
    with live(model_id=str(prepared_gemma), max_connections=3, body_timeout=600) as client, ExitStack() as open_ones:
        for _ in range(3):
            deaf = open_ones.enter_context(connect(client.base_url))
            deaf.sendall(many)
            assert deaf.recv(1) == b"H"  # the first of its answers is on its way
        with connect(client.base_url) as one_more:
            one_more.sendall(request())

            assert read_answer(one_more)[0] == 200


def test_a_body_in_many_chunks_is_read(patient: Running) -> None:
    chunks = [b"64\r\n" + part.ljust(100) + b"\r\n" for part in (b'{"query": "lattice"', *[b""] * 5_000, b"}")]
    with connect(patient.url) as connection:
        connection.sendall(head(Transfer_Encoding="chunked") + b"".join(chunks) + b"0\r\n\r\n")

        assert read_answer(connection)[0] == 200


def test_an_answer_is_read_by_who_is_still_sending(patient: Running) -> None:
    body = b'{"query": "' + b"x" * 20_000_000 + b'"}'
    for headers in ({"X_API_Key": "wrong"}, {}):
        with connect(patient.url) as connection:
            connection.sendall(request(body, Connection="close", **headers))

            assert read_answer(connection)[0] == (401 if headers else 413)


def test_who_asks_before_sending_a_body_is_told(patient: Running) -> None:
    for size, allowed in ((100, True), (10_000_000, False)):
        body = b'{"query": "lattice"' + b" " * (size - 20) + b"}"
        with connect(patient.url) as connection:
            connection.sendall(head(Content_Length=size, Expect="100-continue"))
            status, headers, _ = read_answer(connection)
            if allowed:
                connection.sendall(body)
                answered = read_answer(connection)

                assert (status, answered[0], "connection" in answered[1]) == (100, 200, False)
            else:
                assert (status, headers["connection"]) == (413, "close")


def test_an_offer_of_http_2_is_declined(patient: Running) -> None:
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    with connect(patient.url) as connection:
        for _ in range(2):
            connection.sendall(request(**offer))

            assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, head(Content_Length=100) + b"{", request()])
def test_a_client_that_leaves_disturbs_nobody(patient: Running, sent: bytes) -> None:
    for _ in range(20):
        with connect(patient.url) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset
            connection.sendall(sent)

    assert ask(patient.url) == 200
    assert "Traceback" not in patient.output
    assert " ERROR " not in patient.output


def _open_files(pid: int) -> int:
    """Once those of the connections before are closed."""
    deadline = time.monotonic() + 60
    while (count := len(list(Path(f"/proc/{pid}/fd").iterdir()))) > 60:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return count


def _has_something(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(60)
