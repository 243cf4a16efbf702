"""Readers of single variables: a text to a value, or a ValueError that says what the text must be."""

import math
import re
from collections.abc import Callable

GPUS = ("T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000", "H100", "H100!", "H200", "B200",
        "B200+")  # fmt: skip


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Reads a whole number in these bounds."""
    said = f"a whole number from {least} to {most}" if most else f"a whole number of {least} or more"

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= (most or math.inf):
            raise ValueError(said)
        return int(text)

    return read


def number(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Reads a number in these bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"{unit}, from {least:g} to {most:g}")
        return value

    return read


def one_of(*names: str) -> Callable[[str], str]:
    """Reads one of these names, in any case."""

    def read(text: str) -> str:
        for name in names:
            if text.lower() == name.lower():
                return name
        raise ValueError(f"one of {', '.join(names)}")

    return read


def matching(pattern: str, said: str) -> Callable[[str], str]:
    """Reads a text of this form."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(said)
        return text

    return read


def listed(one: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Reads what `one` reads, several of it with commas between."""
    return lambda text: tuple(one(part.strip()) for part in text.split(","))


def switch(text: str) -> bool:
    """Reads yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("1 or 0 (true or false)")


def gpu(text: str) -> str:
    """Reads a card as Modal spells it."""
    name, _, count = text.upper().partition(":")
    if count not in ("", "1"):
        raise ValueError(f"one card a container, since the engine uses one: {name}")
    if name == "A10G":
        name = "A10"
    if name not in GPUS:
        raise ValueError(f"none, or one of {', '.join(GPUS)}, or several with commas between, the first preferred")
    return name


def threads(text: str) -> int | None:
    """Reads a number of threads, or auto, which is one a core."""
    return None if text.lower() == "auto" else whole(1, 128)(text)


NAME = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}", "a name of letters, digits, '-', '_' and '.', 48 at most")
LABEL = matching(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name of small letters, digits and '-', 63 at most")
DOMAIN = matching(r"([A-Za-z0-9-]+\.)+[A-Za-z]{2,}", "a domain such as embed.example.com")
REGION = matching(r"[a-z]{2}[a-z0-9-]*", "a region as Modal names it, such as us, eu or us-west")
TEXT = str.strip
BYTES = matching(r"(?i)\d+(\.\d+)? ?[kmgt]?i?b?", "a number of bytes, such as 64000000 or 64MB")
