"""The BERT encoder, as a graph. Reference: transformers' modeling_bert.py, without its pooler."""

from typing import Any

import numpy as np

from embedding.model.prepare.checkpoint import Checkpoint, require
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Linear
from embedding.model.prepare.ragged_inputs import RaggedInputs

# The least value of x · Φ(x), rounded down.
GELU_LOWER_BOUND = -0.17


def check(config: Any) -> None:
    """Raises UnsupportedModel where the config asks for what this graph does not do."""
    require(config.hidden_act == "gelu", f"activation {config.hidden_act}")
    positions = getattr(config, "position_embedding_type", "absolute")
    require(positions == "absolute", f"position_embedding_type {positions}")
    require(not getattr(config, "is_decoder", False), "BERT as a decoder (is_decoder)")
    require(not getattr(config, "is_causal", False), "BERT with causal attention (is_causal)")


def embedding_table(checkpoint: Checkpoint) -> np.ndarray:
    """The vectors of the vocabulary, (vocabulary, dimension); every token's type is 0, so its vector is added here."""
    types = checkpoint.tensors["embeddings.token_type_embeddings.weight"]
    words = checkpoint.tensors["embeddings.word_embeddings.weight"]
    return np.asarray(words + types[0])


def encoder(graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> str:
    """Adds the encoder; returns the name of the token vectors, (tokens, dimension)."""
    return _Bert(graph, inputs, checkpoint, linear).encode()


class _Bert:
    def __init__(self, graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> None:
        self.graph, self.inputs, self.linear = graph, inputs, linear
        self.config, self.tensors, self.layers = checkpoint.config, checkpoint.tensors, checkpoint.layers
        self.mask = inputs.mask()

    def encode(self) -> str:
        graph = self.graph
        positions = graph.constant(self._tensor("embeddings.position_embeddings.weight"))
        x = graph.op("Add", self.inputs.embeddings, graph.op("Gather", positions, self.inputs.positions, axis=0))
        scale, shift = self._norm("embeddings.LayerNorm")
        x = graph.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=self.config.layer_norm_eps)
        for i in range(self.layers):
            x = self._feedforward(i, self._attention(i, x))
        return x

    def _attention(self, i: int, x: str) -> str:
        path = f"encoder.layer.{i}.attention"
        parts = [self._linear(f"{path}.self.{part}") for part in ("query", "key", "value")]
        weight, bias = np.hstack([w for w, _ in parts]), np.hstack([b for _, b in parts])
        y, bias = self.linear.affine(f"{i}.qkv", x, weight, bias, parts=[len(b) for _, b in parts])
        q, k, v = self.graph.ops("Split", self.inputs.pad(y), outputs=3, axis=-1, num_outputs=3)
        heads = self.config.num_attention_heads
        inputs = q, k, v, self.graph.constant(bias), self.mask
        mixed = self.graph.fused("MultiHeadAttention", *inputs, num_heads=heads, mask_filter_value=-1e30)
        flat = self.graph.op("Reshape", mixed, self.graph.constant(np.array([-1, self.config.hidden_size])))
        y, bias = self.linear.affine(f"{i}.o", self.inputs.unpad(flat), *self._linear(f"{path}.output.dense"))
        return self._add_and_norm(y, x, bias, f"{path}.output.LayerNorm")

    def _feedforward(self, i: int, x: str) -> str:
        path = f"encoder.layer.{i}"
        y, bias = self.linear.affine(f"{i}.up", x, *self._linear(f"{path}.intermediate.dense"))
        hidden = self.graph.fused("BiasGelu", y, self.graph.constant(bias))
        y, bias = self.linear.affine(
            f"{i}.down", hidden, *self._linear(f"{path}.output.dense"), lower_bound=GELU_LOWER_BOUND
        )
        return self._add_and_norm(y, x, bias, f"{path}.output.LayerNorm")

    def _add_and_norm(self, branch: str, residual: str, bias: np.ndarray, norm: str) -> str:
        inputs = branch, residual, *self._norm(norm), self.graph.constant(bias)
        return self.graph.fused("SkipLayerNormalization", *inputs, epsilon=self.config.layer_norm_eps)

    def _norm(self, path: str) -> tuple[str, str]:
        scale, shift = self._tensor(f"{path}.weight"), self._tensor(f"{path}.bias")
        return self.graph.constant(scale), self.graph.constant(shift)

    def _linear(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        return self._tensor(f"{path}.weight").T, self._tensor(f"{path}.bias")

    def _tensor(self, name: str) -> np.ndarray:
        return self.tensors[name]
