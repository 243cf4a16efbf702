"""The Gemma 3 text encoder with bidirectional attention, as a graph.

Reference: transformers' modeling_gemma3.py. Two things keep the graph quick. Weights that read the same input are
quantized together, and the input once. And since there is a single key/value head, one product multiplies the queries
of all heads by the keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedding.model.prepare.checkpoint import Checkpoint, require
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Linear
from embedding.model.prepare.ragged_inputs import RaggedInputs
from embedding.model.ragged import longest_run


def check(config: Any) -> None:
    """Raises UnsupportedModel where the config asks for what this graph does not do."""
    require(bool(config.use_bidirectional_attention), "Gemma 3 with causal attention (use_bidirectional_attention)")
    require(config.num_key_value_heads == 1, f"more than one key/value head ({config.num_key_value_heads})")
    require(config.hidden_activation == "gelu_pytorch_tanh", f"activation {config.hidden_activation}")
    require(not config.attention_bias, "attention with biases (attention_bias)")
    require(not config.attn_logit_softcapping, "attention with capped logits (attn_logit_softcapping)")
    check_rotation(config)


def check_rotation(config: Any) -> None:
    """Raises UnsupportedModel where positions turn queries and keys otherwise than by angles in proportion to them."""
    for rope in (config.rope_parameters[kind] for kind in set(config.layer_types)):
        kind = rope.get("rope_type", "default")
        require(kind == "default", f"scaled rotary embedding (rope_type {kind})")
        require(rope.get("partial_rotary_factor", 1) == 1, "partial rotary embedding (partial_rotary_factor)")


def embedding_table(checkpoint: Checkpoint) -> np.ndarray:
    """The vectors of the vocabulary, (vocabulary, dimension), scaled as the encoder reads them."""
    return checkpoint.tensors["embed_tokens.weight"] * np.float32(checkpoint.config.hidden_size**0.5)


def encoder(graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> str:
    """Adds the encoder; returns the name of the token vectors, (tokens, dimension)."""
    return Gemma(graph, inputs, checkpoint, linear).encode()


@dataclass(frozen=True)
class Attention:
    """The weights (in, out) of a layer's attention and its norms' factors, with every divisor already absorbed."""

    norms: Mapping[str, np.ndarray]
    qkv: np.ndarray
    o: np.ndarray


@dataclass(frozen=True)
class Feedforward:
    """The same of its feedforward block."""

    norms: Mapping[str, np.ndarray]
    gate_up: np.ndarray
    down: np.ndarray


class Gemma:
    """Adds the encoder; gemma2.py overrides what is otherwise in EmbeddingGemma 2."""

    def __init__(self, graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> None:
        self.graph, self.inputs, self.linear = graph, inputs, linear
        self.config, self.tensors = checkpoint.config, checkpoint.tensors
        self.heads: int = self.config.num_attention_heads
        self.kinds = self.config.layer_types[: checkpoint.layers]
        # For bidirectional attention transformers halves the file's window: 512 becomes 257, which lets a token see
        # those up to 256 away.
        self.radii = {"full_attention": None, "sliding_attention": self.config.sliding_window - 1}
        self.positions = graph.op("Unsqueeze", inputs.positions, graph.constant(np.array([0])))
        # RotaryEmbedding wants a row for each token of a run, although a row's place is its token's position.
        rows = longest_run(checkpoint.max_tokens)
        self.rotations = {kind: self._rotation(kind, rows) for kind in set(self.kinds)}

    def encode(self) -> str:
        branch, residual = "", self.inputs.embeddings
        for i, kind in enumerate(self.kinds):
            branch, residual = self._layer(i, kind, branch, residual)
        return self._add_and_norm(branch, residual, self._factor("norm"))[0]

    def _layer(self, i: int, kind: str, branch: str, residual: str) -> tuple[str, str]:
        """The layer's last branch and the residual, not yet added; `branch` and `residual` are those before it."""
        attention = self._read_attention(i)
        x, residual = self._add_and_norm(branch, residual, attention.norms["input"])
        branch = self._attention(i, kind, x, attention)
        feedforward = self._read_feedforward(i)
        x, residual = self._add_and_norm(branch, residual, feedforward.norms["pre"])
        return self._feedforward(i, x, feedforward), residual

    def _read_attention(self, i: int) -> Attention:
        """What comes before a product absorbs the divisor of its input: the norm, and v."""
        w = {n: self._weight(f"layers.{i}.self_attn.{n}_proj") for n in "qkvo"}
        o_divisor = self.linear.divisor(f"{i}.o", w["o"], repeats=self.heads)
        qkv = np.hstack([w["q"], w["k"], w["v"] / o_divisor[: w["v"].shape[1]]])
        qkv_divisor = self.linear.divisor(f"{i}.qkv", qkv, parts=[w[n].shape[1] for n in "qkv"])
        norms = {n: self._factor(f"layers.{i}.self_attn.{n}_norm") for n in "qk"}
        norms["input"] = self._factor(f"layers.{i}.input_layernorm") / qkv_divisor
        norms["post"] = self._factor(f"layers.{i}.post_attention_layernorm")
        return Attention(norms, qkv * qkv_divisor[:, None], w["o"] * o_divisor[:, None])

    def _read_feedforward(self, i: int) -> Feedforward:
        """What comes before a product absorbs the divisor of its input: the norm, and up."""
        w = {n: self._weight(f"layers.{i}.mlp.{n}_proj") for n in ("gate", "up", "down")}
        down_divisor = self.linear.divisor(f"{i}.down", w["down"])
        gate_up = np.hstack([w["gate"], w["up"] / down_divisor])
        gate_up_divisor = self.linear.divisor(f"{i}.gate_up", gate_up, parts=[w[n].shape[1] for n in ("gate", "up")])
        norms = {side: self._factor(f"layers.{i}.{side}_feedforward_layernorm") for side in ("pre", "post")}
        norms["pre"] = norms["pre"] / gate_up_divisor
        return Feedforward(norms, gate_up * gate_up_divisor[:, None], w["down"] * down_divisor[:, None])

    def _attention(self, i: int, kind: str, x: str, layer: Attention) -> str:
        head = self._head(kind)
        q, k, v = self.linear.products(f"{i}.qkv", x, layer.qkv, [self.heads * head, head, head])
        q = self._rotate(self._norm(self._reshape(q, -1, self.heads, head), layer.norms["q"]), kind, self.heads)
        k = self._rotate(self._norm(k, layer.norms["k"]), kind, 1)
        scale = self.config.query_pre_attn_scalar**-0.5
        mixed = self.inputs.attend(q, k, v, self.heads, head, scale, self.radii[kind])
        y = self.linear.product(f"{i}.o", mixed, layer.o, scale_free=True)
        return self._norm(y, layer.norms["post"])

    def _feedforward(self, i: int, x: str, layer: Feedforward) -> str:
        graph = self.graph
        gate, up = self.linear.products(f"{i}.gate_up", x, layer.gate_up, [layer.gate_up.shape[1] // 2] * 2)
        hidden = graph.op("Mul", graph.op("Gelu", gate, approximate="tanh"), up)
        y = self.linear.product(f"{i}.down", hidden, layer.down, scale_free=True)
        return self._norm(y, layer.norms["post"])

    def _weight(self, name: str) -> np.ndarray:
        return self.tensors[f"{name}.weight"].T

    def _factor(self, name: str) -> np.ndarray:
        # stored as an offset from 1
        return self.tensors[f"{name}.weight"] + np.float32(1)

    def _norm(self, x: str, factor: np.ndarray) -> str:
        eps = self.config.rms_norm_eps
        return self.graph.op("SimplifiedLayerNormalization", x, self.graph.constant(factor), axis=-1, epsilon=eps)

    def _add_and_norm(self, branch: str, residual: str, factor: np.ndarray) -> tuple[str, str]:
        """Adds the branch to the residual; returns their norm and their sum."""
        if not branch:
            return self._norm(residual, factor), residual
        outputs = self.graph.ops(
            "SkipSimplifiedLayerNormalization",
            *(branch, residual, self.graph.constant(factor)),
            outputs=4,
            domain="com.microsoft",
            epsilon=self.config.rms_norm_eps,
        )
        return outputs[0], outputs[3]

    def _rotation(self, kind: str, positions: int) -> tuple[str, str]:
        """The cosines and sines of a kind of layer, (positions, head / 2) each."""
        frequencies = self.tensors[f"rotary_emb.{kind}_inv_freq"]
        angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies
        return self.graph.constant(np.cos(angles)), self.graph.constant(np.sin(angles))

    def _rotate(self, x: str, kind: str, heads: int) -> str:
        """Turns x (tokens, heads × head), in any shape, by each token's position."""
        size = heads * self._head(kind)
        rows = self._reshape(x, 1, -1, size)
        rows = self.graph.fused("RotaryEmbedding", rows, self.positions, *self.rotations[kind], num_heads=heads)
        return self._reshape(rows, -1, size)

    def _head(self, kind: str) -> int:
        """The size of a head, whose numbers turn in pairs."""
        return 2 * len(self.tensors[f"rotary_emb.{kind}_inv_freq"])

    def _reshape(self, x: str, *shape: int) -> str:
        return self.graph.op("Reshape", x, self.graph.constant(np.array(shape)))
