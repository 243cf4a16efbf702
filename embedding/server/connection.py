"""One client's connection: uvicorn's, with a bound on everything that a client can send too much of or too slowly."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD_BYTES = 65_536
# What a header costs in memory and time beside its bytes: so many tiny ones are a large head.
HEADER_COST = 512
MAX_PIPELINED = 128
MAX_UNREAD_BYTES = 64_000_000
"""Of a body that nobody reads, since its request is answered already."""
LINGER_SECONDS = 5.0
FREE_CHUNKS = 1_000
CHUNK_BYTES = 64
"""Beyond FREE_CHUNKS, what a chunk of a body must hold on average: a tiny one costs as much time as a large one."""

FRAMING = (b"content-length", b"transfer-encoding")
REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
CAUSES = {400: "not_http", 408: "too_slow", 431: "head_too_large"}
"""For the metric of requests that never reach the app."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The time that a client has, in seconds."""

    header_timeout: float
    body_timeout: float
    body_rate: int
    """Bytes, received or sent, for which a client has a second more: a large body may take longer."""


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEAD = "the rest of a request's head"
    BODY = "the rest of a request's body"
    ANSWER = "the app"
    CLOSING = "the client to read its last answer"


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, which by itself has no time limit but keep-alive's, and no bound on a head.

    `check` closes the connection if its client is too slow. The server calls it once a second, so that a request pays
    for no timer. `rejected` is told the cause, one of CAUSES, of each request that never reaches the app.
    """

    def __init__(self, timeouts: Timeouts, rejected: Callable[[str], None], **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self.phase = Phase.IDLE
        self.since = self.loop.time()
        self._timeouts = timeouts
        self._rejected = rejected
        self._received = 0
        self._requests = 0
        self._chunks = 0
        self._declining = False
        self._would_keep_alive = False
        self._running: RequestResponseCycle | None = None
        self._unsent: tuple[float, int] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.CLOSING:
            self._drop(len(data))
            return
        begun = self._requests
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except HttpParserError:
            self.send_400_response("")
        if self.phase is Phase.HEAD and self._requests == begun:  # a line that goes on, which the parser keeps
            self._received += len(data)
            if self._received > MAX_HEAD_BYTES:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        if self._declining:
            return
        super().on_message_begin()
        self._requests += 1
        self._chunks = 0
        self._enter(Phase.HEAD)

    def on_url(self, url: bytes) -> None:
        if self._declining:
            return
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is not Phase.HEAD:
            return  # a trailer, which nobody reads
        self._count_head(len(name) + len(value) + HEADER_COST)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._declining:
            self._declining = False
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self._enter(Phase.BODY)
        if self.expect_100_continue:
            # Answered before it is told to continue, a client may send the body or the next request: none can tell.
            self._would_keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > FREE_CHUNKS and self._received < CHUNK_BYTES * self._chunks:
            raise ValueError("too many tiny chunks")  # the parser gives up

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self.expect_100_continue and not self.cycle.response_started:
            self.cycle.keep_alive = self._would_keep_alive
        if self.cycle.response_complete and self._received > MAX_UNREAD_BYTES:
            self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # says the parser; the body is still to come
        super().on_message_complete()
        self._enter(Phase.IDLE if self.cycle.response_complete else Phase.ANSWER)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self.phase is Phase.ANSWER and not self.pipeline:
            self._enter(Phase.IDLE)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or a head beyond MAX_HEAD_BYTES. uvicorn calls it where the parser gives up."""
        if self.phase is Phase.HEAD and self._received > MAX_HEAD_BYTES:
            self._refuse(
                431, f"The head of a request may have {MAX_HEAD_BYTES} bytes; each header counts {HEADER_COST} more."
            )
        else:
            self._refuse(400, "This is not a valid HTTP request.")

    def shutdown(self) -> None:
        """Close now if no request is under way, else when it is answered. uvicorn calls it at the end."""
        if self.is_answered:
            self.drop()
        else:
            super().shutdown()

    def drop(self) -> None:
        """Close at once, and forget what the client has sent so far."""
        self._enter(Phase.IDLE)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def is_answered(self) -> bool:
        """Whether no request is under way, but perhaps half of one."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def is_closing(self) -> bool:
        """Whether nothing more can come of it."""
        return self.transport.is_closing() and self.phase is not Phase.CLOSING

    @property
    def worth(self) -> int | None:
        """Those of the least worth are closed where there are too many connections; None: it has to stay."""
        if self.is_closing or (self.phase is Phase.HEAD and not self.is_answered):
            return None
        if self.phase is Phase.ANSWER:
            return 1 if self._unsent else None  # a client that does not read its answer, or one that waits for it
        if self.phase is Phase.BODY and not self.is_answered:
            return 2
        return 1 if self.phase is Phase.CLOSING or (self.phase is Phase.IDLE and self.cycle) else 0

    def check(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        self._check_reading(now)
        waited = now - self.since
        in_time = waited <= self._timeouts.header_timeout
        if self.phase is Phase.CLOSING:
            if waited > LINGER_SECONDS:
                self.transport.abort()
        elif self.phase is Phase.IDLE:
            # uvicorn's own timer ends with any byte that comes, as a blank line that begins no request.
            if waited > (self.timeout_keep_alive if self.cycle else self._timeouts.header_timeout):
                self.drop()
        elif self.phase is Phase.HEAD:
            if self.is_answered and not in_time:
                self._refuse(408, "The head of the request did not come in time.")
        elif self.phase is Phase.BODY and not self.flow.read_paused:  # by the server, which then is the slow one
            extension = 0 if self.is_answered else self._received / self._timeouts.body_rate
            if waited > self._timeouts.body_timeout + extension:
                self._refuse(408, "The body of the request did not come in time.")

    def _decline(self, rest: bytes) -> None:
        """Read on after an `Upgrade` as if it had not been there: HTTP/2 is offered by clients that do well without.

        The parser stops at the end of such a head. Another one is told how long the body is, and gets the rest.
        """
        framing = [b"%s: %s\r\n" % field for field in self.headers if field[0] in FRAMING]
        self.parser = HttpRequestParser(self)
        self._declining = True
        self.data_received(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n" + rest)

    def _check_reading(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if not unsent:
            self._unsent = None
        elif self._unsent is None:
            self._unsent = (now, unsent)
        elif now - self._unsent[0] > self._timeouts.body_timeout + self._unsent[1] / self._timeouts.body_rate:
            self.transport.abort()

    def _refuse(self, status: int, reason: str) -> None:
        """Close the connection; where no other answer is due or on its way, with `status`."""
        self._rejected(CAUSES[status])
        running = None if self.is_answered else self._running
        if running is None or (running is self.cycle and self.phase is Phase.BODY and not running.response_started):
            body = f'{{"detail":"{reason}"}}'
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
            self.transport.close()
        else:
            self.transport.abort()
        self.pipeline.clear()
        if running:
            running.disconnected = True  # which the app is told, and what it answers is dropped
            running.message_event.set()

    def _count_head(self, size: int) -> None:
        self._received += size
        if self._received > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # the parser gives up

    def _drop(self, size: int) -> None:
        self._received += size
        if self._received > MAX_UNREAD_BYTES:
            self.transport.abort()

    def _enter(self, phase: Phase) -> None:
        self.phase, self.since, self._received = phase, self.loop.time(), 0

    def linger(self) -> None:
        """Drop what the client still sends, until it closes the connection or LINGER_SECONDS are over."""
        self._enter(Phase.CLOSING)
        self.flow.resume_reading()


class _Lingering:
    """A transport that lets a client which is still sending read its answer first.

    Closed with something unread, a connection is reset, and the client never sees what it was answered.
    """

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._connection.phase is Phase.CLOSING or self._transport.is_closing()

    def close(self) -> None:
        if self._connection.phase not in (Phase.HEAD, Phase.BODY) or self._transport.is_closing():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._connection.linger()
