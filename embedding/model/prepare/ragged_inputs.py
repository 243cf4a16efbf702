"""The ragged batch as the inputs of a graph: unpadded for the linear layers, padded for attention.

A graph's inputs: `embeddings` (tokens, dimension), those of all texts end to end; `pad_index` (texts, length), for
each position of the padded batch the token that it takes, where `length` is the texts' common length, rounded up;
`attention_bias` (texts, length), 0 at a text's own positions and -inf past its end; `unpad_index` (tokens,), each
token's place in the padded batch, flattened; `positions` (tokens,), each token's position in its text;
`pooling_weights` (texts, tokens), what each token weighs in each text's pooled vector.
"""

from functools import cached_property

import numpy as np
from onnx import TensorProto

from embedding.model.prepare.graph import Graph

INT32 = TensorProto.INT32


class RaggedInputs:
    """Declares the inputs, and adds the nodes that pad and unpad token vectors."""

    def __init__(self, graph: Graph, dimension: int) -> None:
        self.graph = graph
        self.embeddings = graph.input("embeddings", "float32", ["tokens", dimension])
        self.pad_index = graph.input("pad_index", "int64", ["texts", "length"])
        self.unpad_index = graph.input("unpad_index", "int64", ["tokens"])
        self.pooling_weights = graph.input("pooling_weights", "float32", ["texts", "tokens"])
        self.padding_bias = graph.input("attention_bias", "float32", ["texts", "length"])
        self._scores_shapes: dict[int, str] = {}
        self.length = graph.op("Shape", self.pad_index, start=1, end=2)

    @cached_property
    def positions(self) -> str:
        """Each token's position in its text, (tokens,); an input only of graphs that ask for it."""
        return self.graph.input("positions", "int64", ["tokens"])

    def mask(self) -> str:
        """The attention mask (texts, length) of int32: 1 at a text's own positions and 0 past its end."""
        return self.graph.op(
            "Cast", self.graph.op("Equal", self.padding_bias, self.graph.constant(np.float32(0))), to=INT32
        )

    def pad(self, x: str) -> str:
        """(tokens, dimension) to (texts, length, dimension); what stands past a text's end has no meaning."""
        return self.graph.op("Gather", x, self.pad_index, axis=0)

    def unpad(self, x: str) -> str:
        """(texts × length, dimension) back to (tokens, dimension)."""
        return self.graph.op("Gather", x, self.unpad_index, axis=0)

    def pool(self, x: str) -> str:
        """(tokens, dimension) to (texts, dimension)."""
        return self.graph.op("MatMul", self.pooling_weights, x)

    def attention_bias(self, window: int = 0) -> str:
        """What to add to attention scores (texts, length, heads, length); a window hides tokens that far apart."""
        graph = self.graph
        padding = graph.op("Unsqueeze", self.padding_bias, graph.constant(np.array([1, 2])))
        if not window:
            return padding
        scalar = graph.op("Squeeze", self.length)
        positions = graph.op("Range", graph.constant(np.int64(0)), scalar, graph.constant(np.int64(1)))
        positions = graph.op("Cast", positions, to=INT32)
        queries, keys = (graph.op("Unsqueeze", positions, graph.constant(np.array([axis]))) for axis in (1, 0))
        distance = graph.op("Abs", graph.op("Sub", queries, keys))
        seen = graph.op("Less", distance, graph.constant(np.int32(window)))
        values = graph.constant(np.float32(0)), graph.constant(np.float32(-np.inf))
        hidden = graph.op("Unsqueeze", graph.op("Where", seen, *values), graph.constant(np.array([1])))
        return graph.op("Add", padding, hidden)

    def scores_shape(self, heads: int) -> str:
        """The shape (texts, length, heads, length), from (texts, length × heads, length)."""
        if heads not in self._scores_shapes:
            self._scores_shapes[heads] = self._shape(self.length, np.array([heads]), self.length)
        return self._scores_shapes[heads]

    @cached_property
    def stacked_shape(self) -> str:
        """The shape (texts, length × heads, length), from (texts, length, heads, length)."""
        return self._shape(np.array([-1]), self.length)

    def _shape(self, *dimensions: str | np.ndarray) -> str:
        names = [d if isinstance(d, str) else self.graph.constant(d) for d in (np.array([0]), *dimensions)]
        return self.graph.op("Concat", *names, axis=0)
