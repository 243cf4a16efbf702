"""Attention in blocks of queries: the scores of all pairs of a long text's tokens are never in memory at once."""

from functools import cached_property

import numpy as np

from embedding.model.prepare.graph import Graph
from embedding.model.prepare.ragged_inputs import RaggedInputs
from embedding.model.ragged import BLOCK, LENGTH_STEP


class BlockedAttention:
    """Adds attention to a graph.

    A block has `size` queries, the same in each of a run's `count` blocks, which together reach past the texts' length
    by less than a block. A text of up to `BLOCK` tokens is one block.
    """

    def __init__(self, graph: Graph, inputs: RaggedInputs) -> None:
        self.graph, self.inputs = graph, inputs
        self._windows: dict[int, tuple[str, str, str]] = {}

    def attend(self, q: str, k: str, v: str, heads: int, kv_heads: int, radius: int | None = None) -> str:
        """The means of v (tokens, heads × head), weighted by softmax(q · k), which is not scaled.

        q is (tokens, heads × head), k and v are (tokens, kv_heads × head), and heads // kv_heads query heads in a row
        share a key/value head. A token sees those of its text up to `radius` away; None: all.
        """
        graph, inputs = self.graph, self.inputs
        k, v = (self._by_head(inputs.pad(x), kv_heads) for x in (k, v))
        blocks = self._split(inputs.pad(q), kv_heads, heads // kv_heads)
        if radius is None:
            bias = graph.op("Unsqueeze", inputs.padding_bias, self._constant(1, 2, 3))
            return self._join(graph.scan(lambda q: self._mix(q, k, v, bias), blocks))

        def attend_near(q: str, first: str, bias: str) -> str:
            ends = first, graph.op("Add", first, width), self._constant(3)
            return self._mix(q, graph.op("Slice", k, *ends), graph.op("Slice", v, *ends), bias)

        firsts, width, biases = self._window(radius)
        return self._join(graph.scan(attend_near, blocks, firsts, biases))

    def _mix(self, q: str, k: str, v: str, bias: str) -> str:
        """(texts, kv_heads, shared, queries, head), from k and v of (texts, kv_heads, 1, keys, head)."""
        graph = self.graph
        scores = graph.op("Add", graph.fused("FusedMatMul", q, k, transB=1), bias)
        return graph.op("MatMul", graph.op("Softmax", scores, axis=-1), v)

    def _by_head(self, x: str, heads: int) -> str:
        """(texts, length, heads × head) to (texts, heads, 1, length, head)."""
        split = self.graph.op("Reshape", x, self._constant(0, 0, heads, 1, -1))
        return self.graph.op("Transpose", split, perm=[0, 2, 3, 1, 4])

    def _split(self, q: str, kv_heads: int, shared: int) -> str:
        """(texts, length, heads × head) to (blocks, texts, kv_heads, shared, queries, head)."""
        graph = self.graph
        q = graph.op("Pad", q, graph.op("Concat", self._constant(0, 0, 0, 0), self._excess, self._constant(0), axis=0))
        shape = self._constant(0), self.count, self.size, self._constant(kv_heads, shared, -1)
        split = graph.op("Reshape", q, graph.op("Concat", *shape, axis=0))
        return graph.op("Transpose", split, perm=[1, 0, 3, 4, 2, 5])

    def _join(self, mixed: str) -> str:
        """(blocks, texts, kv_heads, shared, queries, head) to (tokens, heads × head)."""
        graph = self.graph
        mixed = graph.op("Transpose", mixed, perm=[1, 0, 4, 2, 3, 5])
        shape = graph.op("Concat", self._constant(0), self._padded_length, self._constant(-1), axis=0)
        mixed = graph.op("Reshape", mixed, shape)
        mixed = graph.op("Slice", mixed, self._constant(0), self.inputs.length, self._constant(1))
        width = graph.op("Shape", mixed, start=2, end=3)
        rows = graph.op("Reshape", mixed, graph.op("Concat", self._constant(-1), width, axis=0))
        return self.inputs.unpad(rows)

    def _window(self, radius: int) -> tuple[str, str, str]:
        """Each block's first key (blocks, 1); the number of its keys (1,), the same in all; and what to add to their
        scores (blocks, texts, 1, 1, queries, keys).

        Keys at the ends of a text that lie outside the window of a block are there to make up the number.
        """
        if radius not in self._windows:
            graph = self.graph
            reach = graph.op("Add", self.size, self._constant(2 * radius))
            width = graph.op("Min", self.inputs.length, reach)
            last = graph.op("Sub", self.inputs.length, width)
            firsts = graph.op("Max", graph.op("Sub", self._starts, self._constant(radius)), self._constant(0))
            firsts = graph.op("Min", firsts, last)
            queries, keys = (
                graph.op("Add", a, self._range(n)) for a, n in ((self._starts, self.size), (firsts, width))
            )
            rows, columns = (graph.op("Unsqueeze", x, self._constant(axis)) for x, axis in ((queries, 2), (keys, 1)))
            seen = graph.op(
                "LessOrEqual", graph.op("Abs", graph.op("Sub", rows, columns)), graph.constant(np.int64(radius))
            )
            padding = graph.op("Gather", self.inputs.padding_bias, keys, axis=1)
            padding = graph.op("Transpose", padding, perm=[1, 0, 2])
            seen, padding = (
                graph.op("Unsqueeze", x, self._constant(*axes)) for x, axes in ((seen, (1, 2, 3)), (padding, (2, 3, 4)))
            )
            self._windows[radius] = firsts, width, graph.op("Where", seen, padding, graph.constant(np.float32(-np.inf)))
        return self._windows[radius]

    @cached_property
    def count(self) -> str:
        """The number of blocks, (1,)."""
        return self._divide_up(self.inputs.length, self._constant(BLOCK))

    @cached_property
    def size(self) -> str:
        """The number of queries in a block, (1,): a multiple of `LENGTH_STEP`."""
        step = self._constant(LENGTH_STEP)
        return self.graph.op("Mul", step, self._divide_up(self.inputs.length, self.graph.op("Mul", step, self.count)))

    @cached_property
    def _padded_length(self) -> str:
        return self.graph.op("Mul", self.count, self.size)

    @cached_property
    def _excess(self) -> str:
        return self.graph.op("Sub", self._padded_length, self.inputs.length)

    @cached_property
    def _starts(self) -> str:
        """Each block's first query, (blocks, 1)."""
        starts = self.graph.op("Mul", self._range(self.count), self.size)
        return self.graph.op("Unsqueeze", starts, self._constant(1))

    def _range(self, count: str) -> str:
        """0, 1, … (count,)."""
        zero, one = (self.graph.constant(np.int64(n)) for n in (0, 1))
        return self.graph.op("Range", zero, self.graph.op("Squeeze", count), one)

    def _divide_up(self, a: str, b: str) -> str:
        graph = self.graph
        return graph.op("Div", graph.op("Sub", graph.op("Add", a, b), self._constant(1)), b)

    def _constant(self, *numbers: int) -> str:
        return self.graph.constant(np.array(numbers))
