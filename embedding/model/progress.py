"""What loading a model is busy with, told to who waits for it."""

from collections.abc import Callable

Report = Callable[[str, float | None], None]
"""Takes words for people, and the share of that step which is done (0 to 1), where it is known."""


def to_nobody(_step: str, _share: float | None) -> None:
    """The Report of callers that do not ask."""
