"""What PRECISION means: which of the precisions that a prepared model offers computes the vectors."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from embedding.atomic import whole_file
from embedding.model.errors import UnknownPrecision
from embedding.model.fetch.manifest import EXACT, Manifest
from embedding.model.machine import processor
from embedding.settings import Settings

logger = logging.getLogger(__name__)

AUTO = "auto"
# How much faster another precision must be for its speed to be worth more than exact vectors.
MIN_SPEEDUP = 1.3


class Choice(NamedTuple):
    """A precision, and why it is the one."""

    precision: str
    reason: str


def choose_precision(
    wanted: str, manifest: Manifest, seconds: Callable[[str], float] | None = None, trials: "Trials | None" = None
) -> "Choice":
    """The precision `wanted`, or what "auto" means. Raises UnknownPrecision for one that isn't offered.

    "auto" is float32, whose vectors are exact. A server gives `seconds`, which measures how long a precision takes
    here: then it is the fastest one that is offered, where that is clearly faster. It is measured once: `trials`
    remembers. For a corpus it is not measured: a folder of vectors has one precision, on whatever machine it grows.
    """
    offered = manifest.precisions
    if wanted != AUTO:
        if wanted not in offered:
            report = manifest.fidelity.get(wanted)
            why = report.reason if report else f"this folder has {', '.join(offered)}"
            raise UnknownPrecision(f"precision {wanted!r} is not offered: {why}")
        return Choice(wanted, f"PRECISION={wanted}")
    if seconds is None or len(offered) == 1:
        return Choice(EXACT, "exact") if EXACT in offered else Choice(offered[0], "the only one here")
    known = trials.recall(offered) if trials else None
    measured = known or {precision: seconds(precision) for precision in offered}
    if trials and not known:
        trials.remember(measured)
    fastest = min(measured, key=lambda precision: measured[precision])
    is_worth_it = measured.get(EXACT, float("inf")) >= MIN_SPEEDUP * measured[fastest]
    times = ", ".join(f"{precision} {1e3 * each:.2f} ms" for precision, each in measured.items())
    reason = f"one layer {'took, at an earlier start,' if known else 'takes'} {times}"
    choice = Choice(fastest if is_worth_it else EXACT, reason)
    logger.info("precision %s: %s", *choice)
    return choice


class Trials:
    """The seconds that each precision of a prepared folder took, by processor, threads and runtime.

    They are in a file beside the folder, so that "auto" means the same at every start. Where that can't be read or
    written, the trial is repeated.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int) -> None:
        folder = folder.resolve()
        self._path = folder.with_name(f"{folder.name}.trials.json")
        files = {name: file.sha256 for name, file in manifest.files.items() if ".trial." in name}
        self._what = {"processor": processor(), "threads": threads, "onnxruntime": version("onnxruntime")}
        digest = hashlib.sha256(json.dumps([self._what, files], sort_keys=True).encode())
        self._key = digest.hexdigest()[:32]

    def recall(self, precisions: list[str]) -> dict[str, float] | None:
        """The seconds of these precisions, or None where they weren't all measured here."""
        try:
            seconds = self._read()[self._key]["seconds"]
            found = {precision: float(seconds[precision]) for precision in precisions}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if all(each > 0 for each in found.values()) else None

    def remember(self, seconds: Mapping[str, float]) -> None:
        """Write them down, beside what other processors took."""
        try:
            others = self._read()
        except (OSError, ValueError):
            others = {}
        with suppress(OSError), whole_file(self._path) as file:
            told = {**others, self._key: {**self._what, "seconds": dict(seconds)}}
            file.write(json.dumps(told, indent=2).encode())

    def _read(self) -> dict[str, Any]:
        told = json.loads(self._path.read_text("utf-8"))
        return told if isinstance(told, dict) else {}


def with_corpus_precision(settings: Settings, manifest: Manifest | None) -> Settings:
    """`settings` with the precision in which a corpus is embedded; without a manifest, the torch engine chooses it.

    Raises UnknownPrecision.
    """
    if manifest is None:
        return settings
    return settings.model_copy(update={"precision": choose_precision(settings.precision, manifest).precision})
