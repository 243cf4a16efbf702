"""Readers of single variables: a text to a value, or a ValueError that says what the text must be."""

import math
import re
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

GPUS = ("T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB", "RTX-PRO-6000", "H100", "H100!", "H200", "B200",
        "B200+")  # fmt: skip
MOST_DIGITS = 9  # more has no field of Modal's


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Reads a whole number in these bounds."""
    said = f"a whole number from {least} to {most}" if most else f"a whole number of {least} or more"

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]+", text):
            raise ValueError(said)
        digits = text.lstrip("0") or "0"
        if len(digits) > MOST_DIGITS:
            raise ValueError(f"{said}, of {MOST_DIGITS} digits at most")
        if not least <= int(digits) <= (most or int(digits)):
            raise ValueError(said)
        return int(digits)

    return read


def number(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Reads a number in these bounds."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text) or not least <= float(text) <= most:
            raise ValueError(f"{unit}, from {least:g} to {most:g}")
        return float(text)

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
    """Reads what `one` reads, several of it with commas between; each once."""
    return lambda text: tuple(dict.fromkeys(one(part.strip()) for part in text.split(",")))


def switch(text: str) -> bool:
    """Reads yes or no."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("1 or 0 (true or false)")


def gpus(text: str) -> tuple[str, ...]:
    """Reads cards as Modal spells them, with commas between; or none, which undoes what modal.env says."""
    return () if text.lower() == "none" else listed(gpu)(text)


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


def auto_or(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """Reads auto, which is as if nothing were chosen, or what `read` reads."""
    return lambda text: None if text.lower() == "auto" else read(text)


def one_line(text: str) -> str:
    """Reads a line of text."""
    if not text.isprintable():
        raise ValueError("one line of text")
    return text


def task(text: str) -> str:
    """Reads the name of a task: those that any model has in any case, another's as it is."""
    try:
        return one_of("query", "document", "none")(text)
    except ValueError:
        return one_line(text)  # whether the model has it is known once it is loaded


# Modal's own names have 64 characters at most, and ours get endings. One of the form of an app's id is refused there.
NAME = matching(
    r"(?!ap-[A-Za-z0-9]{22}$)[A-Za-z0-9][A-Za-z0-9._-]{0,47}",
    "a name of letters, digits, '-', '_' and '.', 48 at most",
)
VOLUME = matching(r"[A-Za-z0-9_.-]{1,59}", "a name of letters, digits, '-', '_' and '.', 59 at most")
SECRET = matching(r"[A-Za-z0-9_.-]{1,64}", "a name of letters, digits, '-', '_' and '.', 64 at most")
BUCKET = matching(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", "the name of a bucket: small letters, digits, '-', '_' and '.'")
HTTPS = matching(r"https://[!-~]+", "an address that begins with https://")
LABEL = matching(
    r"(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "a name of small letters, digits and '-', 63 at most, and not of digits alone",
)
DOMAIN = matching(r"([A-Za-z0-9-]+\.)+[A-Za-z]{2,}", "a domain such as embed.example.com")
ORIGIN = matching(r"\*|https?://[^/\s?#@]+", "origins such as https://example.org, without a path, or *")
REGION = matching(r"[a-z]{2}[a-z0-9-]*", "a region as Modal names it, such as us, eu or us-west")
BYTES = matching(r"(?i)[0-9]+(\.[0-9]+)? ?(b|[kmgt]|[kmgt]i?b)?", "a number of bytes, such as 64000000 or 64MB")


def megabytes(text: str) -> float:
    """What a text that `BYTES` reads comes to."""
    digits = re.match(r"[0-9.]+", text)
    assert digits
    unit = text.lower()[digits.end() :].strip().removesuffix("b")
    step = 1024.0 if unit.endswith("i") else 1000.0
    return float(digits[0]) * math.pow(step, " kmgt".index(unit[:1] or " ")) / 1e6
