"""One request until it is answered: retries, pauses, redirects and deadlines, without any I/O.

`ask` is a generator, so that it is written once for both clients: it yields what is to be done, a request or a pause,
and is sent what came of it.
"""

import logging
import random
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeAlias, TypeVar

import httpx

from embedding.client.errors import (
    AnswerError,
    ColdStartTimeout,
    ConnectionFailed,
    DeadlineExceeded,
    Overloaded,
    ServiceUnavailable,
    Unavailable,
    translate,
)

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 170.0  # Modal answers or redirects within 150
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
LONGEST_RETRY_AFTER = 120.0  # a longer one is for the caller to wait
MAX_REDIRECTS = 20  # of 150 s on Modal

T = TypeVar("T")


class Deadline:
    """A moment, and the error of a call that is not done by then."""

    def __init__(self, seconds: float | None, kind: type[Unavailable], message: str) -> None:
        self._end = float("inf") if seconds is None else time.monotonic() + seconds
        self._kind, self._message = kind, message

    @property
    def left(self) -> float:
        """Seconds until then; infinite where there is no deadline."""
        return self._end - time.monotonic()

    def sooner(self, seconds: float, kind: type[Unavailable], message: str) -> "Deadline":
        """One in `seconds`, or this one where it comes first."""
        return Deadline(seconds, kind, message) if seconds < self.left else self

    def error(self, retry_after: float | None = None) -> Unavailable:
        return self._kind(self._message, retry_after)

    def check(self) -> None:
        if self.left <= 0:
            raise self.error()


@dataclass(frozen=True, slots=True)
class Send:
    """To do: send this, and read the answer while `deadline` allows."""

    request: httpx.Request
    deadline: Deadline


@dataclass(frozen=True, slots=True)
class Pause:
    """To do: wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: httpx.Headers
    content: bytes


Steps: TypeAlias = Generator[Send | Pause, Answer | Exception | None, T]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client goes on asking.

    `timeout` is for a whole call, with all its requests; `cold_start` for a service that is not up, and `retries` for
    each request whatever else keeps it from being answered.
    """

    timeout: float | None
    cold_start: float
    retries: int

    def deadline(self) -> Deadline:
        return Deadline(self.timeout, DeadlineExceeded, f"The call was not done within timeout={self.timeout} s.")

    def start(self, deadline: Deadline) -> Deadline:
        message = f"The service was not ready within cold_start={self.cold_start} s. Try later, or allow it more."
        return deadline.sooner(self.cold_start, ColdStartTimeout, message)


def ask(request: httpx.Request, patience: Patience, deadline: Deadline) -> Steps[Answer]:
    """The answer to `request`, whatever its status, unless that one is worth another try and none is left.

    Tried again are 429, 502, 503, 504 and lost connections, so `request` must be one that may arrive twice. A read
    timeout is not: the service may still be computing, and would then compute everything again.
    """
    current, tries, failures, redirects, start = request, 0, 0, 0, None
    while True:
        deadline.check()
        reply = yield Send(_timed(current, deadline.left), deadline)
        if isinstance(reply, Answer):
            if reply.status == 303:
                redirects += 1
                current = _follow(request, current, reply, redirects)
                continue
            if (fault := _fault(reply)) is None:
                return reply
            current = request  # the result under a redirect stays as it is, however often it is fetched
        else:
            assert reply is not None
            deadline.check()  # it may be what ended the request
            error = translate(reply)
            if not isinstance(error, ConnectionFailed):
                raise error from reply
            fault = error
        tries += 1
        pause = _pause(tries, fault.retry_after)
        if isinstance(reply, Answer) and reply.status in (502, 503):
            start = start or patience.start(deadline)
            if pause > start.left:
                raise start.error(fault.retry_after) from fault
        else:
            failures += 1
            if failures > patience.retries or (fault.retry_after or 0) > LONGEST_RETRY_AFTER:
                raise fault
        if pause > deadline.left:
            raise deadline.error(fault.retry_after) from fault
        logger.debug("%s Again in %.2f s.", fault, pause)
        yield Pause(pause)


def _timed(request: httpx.Request, left: float) -> httpx.Request:
    left = max(left, 0.001)
    limits = httpx.Timeout(min(READ_SECONDS, left), connect=min(CONNECT_SECONDS, left))
    request.extensions = {**request.extensions, "timeout": limits.as_dict()}
    return request


def _fault(answer: Answer) -> Unavailable | None:
    """Why this answer is worth another try, if it is."""
    after = retry_after(answer.headers)
    match answer.status:
        case 429:
            return Overloaded("The service has all it can take (429). Send less at once, or try again later.", after)
        case 502 | 503:
            return ServiceUnavailable(f"The service is not up ({answer.status}). Try again later.", after)
        case 504:
            return ServiceUnavailable("The service took longer than it allows (504). Send less at once.", after)
    return None


def retry_after(headers: httpx.Headers) -> float | None:
    """The seconds that `Retry-After` asks to wait, given as such or as a date; None where it can't be read."""
    given = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d*)?", given, re.ASCII):
        return float(given)
    try:
        then = parsedate_to_datetime(given).timestamp()
    except (ValueError, OverflowError):
        return None
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()  # by the clock that wrote the other
    except (ValueError, OverflowError):
        now = time.time()
    return max(0.0, then - now)


def _pause(tries: int, after: float | None) -> float:
    """Twice as long each time, and at random, so that many clients do not come back at once; never before `after`."""
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 16))
    return (after or 0.0) + backoff * random.uniform(0.5, 1)


def _follow(first: httpx.Request, current: httpx.Request, answer: Answer, redirects: int) -> httpx.Request:
    """The request for a slow answer, which Modal announces by 303; the tokens go to no other host.

    Raises Unavailable, and AnswerError where the Location can't be used.
    """
    if redirects > MAX_REDIRECTS:
        raise ServiceUnavailable(f"The service was not done after {MAX_REDIRECTS} redirects (303). Send less at once.")
    try:
        url = current.url.join(answer.headers.get("location", ""))
    except (httpx.InvalidURL, UnicodeError):
        url = httpx.URL()
    if not answer.headers.get("location") or not is_web(url):
        raise AnswerError("The service redirects (303) to no valid address.")
    kept = ("accept", "user-agent", *(("authorization", "x-api-key") if _origin(url) == _origin(first.url) else ()))
    return httpx.Request("GET", url, headers=[(k, v) for k, v in first.headers.raw if k.decode().lower() in kept])


def is_web(url: httpx.URL) -> bool:
    """Whether a request can be sent there."""
    return url.scheme in ("http", "https") and bool(url.host) and (url.port or 1) < 2**16


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
