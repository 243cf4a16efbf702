"""What is done to finished vectors: cut, normalised again, and rounded to fewer bits.

All arrays are (texts, dimension), and float32 unless they say otherwise.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
OutputPrecision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]

CALIBRATED = ("int8", "uint8")
"""Output precisions that need the range of each number."""
STEPS = 255


def cut(vectors: Vectors, dimension: int, normalize: bool) -> Vectors:
    """The first `dimension` numbers of each vector, brought to length 1 where `normalize` says so.

    Vectors of a Matryoshka model are made to be cut so: Kusupati et al. 2022, https://arxiv.org/abs/2205.13147.
    """
    kept = vectors[:, :dimension]
    return unit(kept) if normalize else kept


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length 1; a vector of zeros stays one, as in SentenceTransformer."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)


def ranges_of(calibration: Vectors) -> Vectors:
    """The least and the largest value of each number over the calibration's vectors: (2, dimension)."""
    return np.stack([calibration.min(axis=0), calibration.max(axis=0)])


def round_to(vectors: Vectors, precision: OutputPrecision, ranges: Vectors | None = None) -> NDArray[Any]:
    """The vectors in `precision`, as `sentence_transformers.quantize_embeddings` defines it.

    int8 and uint8 divide the range of each number, in `ranges` (2, dimension), into 255 steps. binary and ubinary keep
    the sign of each number, 8 to a byte: (texts, dimension / 8 rounded up). float16 is rounding alone.
    """
    match precision:
        case "float32":
            return vectors
        case "float16":
            return vectors.astype(np.float16)
        case "int8" | "uint8":
            if ranges is None:
                raise ValueError(f"{precision} needs the ranges of its numbers")
            steps = (ranges[1] - ranges[0]) / STEPS
            places = np.clip(np.floor((vectors - ranges[0]) / np.where(steps == 0, 1, steps)), 0, STEPS)
            return np.asarray(places, np.uint8) if precision == "uint8" else np.asarray(places - 128, np.int8)
        case "binary" | "ubinary":
            bits: NDArray[Any] = np.packbits(vectors > 0, axis=-1)
            return bits if precision == "ubinary" else (bits - 128).astype(np.int8)
