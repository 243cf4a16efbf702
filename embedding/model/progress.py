"""Progress of loading a model, told to whoever waits for it."""

from collections.abc import Callable

Report = Callable[[str, float | None], None]
"""Takes the current step in words, and the fraction of it that is done (0 to 1) where that is known."""


def to_nobody(_step: str, _fraction: float | None) -> None:
    """The Report of callers that do not ask."""
