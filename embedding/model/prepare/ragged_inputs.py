"""The ragged batch as the inputs of a graph: unpadded for the linear layers, in blocks for attention.

A graph's inputs: `embeddings` (tokens, dimension), those of all texts end to end; `positions` (tokens,), each token's
position in its text; `pooling_weights` (texts, tokens), what each token weighs in each text's pooled vector. And for
attention in two views, `all`, for layers that see a whole text, and `near`, for those that see a window of it:
`queries` (blocks, block) and `keys` (blocks, span), for each block of queries the tokens that it takes and those that
it sees; `bias` (blocks, block or 1, span), to add to their scores, -inf where a query does not see a key; `places`
(tokens,), each token's place in the queries, flattened. In `all`, a text is a block.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from onnx import TensorProto

from embedding.model.prepare.graph import Graph
from embedding.model.ragged import RADIUS

INT32 = TensorProto.INT32


@dataclass(frozen=True)
class View:
    """The names of one view's inputs."""

    queries: str
    keys: str
    bias: str
    places: str


class RaggedInputs:
    """Declares the inputs, each once a graph asks for it, and adds the nodes that pad and unpad token vectors."""

    def __init__(self, graph: Graph, dimension: int) -> None:
        self.graph = graph
        self.embeddings = graph.input("embeddings", "float32", ["tokens", dimension])
        self.pooling_weights = graph.input("pooling_weights", "float32", ["texts", "tokens"])
        self._shapes: dict[tuple[str, int], tuple[str, str]] = {}
        self._head_biases: dict[str, str] = {}

    @cached_property
    def positions(self) -> str:
        """Each token's position in its text, (tokens,)."""
        return self.graph.input("positions", "int64", ["tokens"])

    @cached_property
    def _all(self) -> View:
        return self._view("all")

    @cached_property
    def _near(self) -> View:
        return self._view("near")

    def _view(self, name: str) -> View:
        blocks = f"{name}_blocks"
        return View(
            queries=self.graph.input(f"{name}_queries", "int64", [blocks, f"{name}_block"]),
            keys=self.graph.input(f"{name}_keys", "int64", [blocks, f"{name}_span"]),
            bias=self.graph.input(f"{name}_bias", "float32", [blocks, f"{name}_rows", f"{name}_span"]),
            places=self.graph.input(f"{name}_places", "int64", ["tokens"]),
        )

    @cached_property
    def length(self) -> str:
        """The texts' common length, rounded up, (1,)."""
        return self.graph.op("Shape", self._all.queries, start=1, end=2)

    @cached_property
    def padding_bias(self) -> str:
        """What to add to scores (texts, length): 0 at a text's own positions and -inf past its end."""
        return self.graph.op("Squeeze", self._all.bias, self.graph.constant(np.array([1])))

    def mask(self) -> str:
        """The attention mask (texts, length) of int32: 1 at a text's own positions and 0 past its end."""
        own = self.graph.op("Equal", self.padding_bias, self.graph.constant(np.float32(0)))
        return self.graph.op("Cast", own, to=INT32)

    def pad(self, x: str) -> str:
        """(tokens, dimension) to (texts, length, dimension); what stands past a text's end has no meaning."""
        return self.graph.op("Gather", x, self._all.queries, axis=0)

    def unpad(self, x: str) -> str:
        """(texts × length, dimension) back to (tokens, dimension)."""
        return self.graph.op("Gather", x, self._all.places, axis=0)

    def pool(self, x: str) -> str:
        """(tokens, dimension) to (texts, dimension)."""
        return self.graph.op("MatMul", self.pooling_weights, x)

    def attend(self, q: str, k: str, v: str, heads: int, head: int, scale: float, radius: int | None = None) -> str:
        """Attention of `heads` query heads to one key/value head, within each text: (tokens, heads × head).

        q (tokens, heads × head), k and v (tokens, head). With a `radius`, which is the same wherever a graph has one,
        a token sees those up to so far away, and the work grows with a text's length, not with its square.
        """
        graph = self.graph
        if radius is not None:
            graph.metadata[RADIUS] = str(radius)
        view = self._all if radius is None else self._near
        block_shape, stacked_shape = self._block_shapes(view, heads)
        queries = self._reshape(graph.op("Gather", q, view.queries, axis=0), 0, -1, head)
        keys, values = (graph.op("Gather", x, view.keys, axis=0) for x in (k, v))
        scores = graph.fused("FusedMatMul", queries, keys, transB=1, alpha=scale)
        # (blocks, block × heads, span) and back: the bias is the same for every head
        scores = graph.op("Add", graph.op("Reshape", scores, block_shape), self._head_bias(view))
        weights = graph.op("Reshape", graph.op("Softmax", scores, axis=-1), stacked_shape)
        mixed = self._reshape(graph.op("MatMul", weights, values), -1, heads * head)
        return graph.op("Gather", mixed, view.places, axis=0)

    def _block_shapes(self, view: View, heads: int) -> tuple[str, str]:
        """The shapes (blocks, block, heads, span) and (blocks, block × heads, span)."""
        key = view.keys, heads
        if key not in self._shapes:
            graph = self.graph
            blocks = graph.op("Shape", view.queries)
            span = graph.op("Shape", view.keys, start=1, end=2)
            ends = [graph.constant(np.array(end)) for end in ([heads], [0, -1])]
            self._shapes[key] = (
                graph.op("Concat", blocks, ends[0], span, axis=0),
                graph.op("Concat", ends[1], span, axis=0),
            )
        return self._shapes[key]

    def _head_bias(self, view: View) -> str:
        """The bias (blocks, block or 1, 1, span), computed once a run."""
        if view.bias not in self._head_biases:
            self._head_biases[view.bias] = self.graph.op("Unsqueeze", view.bias, self.graph.constant(np.array([2])))
        return self._head_biases[view.bias]

    def _reshape(self, x: str, *shape: int) -> str:
        return self.graph.op("Reshape", x, self.graph.constant(np.array(shape)))
