"""The vectors of the vocabulary, mapped from disk. A run reads one row for each token, so most are never loaded."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
# Rows that are quantized at a time: a vocabulary's intermediate values would take gigabytes.
ROWS_AT_ONCE = 8192


class Table:
    """The table that `write` or `write_quantized` wrote for one precision."""

    def __init__(self, folder: Path, precision: str) -> None:
        rows, scales, channels = _files(folder, precision)
        self._rows = np.load(rows, mmap_mode="r")
        self._scales = np.load(scales, mmap_mode="r") if scales.exists() else None
        self._channels = np.load(channels) if channels.exists() else None

    @property
    def vocabulary_size(self) -> int:
        return int(self._rows.shape[0])

    def __getitem__(self, ids: np.ndarray) -> NDArray[np.float32]:
        """The rows of token ids (tokens,) as float32 (tokens, dimension)."""
        rows: NDArray[np.float32] = np.asarray(self._rows[ids], np.float32)
        if self._scales is None or self._channels is None:
            return rows
        scales = self._scales[ids].astype(np.float32)
        blocks = rows.reshape(*scales.shape, -1) * scales[..., None]
        return np.asarray(blocks.reshape(rows.shape) * self._channels)


def write(folder: Path, precision: str, table: NDArray[np.float32]) -> None:
    """Write `table` (vocabulary, dimension) in float32."""
    np.save(_files(folder, precision)[0], table)


def write_quantized(folder: Path, precision: str, table: NDArray[np.float32]) -> None:
    """Write `table` (vocabulary, dimension) in 8 bits, with a scale for each 16 numbers of a row.

    Trained models have a few channels far above the others. In one block with them, the others would round to little.
    So each channel is first divided by the square root of its largest number, which narrows that gap.
    """
    rows, scales, channels = _files(folder, precision)
    dimension = table.shape[1]
    block = BLOCK if dimension % BLOCK == 0 else dimension
    factors = np.sqrt(np.maximum(table.max(axis=0), -table.min(axis=0)))
    factors[factors == 0] = 1
    quantized = np.empty(table.shape, np.int8)
    steps = np.empty((len(table), dimension // block), np.float16)
    for start in range(0, len(table), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        blocks = (table[some] / factors).reshape(-1, dimension // block, block)
        steps[some] = np.abs(blocks).max(axis=2) / 127
        steps[some][steps[some] == 0] = 1
        whole = np.rint(blocks / steps[some, :, None].astype(np.float32)).clip(-127, 127)
        quantized[some] = whole.reshape(-1, dimension)
    np.save(rows, quantized)
    np.save(scales, steps)
    np.save(channels, factors)


def _files(folder: Path, precision: str) -> tuple[Path, Path, Path]:
    rows, scales, channels = (f"{precision}.{part}.npy" for part in ("table", "scales", "channels"))
    return folder / rows, folder / scales, folder / channels
