"""A service that answers as it is told to, on a real socket: what a healthy one can't be made to do on demand."""

import asyncio
import inspect
import io
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import numpy as np

from embedding.client import AsyncEmbeddingClient, EmbeddingClient
from tests.live import TOKEN as LIVE_TOKEN

TOKEN = "the-secret-token"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""


Act = Callable[["FakeService", Request], Reply | None]


class FakeService:
    """Answers each text, which must be a number, with the vector [number, 1].

    `script` holds what happens to the next requests of a path, in the place of that.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.script: dict[str, deque[Reply | Act]] = defaultdict(deque)
        self.model_headers: dict[str, str] = {}
        self.npy = True
        self.in_flight = self.most_in_flight = 0
        self.seconds = 0.0
        self.info: dict[str, Any] = {
            "model_id": "org/model", "model_sha": "abc", "dimension": 2, "max_client_batch_size": 4,
        }  # fmt: skip

    def next(self, *replies: Reply | Act, path: str = "/predict") -> None:
        self.script[path].extend(replies)

    def sent_to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def answer(self, request: Request) -> Reply | None:
        self.requests.append(request)
        if script := self.script[request.path]:
            reply = script.popleft()
            return reply if isinstance(reply, Reply) else reply(self, request)
        if request.path == "/info":
            return Reply(body=self.info)
        return self.predict(request)

    def predict(self, request: Request) -> Reply:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        time.sleep(self.seconds)
        self.in_flight -= 1
        vectors = [[float(text), 1.0] for text in request.body["query"]]
        if not self.npy:
            return Reply(headers=self.model_headers, body=vectors)
        file = io.BytesIO()
        np.save(file, np.array(vectors, np.float32))
        return Reply(headers={"Content-Type": "application/x-npy", **self.model_headers}, body=file.getvalue())


def reset(service: FakeService, request: Request) -> None:
    """What a killed server does to a connection."""


def drip(service: FakeService, request: Request) -> Reply:
    """A byte now and then, which no read timeout notices."""
    return Reply(headers={"X-Drip": "1"}, body=b"x" * 1000)


@contextmanager
def fake_service() -> Iterator[FakeService]:
    service = FakeService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one(self) -> None:
            length = int(self.headers.get("content-length", 0))
            content = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(content) if content else None
            reply = service.answer(Request(self.command, self.path, headers, body))
            if reply is None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            sent = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response_only(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            step = 1 if "X-Drip" in reply.headers else len(sent)
            for start in range(0, len(sent), max(step, 1)):
                self.wfile.write(sent[start : start + step])
                if step == 1:
                    time.sleep(0.05)

        do_GET = do_POST = handle_one

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that went away

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


class Blocking:
    """The asynchronous client, called as the other is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncEmbeddingClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return (lambda *a, **k: self._runner.run(method(*a, **k))) if inspect.iscoroutinefunction(method) else method

    def __enter__(self) -> "Blocking":
        return self

    def __exit__(self, *_: object) -> None:
        self.aclose()
        self._runner.close()


Connect = Callable[..., Any]


def live_client(server: httpx.Client, **options: Any) -> EmbeddingClient:
    """A client of the server that `server` knows."""
    return EmbeddingClient(str(server.base_url), LIVE_TOKEN, **options)
