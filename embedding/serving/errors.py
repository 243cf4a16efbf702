"""Why a request is refused or can't be finished, each as what its caller can do."""

from embedding.model.errors import TextError


class Unavailable(Exception):
    """The service can't take or finish this request now; the same may succeed after `retry_after` seconds."""

    retry_after = 1


class NotReady(Unavailable):
    """The model is still loading, or the engine no longer answers."""

    retry_after = 5


class Draining(Unavailable):
    """The service stops and takes nothing new; another container may answer."""

    retry_after = 5


class Overloaded(Unavailable):
    """There is no room: `retry_after` is when the queue will have shrunk enough, by the rate measured."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineFailed(Unavailable):
    """The engine fails on whatever it is asked, also on a text that it is known to embed."""

    retry_after = 5


class DeadlineExceeded(Exception):
    """The request took longer than its deadline, and what was left of it is dropped."""


class TooLarge(Exception):
    """The request has more tokens than the engine embeds within a deadline, even alone: send fewer texts at once."""


class TextFailed(TextError):
    """The engine raises an error on this text, and embeds others."""

    reason = "can't be embedded: the model fails on it"
