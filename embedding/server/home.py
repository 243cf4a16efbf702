"""`python -m embedding serve`: the app on a port of this machine, its signals and its exit status."""

import asyncio
import os
import signal
import sys
from types import FrameType

from fastapi import FastAPI

from embedding.api import create_app
from embedding.demo import demo_settings
from embedding.server.http import HttpServer
from embedding.server.listener import listen
from embedding.settings import Settings

INTERRUPT_NOTICE_SECONDS = 0.5


class _Server(HttpServer):
    """Says that it stops, and how to make it stop at once."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app)
        self._drain = app.state.drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(1)  # told twice: not even the requests under way
        _say("Stopping, once the requests under way are answered. Again to stop at once.")
        self._drain.begin()
        if sig == signal.SIGINT:  # by hand, so no load balancer has to notice, but clients in the middle of it
            self.notice = INTERRUPT_NOTICE_SECONDS
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> int:
    """Serve until a signal says stop; the exit status.

    The port is open at once, and the model loads behind it. Where it can't be loaded, the server stops again.

    Raises SettingsError and ModelUnavailable.
    """
    made_token = settings.demo and not settings.tokens
    settings = demo_settings(settings)
    app = create_app(settings)
    listener = listen(settings.host, settings.port)
    url = f"http://{_reachable(settings.host)}:{listener.getsockname()[1]}"
    # uvicorn raises the signal that stopped it again once it is down; to be told to stop is no failure here.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)
    _say(f"Loading {'the demo model' if settings.demo else settings.model_id} … {url}/health says when it is ready.")
    service = app.state.service

    async def run() -> None:
        server = _Server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.wrap_future(service.engine)
        await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.exception() is not None:
            server.notice = 0.0
            server.should_exit = True
        elif loading.done():
            _say(_invitation(url, settings.tokens[0] if made_token else None, str(loading.result().info)))
        await serving

    asyncio.run(run())
    if not service.engine.done():
        # A load under way can't be interrupted, and the interpreter's own exit could crash under its feet.
        sys.stdout.flush()
        os._exit(0)
    service.engine.result()
    return 0


def _reachable(host: str) -> str:
    """The name under which this machine reaches a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _invitation(url: str, made_token: str | None, description: str) -> str:
    # A browser sends no fragment to the server, so the token gets into no log; the page takes it from there.
    page = f"\n  open     {url}/#token={made_token}" if made_token else ""
    made = f"\n  token    {made_token}" if made_token else ""
    use = f"\n  use it   export EMBEDDING_URL={url} auth_token={made_token}" if made_token else ""
    token = made_token or "$auth_token"
    return f"""
Ready: {description}
  address  {url}{page}{made}
  try it   curl {url}/predict -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \
-d '{{"query": "What is machine learning?"}}'{use}
"""


def _say(text: str) -> None:
    print(text, flush=True)
