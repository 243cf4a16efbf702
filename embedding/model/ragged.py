"""Ragged batches: texts of different lengths, end to end and without padding, as the inputs of a prepared graph."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby

import numpy as np

from embedding.model.table import Table

# Attention pads a text to a multiple of this. The linear layers, nine tenths of the work, don't pad.
LENGTH_STEP = 16
# More tokens than this in a run gain nothing and cost memory.
RUN_TOKENS = 512

Text = Sequence[int]


def group_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Groups texts, by index, into runs: only texts of one padded length share a run.

    So a text is computed in the same shapes whatever its neighbours are, and gets the same vector.
    """
    padded = [attention_length(length) for length in lengths]
    for _, alike in groupby(sorted(range(len(lengths)), key=padded.__getitem__), key=padded.__getitem__):
        yield from runs(alike, lengths, RUN_TOKENS)


def runs(order: Iterable[int], lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Texts in `order`, by index, as runs of at most `max_tokens` tokens, or of one longer text."""
    run: list[int] = []
    tokens = 0
    for index in order:
        if run and tokens + lengths[index] > max_tokens:
            yield run
            run, tokens = [], 0
        run.append(index)
        tokens += lengths[index]
    if run:
        yield run


def attention_length(length: int) -> int:
    """The length to which attention pads a text of `length` tokens."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def ragged_batch(texts: Sequence[Text], table: Table, pooling: str) -> dict[str, np.ndarray]:
    """The inputs of a run of texts of one padded length; prepare/ragged_inputs.py describes them."""
    lengths = np.array([len(text) for text in texts])
    length = attention_length(int(lengths.max()))
    starts = np.cumsum(lengths) - lengths
    padded = np.arange(length)
    inside = padded < lengths[:, None]
    text = np.repeat(np.arange(len(texts)), lengths)
    positions = np.arange(lengths.sum()) - starts[text]
    weights = np.zeros((len(texts), len(text)), np.float32)
    weights[text, np.arange(len(text))] = 1 / lengths[text] if pooling == "mean" else positions == 0
    return {
        "embeddings": table[np.fromiter(chain.from_iterable(texts), np.int64, len(text))],
        "pad_index": starts[:, None] + np.where(inside, padded, 0),
        "unpad_index": text * length + positions,
        "positions": positions,
        "pooling_weights": weights,
        "attention_bias": np.where(inside, np.float32(0), np.float32(-np.inf)),
    }
