"""Ragged batches: texts of different lengths, end to end and without padding, as the inputs of a prepared graph."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np

from embedding.model.table import Table

# Attention pads a text to a multiple of this. The linear layers, nine tenths of the work, don't pad.
LENGTH_STEP = 16
# Queries of a block, where a window lets attention leave most keys out, and how many blocks a text must have beyond its
# window's width for that to be worth the copies: 640 tokens for a window of 256 to either side.
BLOCK = 128
BLOCKS_TO_CUT = 2
# More tokens than this in a run gain nothing and cost memory.
RUN_TOKENS = 512

# Where a graph's metadata has the radius of its windows.
RADIUS = "attention_radius"

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


def longest_run(max_tokens: int) -> int:
    """Tokens of the longest run of texts of at most `max_tokens` each."""
    return max(RUN_TOKENS, max_tokens)


def attention_length(length: int) -> int:
    """The length to which attention pads a text of `length` tokens."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def graph_inputs(session: Any, texts: Sequence[Text], table: Table, pooling: str) -> dict[str, np.ndarray]:
    """What a session of ONNX Runtime asks for of a run of texts of one padded length."""
    radius = session.get_modelmeta().custom_metadata_map.get(RADIUS)
    feed = ragged_batch(texts, table, pooling, None if radius is None else int(radius))
    return {node.name: feed[node.name] for node in session.get_inputs()}


def ragged_batch(texts: Sequence[Text], table: Table, pooling: str, radius: int | None = None) -> dict[str, np.ndarray]:
    """The inputs of a run of texts of one padded length; prepare/ragged_inputs.py describes them.

    `radius`: how far from a token those are that layers with a window see.
    """
    lengths = np.array([len(text) for text in texts])
    starts = np.cumsum(lengths) - lengths
    text = np.repeat(np.arange(len(texts)), lengths)
    positions = np.arange(lengths.sum()) - starts[text]
    weights = np.zeros((len(texts), len(text)), np.float32)
    weights[text, np.arange(len(text))] = 1 / lengths[text] if pooling == "mean" else positions == 0
    feed = {
        "embeddings": table[np.fromiter(chain.from_iterable(texts), np.int64, len(text))],
        "positions": positions,
        "pooling_weights": weights,
    }
    for view, reach in {"all": None, "near": radius}.items():
        blocks = attention_blocks(lengths, reach)
        feed[f"{view}_queries"] = starts[blocks.text, None] + blocks.queries
        feed[f"{view}_keys"] = starts[blocks.text, None] + blocks.keys
        feed[f"{view}_bias"] = blocks.bias
        feed[f"{view}_places"] = text * (blocks.queries.size // len(texts)) + positions
    return feed


class AttentionBlocks(NamedTuple):
    """Attention as blocks of neighbouring queries, and the keys that each sees; what is past a text's end repeats it.

    `text` (blocks,), the text of each; `queries` (blocks, block) and `keys` (blocks, span), positions in that text;
    `bias` (blocks, block or 1, span), to add to their scores: -inf where the query doesn't see the key.
    """

    text: np.ndarray
    queries: np.ndarray
    keys: np.ndarray
    bias: np.ndarray


def attention_blocks(lengths: np.ndarray, radius: int | None) -> AttentionBlocks:
    """The blocks of texts of one padded length: each text whole, or, where a window saves work, `BLOCK` at a time.

    `radius`: how far apart a query may be from a key that it sees; None: any distance.
    """
    length = attention_length(int(lengths.max()))
    is_cut = radius is not None and length >= 2 * radius + BLOCKS_TO_CUT * BLOCK
    block, reach = (BLOCK, radius or 0) if is_cut else (length, 0)
    firsts = np.arange(0, length, block)
    queries = firsts[:, None] + np.arange(block)
    keys = firsts[:, None] - reach + np.arange(block + 2 * reach)
    text = np.repeat(np.arange(len(lengths)), len(firsts))
    ends = lengths[:, None, None]
    outside = ((keys < 0) | (keys >= ends)).reshape(len(text), 1, -1)
    bias = np.where(outside, np.float32(-np.inf), np.float32(0))
    if radius is not None and length > radius + 1:
        distance = queries[0][:, None] - keys[0]
        bias = bias + np.where(np.abs(distance) > radius, np.float32(-np.inf), np.float32(0))
    queries, keys = (np.clip(part, 0, ends - 1).reshape(len(text), -1) for part in (queries, keys))
    return AttentionBlocks(text, queries, keys, bias)
