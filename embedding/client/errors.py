"""What can go wrong, as classes that say what to do. No message holds a text or a token."""

import httpx


class EmbeddingError(Exception):
    """Anything that keeps this client from giving vectors."""


class ConfigurationError(EmbeddingError, ValueError):
    """The client can't be made of these arguments: the message names the one to set."""


class AuthenticationError(EmbeddingError):
    """The service, or the gateway before it, does not take the token: check it, or ask the service's owner."""


class InvalidInput(EmbeddingError, ValueError):
    """The service can't embed this: change it.

    `field` is the request's field, where the service names one, and `index` the place of the text among those given,
    where it is about one text.
    """

    def __init__(self, message: str, *, field: str | None = None, index: int | None = None) -> None:
        super().__init__(message)
        self.field, self.index = field, index


class TextTooLong(InvalidInput):
    """A text has more tokens than the model reads: shorten or split it, or let it be cut with `truncate=True`."""


class Unavailable(EmbeddingError):
    """Not now: the same call may succeed later; in `retry_after` seconds, where the service said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """The service has all it can take (429): send less at once, or come back later."""


class ServiceUnavailable(Unavailable):
    """No service is up behind this address, or it could not answer in time (502, 503, 504)."""


class ColdStartTimeout(ServiceUnavailable):
    """The service did not get ready within `cold_start` seconds: try again later, or allow it more."""


class ConnectionFailed(Unavailable):
    """The service can't be reached, or it hung up: check the address, the network, and whether it runs."""


class DeadlineExceeded(Unavailable, TimeoutError):
    """The time that this call was given ran out: allow more, or ask for less at once."""


class ModelChanged(EmbeddingError):
    """Another model answers than the one before or the one expected: its vectors must not meet in one index.

    Embed everything anew with the model that is served now, or have the old one served again.
    """


class AnswerError(EmbeddingError):
    """The answer is none that this client knows: check that the address is that of an embedding service."""


# What sending a request raises: beside httpx's own, what comes of a host that a redirect names.
FOREIGN = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)


def translate(error: Exception) -> EmbeddingError:
    """One of ours for one of FOREIGN: by the first row of TRANSPORT that it belongs to."""
    ours, message = next(row[1:] for row in TRANSPORT if isinstance(error, row[0]))
    # Only the system's own words about a connection are quoted: others may quote a header or an answer.
    reason = f": {error}" if isinstance(error, httpx.ConnectError) and str(error) else ""
    return ours(message.format(kind=type(error).__name__, reason=reason))


TRANSPORT: list[tuple[type[Exception], type[EmbeddingError], str]] = [
    (httpx.ConnectTimeout, ConnectionFailed, "The service could not be reached in time. Check the address."),
    (
        httpx.ConnectError,
        ConnectionFailed,
        "The service can't be reached{reason}. Check the address, and that it runs.",
    ),
    (httpx.ProxyError, ConnectionFailed, "The proxy refused the connection. Check HTTPS_PROXY and NO_PROXY."),
    (httpx.TimeoutException, DeadlineExceeded, "The service did not answer in time, and may still be at it ({kind})."),
    (httpx.NetworkError, ConnectionFailed, "The connection broke ({kind}). Check that the service runs."),
    (httpx.RemoteProtocolError, ConnectionFailed, "The service hung up, or does not speak HTTP. Check the address."),
    (httpx.DecodingError, AnswerError, "The answer can't be decompressed."),
    (Exception, AnswerError, "The request failed ({kind}). Check the address."),
]
