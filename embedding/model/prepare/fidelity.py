"""Compares a prepared precision with SentenceTransformer in float32, over sentences that ship with this package."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embedding.model.encoder import OnnxEncoder
from embedding.model.fetch.manifest import EXACT, Fidelity
from embedding.model.tokenizer import load_tokenizer

# A naive int8 export of all-MiniLM has a mean of 0.993 and visibly reorders near neighbours; at 0.997 nine in ten
# stay. One text below 0.97 is one that a user would find in the wrong place.
MEAN_BAR = 0.997
MINIMUM_BAR = 0.97
# what rounding alone may cost float32: anything more is another function
EXACT_BAR = 1 - 1e-5
NEIGHBOURS = 10
CALIBRATION_SHARE = 3
SENTENCES = Path(__file__).with_name("fidelity.txt")


def sentences() -> tuple[list[str], list[str]]:
    """The texts that calibrate, and the others, which check."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    texts = [line.replace("\\n", "\n") for line in lines if line]
    return texts[::CALIBRATION_SHARE], [text for i, text in enumerate(texts) if i % CALIBRATION_SHARE]


def reference(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """SentenceTransformer's vectors, one text at a time, normalised to length 1."""
    # the only reader of torch in this package, and it takes seconds to import
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    vectors = model.encode(list(texts), batch_size=1, prompt="", show_progress_bar=False)
    return _unit(np.asarray(vectors, np.float32))


def check(encoder: OnnxEncoder, texts: Sequence[str], expected: np.ndarray) -> Fidelity:
    """Compares the encoder's vectors with the reference's."""
    tokens = load_tokenizer(encoder.folder, encoder.manifest).tokenize(texts, "query", prompt="")
    served = _unit(encoder.embed([text.ids for text in tokens]))
    cosines = (served * expected).sum(axis=1)
    mean, minimum = float(cosines.mean()), float(cosines.min())
    mean_bar, minimum_bar = (EXACT_BAR, EXACT_BAR) if encoder.precision == EXACT else (MEAN_BAR, MINIMUM_BAR)
    offered = mean >= mean_bar and minimum >= minimum_bar
    return Fidelity(
        mean=mean,
        p1=float(np.percentile(cosines, 1)),
        minimum=minimum,
        neighbours=_overlap(served, expected),
        texts=len(texts),
        offered=offered,
        reason="" if offered else f"cosine mean {mean:.4f}, least {minimum:.4f}: the bar is {mean_bar}, {minimum_bar}",
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The mean share of a text's nearest texts that both sets of vectors agree on."""
    nearest = [np.argsort(-(v @ v.T - 2 * np.eye(len(v))), axis=1)[:, :NEIGHBOURS] for v in (a, b)]
    shares = [len(set(p) & set(q)) / NEIGHBOURS for p, q in zip(*(n.tolist() for n in nearest), strict=True)]
    return float(np.mean(shares))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
