"""The port: opening it, and accepting no more connections than there are file descriptors for."""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable

from embedding.settings import SettingsError

logger = logging.getLogger(__name__)

BACKLOG = 2048
RESERVED_DESCRIPTORS = 64
"""For all that is no connection: models, logs, the event loop."""
ACCEPTS_A_TURN = 32
RETRY_SECONDS = 0.05
LOG_AGAIN_SECONDS = 600


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises SettingsError where it can't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
        # Connections inherit it. asyncio does not see that this is TCP, and without it a small answer waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise SettingsError(
            f"can't listen on {host} port {port}: {reason}. Choose another, for example --port {port + 1}, or another "
            "--host."
        ) from None


def raise_descriptor_limit() -> int:
    """Let this process open as many files as the system allows it; how many connections that leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS has a lower bound of its own
        logger.debug("the limit on open files stays as it is")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - RESERVED_DESCRIPTORS)


class Acceptor:
    """Accepts connections on `listener`, each into a protocol that `make_protocol` gives.

    asyncio's own server can't be used: without descriptors it logs a traceback two thousand times a second.
    Before each connection `make_room` is asked, with how many are being opened just now; where it says no, clients wait
    in the system's queue.
    """

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol], make_room: Callable[[int], bool]
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._make_room = make_room
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._logged_at = -float(LOG_AGAIN_SECONDS)
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more, and close the port."""
        if self._retry:
            self._retry.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if not self._make_room(len(self._opening)):
                self._pause()
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._log(error)
                self._pause()
                return
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # the client has left already
            connection.close()

    def _log(self, error: OSError) -> None:
        if self._loop.time() - self._logged_at >= LOG_AGAIN_SECONDS:
            self._logged_at = self._loop.time()
            logger.warning("no more connections can be accepted: %s; trying on", os.strerror(error.errno or 0))

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(RETRY_SECONDS, self._resume)

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listener, self._accept)
