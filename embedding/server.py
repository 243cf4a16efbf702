"""The local home: the app under uvicorn, its port, its signals and its exit status."""

import asyncio
import os
import signal
import socket
import sys

import uvicorn

from embedding.api import create_app
from embedding.demo import demo_settings
from embedding.settings import Settings, SettingsError

DRAIN_SECONDS = 30


def serve(settings: Settings) -> int:
    """Serve until a signal says stop; the exit status.

    The port is open at once, and the model loads behind it. Where it can't be loaded, the server stops again.

    Raises SettingsError and ModelUnavailable.
    """
    made_token = settings.demo and not settings.auth_token.get_secret_value()
    if settings.demo:
        settings = demo_settings(settings)
    app = create_app(settings)
    listener = _listen(settings.host, settings.port)
    url = f"http://{_reachable(settings.host)}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=DRAIN_SECONDS
    )
    # uvicorn raises the signal that stopped it again once it is down; to be told to stop is no failure here.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda *_: None)
    _say(f"Loading {settings.model_id} … {url}/health says when it is ready.")
    service = app.state.service

    async def run() -> None:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        loading = asyncio.wrap_future(service.engine)
        await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and loading.exception() is not None:
            server.should_exit = True
        elif loading.done():
            _say(_invitation(url, settings.tokens[0] if made_token else "$auth_token", loading.result().description))
        await serving

    asyncio.run(run())
    if not service.engine.done():
        # A load under way can't be interrupted, and the interpreter's own exit could crash under its feet.
        sys.stdout.flush()
        os._exit(0)
    service.engine.result()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"can't listen on {host} port {port}: {error}. Choose with --host and --port.") from None


def _reachable(host: str) -> str:
    """The name under which this machine reaches a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1" if host != "::" else "[::1]"
    return f"[{host}]" if ":" in host else host


def _invitation(url: str, token: str, description: str) -> str:
    made = "" if token.startswith("$") else f"\n  token    {token}"
    return f"""
Ready: {description}
  address  {url}{made}
  try it   curl {url}/predict -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \
-d '{{"query": "What is machine learning?"}}'
"""


def _say(text: str) -> None:
    print(text, flush=True)
