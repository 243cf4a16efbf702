"""Why a request is turned away now, and when to come back."""


class Unavailable(Exception):
    """The service can't take this request now; `retry_after` is in seconds."""

    retry_after = 1


class NotReady(Unavailable):
    """The model is still loading."""

    retry_after = 5


class Overloaded(Unavailable):
    """As many requests are under way as the service admits."""
