"""The real server on a real socket, in a thread of the test's process so that torch is imported once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from embedding.api import create_app
from embedding.server.http import HttpServer
from embedding.server.listener import listen
from embedding.settings import Settings
from embedding.telemetry.tracing import Tracer

TOKEN = "a-token-for-tests"


@contextmanager
def live(tracer: Tracer | None = None, **options: Any) -> Iterator[httpx.Client]:
    """Serve with `options` over the defaults; once the model is loaded, yields a client that has the token."""
    settings = Settings.read(**{"auth_token": TOKEN, **options})
    listener = listen("127.0.0.1", 0)
    server = HttpServer(create_app(settings, tracer=tracer))
    server.notice = 0.0  # no load balancer looks at it
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            _wait_until_ready(client)
            yield client
    finally:
        server.should_exit = True
        thread.join()


def _wait_until_ready(client: httpx.Client, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while client.get("/health").status_code != 200:
        assert time.monotonic() < deadline, "the model did not load in time"
        time.sleep(0.05)
