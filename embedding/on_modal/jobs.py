"""Corpus jobs that outlive the machine that started them: whose an output folder is, what addresses mean."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

VOLUME = "volume://"
BUCKET = "bucket://"
HUB = "hf://datasets/"
DIGEST_LENGTH = 16
STATUS_SECONDS = 5.0


class JobError(Exception):
    """A job can't be started as it was asked for; the message says what to change."""


class Entries(Protocol):
    """What is used of a modal.Dict, which all jobs of an app share."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def put(self, key: str, value: Any, *, skip_if_exists: bool = False) -> bool: ...


def claim(entries: Entries, output: str, job: str, is_over: Callable[[str], bool]) -> str | None:
    """Take the folder `output` for the job with the id `job`; the id of the job that has it, where one still runs.

    Each claim stands at a place of its own, after that of a job that is over, and is only ever put where there is none:
    of two jobs that find the same one over, one gets the place. A job that Modal starts again finds its own claim.
    """
    before = ""
    while True:
        place = f"claim of {output} after {before}"
        holder = entries.get(place)
        if holder is None:
            entries.put(place, job, skip_if_exists=True)
            holder = entries.get(place)
        if holder == job:
            return None
        if not is_over(holder):
            return str(holder)
        before = holder


@dataclass
class Status:
    """How far a job is, in words, and what its containers cost so far, written where others can read it."""

    entries: Entries | None
    job: str
    worker_dollars: float | None
    """Of a container that embeds, a second; None where that is not known."""
    driver_dollars: float
    """Of the one that hands out the shards."""
    _seconds: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _said: float = 0.0

    def worked(self, container: str, seconds: float) -> None:
        """A container has run for so long."""
        self._seconds[container] = max(seconds, self._seconds.get(container, 0.0))

    @property
    def cost(self) -> str:
        """Dollars so far, in words: what ran, at list prices. Start-up and idling are not in it."""
        hours = sum(self._seconds.values()) / 3600
        words = f"{len(self._seconds)} containers, {hours:,.2f} container-hours"
        if self.worker_dollars is None:
            return words
        driver = (time.monotonic() - self._start) * self.driver_dollars
        return f"{words}, about ${3600 * hours * self.worker_dollars + driver:,.2f} so far at list prices"

    def price(self, seconds: float, containers: int) -> str:
        """What so many seconds of work would cost on so many containers at once, in words."""
        if self.worker_dollars is None:
            return "at a price that is not known here"
        dollars = seconds * (self.worker_dollars + self.driver_dollars / containers)
        return f"about ${dollars:,.2f} at list prices, start-up not counted"

    def say(self, line: str) -> None:
        """Write the line and the cost, if it is time to."""
        now = time.monotonic()
        if now - self._said >= STATUS_SECONDS:
            self._said = now
            self.end(f"{line.strip()}  {self.cost}")

    def end(self, words: str) -> None:
        """Write the words, into the log and where others can read them."""
        if self.entries is not None:
            print(words, flush=True)
            self.entries.put(status_key(self.job), words)


def status_key(job: str) -> str:
    """Where the status of a job is."""
    return f"status of {job}"


def checked_output(output: str) -> str:
    """The name of a folder on a volume. Raises JobError."""
    within = PurePosixPath(output)
    if "://" in output or within.is_absolute() or not within.parts or ".." in within.parts:
        raise JobError(f"--output {output!r} must be the name of a folder, which will be on a volume.")
    return str(within)


def checked_destination(to: str | None, bucket: bool) -> str | None:
    """Where finished files are copied. Raises JobError where that is no place, or there is no bucket."""
    if not to:
        return None
    if to.startswith(BUCKET):
        if not bucket:
            raise JobError(f"--to {to!r}: this app has no bucket. Set BUCKET where it is deployed from.")
        return BUCKET + checked_output(to.removeprefix(BUCKET))
    if to.startswith(HUB) and to.removeprefix(HUB).count("/") == 1:
        return to
    raise JobError(f"--to {to!r} must be {BUCKET}FOLDER or {HUB}OWNER/NAME.")


def located(address: str, inputs: Path, bucket: Path | None) -> str:
    """The address of an input as the driver's container reaches it: a name is one on the volume of inputs.

    Raises JobError.
    """
    if address.startswith(BUCKET):
        if bucket is None:
            raise JobError(f"--input {address!r}: this app has no bucket. Set BUCKET where it is deployed from.")
        return _within(bucket, address, BUCKET)
    if address.startswith(VOLUME):
        return _within(inputs, address, VOLUME)
    return address if "://" in address or address.startswith("/") else _within(inputs, address)


def _within(root: Path, address: str, scheme: str = "") -> str:
    place = PurePosixPath(address.removeprefix(scheme).lstrip("/"))
    if ".." in place.parts:
        raise JobError(f"--input {address!r} must not lead out of where it begins.")
    return str(root / place)


def digest(path: Path) -> str:
    """Of a file, or of all files in a folder: names and contents."""
    total = hashlib.sha256()
    for file in files_in(path):
        with file.open("rb") as content:
            each = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{file.relative_to(path.parent).as_posix()}\n{each}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()[:DIGEST_LENGTH]


def files_in(path: Path) -> Iterator[Path]:
    """The file, or those in the folder but for hidden ones, such as half a file that a job left; in their order."""
    if path.is_file():
        return iter([path])
    return (file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith("."))
