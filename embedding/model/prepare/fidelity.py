"""Compares a prepared model with SentenceTransformer in float32, each called as its users call it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedding.model.engine import Engine
from embedding.model.fetch.manifest import EXACT, Fidelity
from embedding.model.prepare.original import TaskText
from embedding.model.vectors import unit

# A naive int8 export of all-MiniLM has a mean of 0.993 and visibly reorders near neighbours; at 0.997 nine in ten
# stay. One text below 0.97 is one that a user would find in the wrong place.
MEAN_BAR = 0.997
MINIMUM_BAR = 0.97
# What rounding alone may cost float32, as a share of a vector's length: anything more is another function.
EXACT_BAR = 1e-4
NEIGHBOURS = 10
CALIBRATION_SHARE = 3
SENTENCES = Path(__file__).with_name("fidelity.txt")
# Many scripts, code, and pages of text.
CALIBRATION = Path(__file__).with_name("calibration.txt")


def sentences() -> tuple[list[str], list[str]]:
    """The texts that calibrate, and the others, which check."""
    texts = _lines(SENTENCES)
    return texts[::CALIBRATION_SHARE], [text for i, text in enumerate(texts) if i % CALIBRATION_SHARE]


def calibration_texts() -> list[TaskText]:
    """What calibrates, as queries and documents in turn: a scale suits the prompts, scripts and lengths that it saw."""
    return alternating(sentences()[0] + _lines(CALIBRATION))


def _lines(path: Path) -> list[str]:
    """The texts of a file, one a line."""
    return [line.replace("\\n", "\n") for line in path.read_text(encoding="utf-8").splitlines() if line]


def alternating(texts: Sequence[str]) -> list[TaskText]:
    """The texts as queries and documents in turn."""
    return [("document" if i % 2 else "query", text) for i, text in enumerate(texts)]


def check(engine: Engine, texts: Sequence[TaskText], expected: np.ndarray) -> Fidelity:
    """Compares the engine's vectors with the reference's."""
    vectors = engine.embed([engine.tokenize([text], task)[0] for task, text in texts])
    served, reference = unit(vectors), unit(expected)
    cosines = (served * reference).sum(axis=1)
    mean, minimum = float(cosines.mean()), float(cosines.min())
    if engine.info.precision == EXACT:
        # Lengths count too: a model need not normalise its vectors.
        lengths = np.linalg.norm(expected, axis=1)
        error = float((np.linalg.norm(vectors - expected, axis=1) / np.where(lengths == 0, 1, lengths)).max())
        offered = error <= EXACT_BAR
        reason = f"a vector is off by {error:.1e} of its length: the bar is {EXACT_BAR}"
    else:
        offered = mean >= MEAN_BAR and minimum >= MINIMUM_BAR
        reason = f"cosine mean {mean:.4f}, least {minimum:.4f}: the bar is {MEAN_BAR}, {MINIMUM_BAR}"
    return Fidelity(
        mean=mean,
        p1=float(np.percentile(cosines, 1)),
        minimum=minimum,
        neighbours=_overlap(served, reference),
        texts=len(texts),
        offered=offered,
        reason="" if offered else reason,
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The mean share of a text's nearest texts that both sets of vectors agree on."""
    nearest = [np.argsort(-(v @ v.T - 2 * np.eye(len(v))), axis=1)[:, :NEIGHBOURS] for v in (a, b)]
    shares = [len(set(p) & set(q)) / NEIGHBOURS for p, q in zip(*(n.tolist() for n in nearest), strict=True)]
    return float(np.mean(shares))
