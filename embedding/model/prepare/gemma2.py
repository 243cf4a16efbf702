"""The text encoder of EmbeddingGemma 2, as a graph.

Reference: transformers' modeling_embedding_gemma2.py. Its layers are those of Gemma 3, but the size of a head depends
on the kind of layer, values have a norm, scores are not scaled, norms' weights are the factors themselves, and each
layer has a third block, gated by a second embedding of the token.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from embedding.model.prepare import gemma
from embedding.model.prepare.attention import BlockedAttention
from embedding.model.prepare.checkpoint import Checkpoint, require
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Linear
from embedding.model.prepare.ragged_inputs import RaggedInputs

embedding_table = gemma.embedding_table


def check(config: Any) -> None:
    """Raises UnsupportedModel where the config asks for what this graph does not do."""
    require(config.hidden_activation == "gelu_pytorch_tanh", f"activation {config.hidden_activation}")
    require(not config.attention_bias, "attention with biases (attention_bias)")
    gemma.check_rotation(config)


def encoder(graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> str:
    """Adds the encoder; returns the name of the token vectors, (tokens, dimension), before their projection."""
    return _Gemma2(graph, inputs, checkpoint, linear).encode()


class _Gemma2(gemma.Gemma):
    def __init__(self, graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> None:
        super().__init__(graph, inputs, checkpoint, linear)
        self.blocks = BlockedAttention(graph, inputs)
        self.radii = {"full_attention": None, "sliding_attention": self.config.sliding_window}
        self.gating = self._gating_embeddings(checkpoint.layers)

    def _layer(self, i: int, kind: str, branch: str, residual: str) -> tuple[str, str]:
        branch, residual = super()._layer(i, kind, branch, residual)
        graph, path = self.graph, f"layers.{i}.ple_block"
        residual = graph.op("Add", residual, branch)
        projection = self._weight(f"{path}.per_layer_projection")
        divisor = self.linear.divisor(f"{i}.ple_projection", projection)
        embedding = self._norm(self.gating[i], self._factor("ple.per_layer_projection_norm") / divisor)
        weight = self._weight(f"{path}.per_layer_input_gate")
        (gate,) = self._divided_products(f"{i}.ple_gate", residual, weight, weight.shape[1:])
        hidden = graph.op("Mul", graph.op("Gelu", gate, approximate="tanh"), embedding)
        y = self.linear.product(f"{i}.ple_projection", hidden, projection * divisor[:, None], scale_free=True)
        scalar = self.tensors[f"layers.{i}.layer_scalar"]
        if scalar != 1:
            residual = graph.op("Mul", residual, graph.constant(scalar))
        return self._norm(y, self._factor(f"{path}.post_per_layer_input_norm") * scalar), residual

    def _gating_embeddings(self, layers: int) -> list[str]:
        """For each layer the embeddings that gate it, without their norm."""
        size = self.config.hidden_size_per_layer_input
        weight = self._weight("ple.per_layer_model_projection")[:, : layers * size]
        scale = np.float32(self.config.hidden_size**-0.5)
        return self._divided_products("ple", self.inputs.embeddings, weight * scale, [size] * layers)

    def _divided_products(self, site: str, x: str, weight: np.ndarray, parts: Sequence[int]) -> list[str]:
        """The products of an x that also goes elsewhere, so that nothing before it can absorb its divisor."""
        divisor = self.linear.divisor(site, weight, parts)
        if (divisor != 1).any():
            x = self.graph.op("Mul", x, self.graph.constant(1 / divisor))
        return self.linear.products(site, x, weight * divisor[:, None], parts)

    def _read_attention(self, i: int) -> gemma.Attention:
        """What comes before a product absorbs the divisor of its input: the norms of the layer's input and of v."""
        w = {n: self._weight(f"layers.{i}.self_attn.{n}_proj") for n in "qkvo"}
        o_divisor = self.linear.divisor(f"{i}.o", w["o"], repeats=self.heads)
        qkv = np.hstack([w["q"], w["k"], w["v"]])
        qkv_divisor = self.linear.divisor(f"{i}.qkv", qkv, parts=[w[n].shape[1] for n in "qkv"])
        norms = {n: self._factor(f"layers.{i}.self_attn.{n}_norm") for n in "qk"}
        norms["v"] = 1 / o_divisor[: len(o_divisor) // self.heads]
        norms["input"] = self._factor(f"layers.{i}.input_layernorm") / qkv_divisor
        norms["post"] = self._factor(f"layers.{i}.post_attention_layernorm")
        return gemma.Attention(norms, qkv * qkv_divisor[:, None], w["o"] * o_divisor[:, None])

    def _attention(self, i: int, kind: str, x: str, layer: gemma.Attention) -> str:
        head = self._head(kind)
        shared = self.config.per_layer_config[i].num_key_value_heads
        heads = {"q": self.heads, "k": shared, "v": shared}
        sizes = [n * head for n in heads.values()]
        parts = dict(zip(heads, self.linear.products(f"{i}.qkv", x, layer.qkv, sizes), strict=True))
        q, k, v = (self._norm(self._reshape(parts[n], -1, heads[n], head), layer.norms[n]) for n in heads)
        q, k = self._rotate(q, kind, self.heads), self._rotate(k, kind, shared)
        mixed = self.blocks.attend(q, k, self._reshape(v, -1, shared * head), self.heads, shared, self.radii[kind])
        y = self.linear.product(f"{i}.o", mixed, layer.o, scale_free=True)
        return self._norm(y, layer.norms["post"])

    def _factor(self, name: str) -> np.ndarray:
        return self.tensors[f"{name}.weight"]
