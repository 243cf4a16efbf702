"""The HTTP server: uvicorn's, with a bound on connections and a drain that no client is cut off by."""

import asyncio
import contextlib
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from embedding.server.connection import Connection, Timeouts
from embedding.server.listener import Acceptor, raise_descriptor_limit
from embedding.settings import Settings

CHECK_SECONDS = 1.0
BODY_RATE = 16_000
NOTICE_SECONDS = 3.0
"""For load balancers to see that the app is not ready any more."""
LAST_WORDS_SECONDS = 2
"""For answers that are late even after the grace period, and for clients that are slow to read theirs."""


class HttpServer(uvicorn.Server):
    """Serves an app that `create_app` made on one listening socket.

    Told to stop, it goes on accepting while the app drains, then closes the port, and only then the app's lifespan
    ends. uvicorn by itself closes the port first, so that who comes in the meantime is refused without a word.
    """

    def __init__(self, app: FastAPI) -> None:
        settings: Settings = app.state.settings
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="critical",  # its logs may quote what a client sent, and have a line for each slip of one
                access_log=False,
                server_header=False,
                timeout_keep_alive=settings.keep_alive,
                timeout_graceful_shutdown=LAST_WORDS_SECONDS,
            )
        )
        self.notice = NOTICE_SECONDS
        self._app = app
        self._timeouts = Timeouts(settings.header_timeout, settings.body_timeout, BODY_RATE)
        self._max_connections = min(settings.max_connections, raise_descriptor_limit())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and accept connections on the one socket given."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        (listener,) = sockets or []
        self.servers = []  # uvicorn's own, of which there is none
        self._acceptor = Acceptor(listener, self._make_connection, self._make_room)
        self._checking = asyncio.create_task(self._check_connections())
        self._app.state.metrics.connections.set_function(lambda: len(self.server_state.connections))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, close the port and the connections, and end the app."""
        await self._app.state.drain.finish(self.notice)
        self._acceptor.close()
        self._checking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._checking
        await super().shutdown()

    def _make_connection(self) -> Connection:
        arguments: dict[str, Any] = {"config": self.config, "server_state": self.server_state}
        return Connection(self._timeouts, self._count_reject, app_state=self.lifespan.state, **arguments)

    def _count_reject(self, cause: str) -> None:
        self._app.state.metrics.rejects.labels(cause).inc()

    def _make_room(self, opening: int) -> bool:
        """Whether one connection more can be had, `opening` of which are on their way: if need be, in place of one
        whose client does nothing."""
        connections: set[Connection] = self.server_state.connections  # type: ignore[assignment]
        if len(connections) + opening < self._max_connections:
            return True
        found = [(worth, each.since, each) for each in connections if (worth := each.worth) is not None]
        if found:
            min(found, key=lambda of: of[:2])[2].drop()
        return bool(found)

    async def _check_connections(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                connection.check(now)  # type: ignore[union-attr]
