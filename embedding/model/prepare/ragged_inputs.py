"""The ragged batch as the inputs of a graph: tokens end to end for the linear layers, texts apart for attention.

A graph's inputs: `rows` (tokens, dimension), the embedding rows of all texts end to end; `slots` (texts, length), for
each place of a text the index of its row, where `length` is the texts' common length rounded up; `bias` (texts,
length), 0 at a text's own places and -inf past its end; `places` (tokens,), the place of each row in the flattened
`slots`; `shares` (texts, tokens), what each row weighs in each text's pooled vector.
"""

from functools import cached_property

import numpy as np
from onnx import TensorProto

from embedding.model.prepare.graph import Graph

INT32 = TensorProto.INT32


class RaggedInputs:
    """Declares the inputs and adds the nodes that move token vectors between the two layouts."""

    def __init__(self, graph: Graph, dimension: int) -> None:
        self.graph = graph
        self.rows = graph.input("rows", "float32", ["tokens", dimension])
        self.slots = graph.input("slots", "int64", ["texts", "length"])
        self.places = graph.input("places", "int64", ["tokens"])
        self.shares = graph.input("shares", "float32", ["texts", "tokens"])
        self.own = graph.input("bias", "float32", ["texts", "length"])
        self._by_head: dict[int, str] = {}
        self.length = graph.op("Shape", self.slots, start=1, end=2)

    @cached_property
    def positions(self) -> str:
        """Each row's position in its text, (tokens,); an input only of graphs that ask for it."""
        return self.graph.input("positions", "int64", ["tokens"])

    def mask(self) -> str:
        """1 at a text's own places and 0 past its end, (texts, length) of int32."""
        return self.graph.op("Cast", self.graph.op("Equal", self.own, self.graph.constant(np.float32(0))), to=INT32)

    def spread(self, x: str) -> str:
        """(tokens, dimension) to (texts, length, dimension); what lies past a text's end is of no meaning."""
        return self.graph.op("Gather", x, self.slots, axis=0)

    def gather(self, x: str) -> str:
        """(texts × length, dimension) back to (tokens, dimension)."""
        return self.graph.op("Gather", x, self.places, axis=0)

    def pool(self, x: str) -> str:
        """(tokens, dimension) to (texts, dimension)."""
        return self.graph.op("MatMul", self.shares, x)

    def bias(self, window: int = 0) -> str:
        """What to add to attention scores (texts, length, heads, length); a window hides tokens that far apart."""
        graph = self.graph
        own = graph.op("Unsqueeze", self.own, graph.constant(np.array([1, 2])))
        if not window:
            return own
        scalar = graph.op("Squeeze", self.length)
        steps = graph.op("Range", graph.constant(np.int64(0)), scalar, graph.constant(np.int64(1)))
        steps = graph.op("Cast", steps, to=INT32)
        down, across = (graph.op("Unsqueeze", steps, graph.constant(np.array([axis]))) for axis in (1, 0))
        apart = graph.op("Abs", graph.op("Sub", down, across))
        seen = graph.op("Less", apart, graph.constant(np.int32(window)))
        values = graph.constant(np.float32(0)), graph.constant(np.float32(-np.inf))
        hidden = graph.op("Unsqueeze", graph.op("Where", seen, *values), graph.constant(np.array([1])))
        return graph.op("Add", own, hidden)

    def by_head(self, heads: int) -> str:
        """The shape (texts, length, heads, length), from (texts, length × heads, length)."""
        if heads not in self._by_head:
            self._by_head[heads] = self._shape(self.length, np.array([heads]), self.length)
        return self._by_head[heads]

    @cached_property
    def stacked(self) -> str:
        """The shape (texts, length × heads, length), from (texts, length, heads, length)."""
        return self._shape(np.array([-1]), self.length)

    def _shape(self, *dimensions: str | np.ndarray) -> str:
        names = [d if isinstance(d, str) else self.graph.constant(d) for d in (np.array([0]), *dimensions)]
        return self.graph.op("Concat", *names, axis=0)
