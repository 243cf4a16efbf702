"""Ragged batches: texts of different lengths laid end to end as the inputs of a prepared graph, without padding."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from embedding.model.table import Table

# attention sees a text in a length rounded up to this; its linear layers, nine tenths of the work, in its own
LENGTH_STEP = 16
# more tokens than this in a run gain nothing and cost memory
RUN_TOKENS = 512

Text = Sequence[int]


def group_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Groups texts, by index, into runs: only texts of one rounded length share a run.

    So a text is computed in the same shapes whatever its neighbours are, and its vector is the same.
    """
    run: list[int] = []
    tokens = 0
    for i in sorted(range(len(lengths)), key=lambda i: attention_length(lengths[i])):
        if run and (
            attention_length(lengths[i]) != attention_length(lengths[run[0]]) or tokens + lengths[i] > RUN_TOKENS
        ):
            yield run
            run, tokens = [], 0
        run.append(i)
        tokens += lengths[i]
    if run:
        yield run


def attention_length(length: int) -> int:
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def ragged_batch(texts: Sequence[Text], table: Table, pooling: str) -> dict[str, np.ndarray]:
    """The inputs of a run of texts that share a rounded length; prepare/ragged_inputs.py describes them."""
    lengths = np.array([len(text) for text in texts])
    length = attention_length(int(lengths.max()))
    starts = np.cumsum(lengths) - lengths
    places = np.arange(length)
    inside = places < lengths[:, None]
    index = np.repeat(np.arange(len(texts)), lengths)
    positions = np.arange(lengths.sum()) - starts[index]
    shares = np.zeros((len(texts), len(index)), np.float32)
    weights = 1 / lengths[index] if pooling == "mean" else positions == 0
    shares[index, np.arange(len(index))] = weights
    return {
        "rows": table[np.fromiter(_chain(texts), np.int64, len(index))],
        "slots": starts[:, None] + np.where(inside, places, 0),
        "places": index * length + positions,
        "positions": positions,
        "shares": shares,
        "bias": np.where(inside, np.float32(0), np.float32(-np.inf)),
    }


def _chain(texts: Iterable[Text]) -> Iterator[int]:
    return (token for text in texts for token in text)
