"""Rounds a weight to 8-bit integers, and finds what to divide its input by, from the statistics of calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedding.model.prepare.calibrate import Statistics

STEPS = 127
PAIR = 128
BLOCK = 64
DAMPING = 0.01
# The share of rounding's error that is left once later rows have made up for it.
UNCOMPENSATED = 0.25
ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7)
TINY = 1e-9


def quantize(weight: np.ndarray, gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers (in, out) of int8 and scales (out,), whose product with inputs like those seen is near the weight's.

    Rounds the rows in order, and lets those to come make up for the error of each (GPTQ, arXiv:2210.17323). `gram`
    (in, in) is the sum of the inputs' outer products.

    Neighbouring rows (2i, 2i + 1) of a column never sum beyond ±128: AVX2 without VNNI adds their products with an
    unsigned byte in 16 bits, which saturate at 255 × 129. So an artifact gives the same vectors on every machine.
    """
    scales = _scales(weight)
    rest = weight / scales
    integers = np.zeros(weight.shape, np.float32)
    error_spread = _error_spread(gram)
    for start in range(0, len(weight), BLOCK):
        stop = min(start + BLOCK, len(weight))
        errors = np.empty((stop - start, weight.shape[1]), np.float32)
        for k in range(start, stop):
            low, high = _bounds(integers[k - 1]) if k % 2 else (-STEPS, STEPS)
            integers[k] = np.clip(np.rint(rest[k]), low, high)
            errors[k - start] = (rest[k] - integers[k]) / error_spread[k, k]
            rest[k + 1 : stop] -= error_spread[k, k + 1 : stop, None] * errors[k - start]
        rest[stop:] -= error_spread[start:stop, stop:].T @ errors
    return integers.astype(np.int8), scales


@dataclass(frozen=True)
class Balance:
    """What an input's channels are divided by, (in,), and the share by which rounding the input moves the product."""

    divisor: np.ndarray
    input_error: float


def balance(
    seen: Statistics, weight: np.ndarray, parts: Sequence[int] = (), repeats: int = 1, lower_bound: float | None = None
) -> Balance:
    """The divisor with which input and weight, quantized, lose least of the product.

    Tries powers of the ratio of a channel's magnitude in the input to that in the weight, and measures. `parts` are
    the dimensions of products that became one: each counts by its error relative to itself. The divisor repeats itself
    `repeats` times along the input's channels. `lower_bound` is that of the input, if known.
    """
    trial = _Trial(seen.samples, weight, parts, lower_bound)
    inputs = np.sqrt(np.diag(seen.gram) / seen.count), seen.channel_max
    weights = np.sqrt((trial.weight**2).mean(axis=1)), np.abs(trial.weight).max(axis=1)
    candidates = [np.ones(len(weight), np.float32)]
    for a, w in zip(inputs, weights, strict=True):
        a, w = (np.sqrt((v.reshape(repeats, -1) ** 2).mean(axis=0)) + TINY for v in (a, w))
        for alpha in ALPHAS:
            by = a**alpha / w ** (1 - alpha)
            candidates.append(np.tile(by / np.exp(np.log(by).mean()), repeats).astype(np.float32))
    best = min(candidates, key=lambda by: sum(trial.errors(by)))
    return Balance(best, (trial.errors(best)[0] / max(1, len(parts))) ** 0.5)


class _Trial:
    """Measures divisors on sample rows: the squared error of each row and part of the product, relative to itself."""

    def __init__(self, rows: np.ndarray, weight: np.ndarray, parts: Sequence[int], lower_bound: float | None) -> None:
        edges = np.cumsum([0, *parts[:-1]])
        sizes = np.add.reduceat((rows @ weight) ** 2, edges, axis=1) + TINY
        # Every part counts the same, whatever its magnitude, and so does every token.
        part = np.repeat(np.arange(len(edges)), parts or [weight.shape[1]])
        self.weight = weight / np.sqrt(sizes.mean(axis=0))[part]
        self.per_row = 1 / (sizes / sizes.mean(axis=0)).mean(axis=1, keepdims=True)
        self.rows, self.lower_bound = rows, lower_bound

    def errors(self, by: np.ndarray) -> tuple[float, float]:
        """From rounding the input, and from rounding the weight."""
        rows, weight = self.rows / by, self.weight * by[:, None]
        if self.lower_bound is not None:
            rows = rows - self.lower_bound / by
        step = np.abs(rows).max(axis=1, keepdims=True) / (STEPS if self.lower_bound is None else 2 * STEPS + 1) + TINY
        input_error = (((np.rint(rows / step) * step - rows) @ weight) ** 2).sum(axis=1, keepdims=True)
        weight_error = (_scales(weight) ** 2).sum() / 12 * (rows**2).sum(axis=1, keepdims=True)
        return float((input_error * self.per_row).mean()), float((weight_error * self.per_row).mean()) * UNCOMPENSATED


def _scales(weight: np.ndarray) -> np.ndarray:
    """The least scales (out,) at which neither a weight nor a sum of neighbours leaves its range."""
    pairs = np.add.reduceat(weight, np.arange(0, len(weight), 2), axis=0)
    peaks = np.maximum(np.abs(weight).max(axis=0), np.abs(pairs).max(axis=0))
    return np.asarray(np.maximum(peaks, TINY) / STEPS, np.float32)


def _bounds(other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(-STEPS, -PAIR - np.minimum(other, 0)), np.minimum(STEPS, PAIR - np.maximum(other, 0))


def _error_spread(gram: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse of the damped gram, (in, in), by which GPTQ spreads errors."""
    damped = gram.astype(np.float64)
    damped[np.diag_indices_from(damped)] += DAMPING * np.diag(damped).mean() + TINY
    inverse = np.linalg.inv(damped)
    return np.linalg.cholesky((inverse + inverse.T) / 2).T.astype(np.float32)
