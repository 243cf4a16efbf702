"""HTTP by hand, for what no client library does: halves of requests, floods, and connections cut off."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx

from tests.live import TOKEN


def connect(url: httpx.URL | str) -> socket.socket:
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=60)


@contextmanager
def connections(url: httpx.URL | str, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open so many, each having sent `first`; the server may have closed some."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(connect(url)))
            opened[-1].sendall(first)
        yield opened


def head(path: str = "/predict", method: str = "POST", **headers: object) -> bytes:
    """A request's head with the token; an underscore in a header's name stands for a hyphen."""
    fields = {"Host": "test", "X-API-Key": TOKEN, "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode()


def request(body: bytes = b'{"query": "lattice"}', path: str = "/predict", **headers: object) -> bytes:
    """A whole request."""
    return head(path, Content_Length=len(body), **headers) + body


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by their names in lower case, and body of the next answer. Raises ConnectionError."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError(f"closed after {received!r}")
        received += part
    top, _, body = received.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("closed in the middle of a body")
        body += part
    return int(first.split()[1]), headers, body


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    while part := connection.recv(65536):
        received += part
    return received


def wait_until_closed(connections: list[socket.socket], count: int, seconds: float = 60) -> None:
    """Wait until at least `count` of them were closed by the server."""
    deadline = time.monotonic() + seconds
    while sum(is_closed(connection) for connection in connections) < count:
        assert time.monotonic() < deadline, "too few were closed"
        time.sleep(0.05)


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(65536, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connection.setblocking(True)
