"""What PRECISION means: which of the precisions that a prepared model offers computes the vectors."""

import logging
from collections.abc import Callable

from embedding.model.errors import UnknownPrecision
from embedding.model.fetch.manifest import EXACT, Manifest
from embedding.settings import Settings

logger = logging.getLogger(__name__)

AUTO = "auto"
# How much faster another precision must be for its speed to be worth more than exact vectors.
MIN_SPEEDUP = 1.3


def choose_precision(wanted: str, manifest: Manifest, seconds: Callable[[str], float] | None = None) -> str:
    """The precision `wanted`, or what "auto" means. Raises UnknownPrecision for one that isn't offered.

    "auto" is float32, whose vectors are exact. A server gives `seconds`, which measures how long a precision takes
    here: then it is the fastest one that is offered, where that is clearly faster. For a corpus it is not measured:
    what is fastest today would not be so tomorrow, and a folder of vectors has one precision.
    """
    offered = manifest.precisions
    if wanted != AUTO:
        if wanted not in offered:
            report = manifest.fidelity.get(wanted)
            why = report.reason if report else f"this folder has {', '.join(offered)}"
            raise UnknownPrecision(f"precision {wanted!r} is not offered: {why}")
        return wanted
    if seconds is None or len(offered) == 1:
        return EXACT if EXACT in offered else offered[0]
    measured = {precision: seconds(precision) for precision in offered}
    fastest = min(measured, key=lambda precision: measured[precision])
    is_worth_it = measured.get(EXACT, float("inf")) >= MIN_SPEEDUP * measured[fastest]
    times = ", ".join(f"{precision} {1e3 * each:.2f} ms" for precision, each in measured.items())
    chosen = fastest if is_worth_it else EXACT
    logger.info("precision %s: one layer takes %s", chosen, times)
    return chosen


def with_corpus_precision(settings: Settings, manifest: Manifest | None) -> Settings:
    """`settings` with the precision in which a corpus is embedded; without a manifest, the torch engine chooses it.

    Raises UnknownPrecision.
    """
    if manifest is None:
        return settings
    return settings.model_copy(update={"precision": choose_precision(settings.precision, manifest)})
