"""The Gemma 3 text encoder with bidirectional attention, as a graph.

Reference: transformers' modeling_gemma3.py. Two things keep the graph small. Weights that read the same input become
one product. And since there is a single key/value head, one product multiplies the queries of all heads by the keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedding.model.prepare.checkpoint import Checkpoint, require
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Linear
from embedding.model.prepare.ragged_inputs import RaggedInputs
from embedding.model.ragged import attention_length


def check(config: Any) -> None:
    """Raises UnsupportedModel where the config asks for what this graph does not do."""
    require(bool(config.use_bidirectional_attention), "Gemma 3 with causal attention (use_bidirectional_attention)")
    require(config.num_key_value_heads == 1, f"more than one key/value head ({config.num_key_value_heads})")
    require(config.hidden_activation == "gelu_pytorch_tanh", f"activation {config.hidden_activation}")
    require(not config.attention_bias, "attention with biases (attention_bias)")
    require(not config.attn_logit_softcapping, "attention with capped logits (attn_logit_softcapping)")
    for rope in (config.rope_parameters[kind] for kind in set(config.layer_types)):
        kind = rope.get("rope_type", "default")
        require(kind == "default", f"scaled rotary embedding (rope_type {kind})")
        require(rope.get("partial_rotary_factor", 1) == 1, "partial rotary embedding (partial_rotary_factor)")


def embedding_table(checkpoint: Checkpoint) -> np.ndarray:
    """The vectors of the vocabulary, (vocabulary, dimension), scaled as the encoder reads them."""
    return checkpoint.tensors["embed_tokens.weight"] * np.float32(checkpoint.config.hidden_size**0.5)


def encoder(graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> str:
    """Adds the encoder; returns the name of the token vectors, (tokens, dimension)."""
    return _Gemma(graph, inputs, checkpoint, linear).encode()


@dataclass(frozen=True)
class _Layer:
    """A layer's weights (in, out) and its norms' factors, with every divisor already absorbed."""

    norms: Mapping[str, np.ndarray]
    qkv: np.ndarray
    o: np.ndarray
    gate_up: np.ndarray
    down: np.ndarray


class _Gemma:
    def __init__(self, graph: Graph, inputs: RaggedInputs, checkpoint: Checkpoint, linear: Linear) -> None:
        self.graph, self.inputs, self.linear = graph, inputs, linear
        self.config, self.tensors = checkpoint.config, checkpoint.tensors
        self.heads: int = self.config.num_attention_heads
        self.head: int = self.config.head_dim
        self.kinds = self.config.layer_types[: checkpoint.layers]
        # For bidirectional attention transformers halves the file's window: 512 becomes 257, which lets a token see
        # those up to 256 away.
        windows = {"full_attention": 0, "sliding_attention": self.config.sliding_window}
        kinds = set(self.kinds)
        self.biases = {kind: inputs.attention_bias(windows[kind]) for kind in kinds}
        self.rotations = {kind: self._rotation(kind, attention_length(checkpoint.max_tokens)) for kind in kinds}

    def encode(self) -> str:
        branch, residual = "", self.inputs.embeddings
        for i, kind in enumerate(self.kinds):
            layer = self._read_layer(i)
            x, residual = self._add_and_norm(branch, residual, layer.norms["input"])
            branch = self._attention(i, kind, x, layer)
            x, residual = self._add_and_norm(branch, residual, layer.norms["pre_feedforward"])
            branch = self._feedforward(i, x, layer)
        return self._add_and_norm(branch, residual, self._factor("norm"))[0]

    def _read_layer(self, i: int) -> _Layer:
        """The layer's weights; what comes before a product absorbs the divisor of its input: a norm, v or up."""
        w = {n: self.tensors[f"layers.{i}.self_attn.{n}_proj.weight"].T for n in "qkvo"}
        w |= {n: self.tensors[f"layers.{i}.mlp.{n}_proj.weight"].T for n in ("gate", "up", "down")}
        o_divisor = self.linear.divisor(f"{i}.o", w["o"], repeats=self.heads)
        down_divisor = self.linear.divisor(f"{i}.down", w["down"])
        qkv = np.hstack([w["q"], w["k"], w["v"] / o_divisor[: self.head]])
        gate_up = np.hstack([w["gate"], w["up"] / down_divisor])
        qkv_parts, gate_up_parts = [w[n].shape[1] for n in "qkv"], [w[n].shape[1] for n in ("gate", "up")]
        qkv_divisor = self.linear.divisor(f"{i}.qkv", qkv, parts=qkv_parts)
        gate_up_divisor = self.linear.divisor(f"{i}.gate_up", gate_up, parts=gate_up_parts)
        sides = ("input", "post_attention", "pre_feedforward", "post_feedforward")
        norms = {side: self._factor(f"layers.{i}.{side}_layernorm") for side in sides}
        norms["input"] = norms["input"] / qkv_divisor
        norms["pre_feedforward"] = norms["pre_feedforward"] / gate_up_divisor
        norms |= {n: self._factor(f"layers.{i}.self_attn.{n}_norm") for n in "qk"}
        return _Layer(
            norms=norms,
            qkv=qkv * qkv_divisor[:, None],
            o=w["o"] * o_divisor[:, None],
            gate_up=gate_up * gate_up_divisor[:, None],
            down=w["down"] * down_divisor[:, None],
        )

    def _attention(self, i: int, kind: str, x: str, layer: _Layer) -> str:
        graph, dimension = self.graph, self.heads * self.head
        texts = self.inputs.pad(self.linear.product(f"{i}.qkv", x, layer.qkv))
        split = graph.constant(np.array([dimension, self.head, self.head]))
        q, k, v = graph.ops("Split", texts, split, outputs=3, axis=-1)
        q = self._reshape(self._norm(self._reshape(q, 0, 0, self.heads, self.head), layer.norms["q"]), 0, 0, dimension)
        q, k = self._rotate(q, kind, self.heads), self._rotate(self._norm(k, layer.norms["k"]), kind, 1)
        scale = self.config.query_pre_attn_scalar**-0.5
        scores = graph.fused("FusedMatMul", self._reshape(q, 0, -1, self.head), k, transB=1, alpha=scale)
        # (texts, tokens × heads, tokens) and back: the bias is the same for every head
        scores = graph.op("Reshape", scores, self.inputs.scores_shape(self.heads))
        weights = graph.op("Softmax", graph.op("Add", scores, self.biases[kind]), axis=-1)
        mixed = graph.op("MatMul", graph.op("Reshape", weights, self.inputs.stacked_shape), v)
        mixed = self.inputs.unpad(self._reshape(mixed, -1, dimension))
        y = self.linear.product(f"{i}.o", mixed, layer.o, scale_free=True)
        return self._norm(y, layer.norms["post_attention"])

    def _feedforward(self, i: int, x: str, layer: _Layer) -> str:
        graph = self.graph
        y = self.linear.product(f"{i}.gate_up", x, layer.gate_up)
        gate, up = graph.ops("Split", y, outputs=2, axis=-1, num_outputs=2)
        hidden = graph.op("Mul", graph.op("Gelu", gate, approximate="tanh"), up)
        y = self.linear.product(f"{i}.down", hidden, layer.down, scale_free=True)
        return self._norm(y, layer.norms["post_feedforward"])

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
        base = self.config.rope_parameters[kind]["rope_theta"]
        exponents = np.arange(0, self.head, 2, dtype=np.float32) / np.float32(self.head)
        angles = np.arange(positions, dtype=np.float32)[:, None] * (np.float32(1) / np.float32(base) ** exponents)
        return self.graph.constant(np.cos(angles)), self.graph.constant(np.sin(angles))

    def _rotate(self, x: str, kind: str, heads: int) -> str:
        start = self.graph.constant(np.array([0]))
        return self.graph.fused("RotaryEmbedding", x, start, *self.rotations[kind], num_heads=heads)

    def _reshape(self, x: str, *shape: int) -> str:
        return self.graph.op("Reshape", x, self.graph.constant(np.array(shape)))
