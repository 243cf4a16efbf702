"""Writes a model's graph in one precision: encoder, pooling, Dense layers, normalisation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embedding.model.errors import UnsupportedModel
from embedding.model.prepare import bert, gemma, gemma2
from embedding.model.prepare.checkpoint import Checkpoint, Dense
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Linear
from embedding.model.prepare.ragged_inputs import RaggedInputs

ENCODERS = {"gemma3_text": gemma, "embedding_gemma2_text": gemma2, "bert": bert}


def encoder_of(checkpoint: Checkpoint) -> Any:
    """The module that knows this kind of encoder; raises UnsupportedModel."""
    kind = checkpoint.config.model_type
    if kind not in ENCODERS:
        raise UnsupportedModel(f"a {kind} encoder is not supported by the onnx engine: only {', '.join(ENCODERS)}")
    module = ENCODERS[kind]
    module.check(checkpoint.config)
    return module


def build(path: Path, checkpoint: Checkpoint, graph: Graph, linear: Linear) -> None:
    """Writes the graph to `path`. It takes the arrays of `ragged.ragged_batch`.

    It gives `vectors` (texts, dimension); `tokens` (tokens, hidden size), the encoder's own vector of each token; and,
    where the model normalises, `lengths` (texts, 1): how long each vector was before.
    """
    inputs = RaggedInputs(graph, checkpoint.config.hidden_size)
    tokens = encoder_of(checkpoint).encoder(graph, inputs, checkpoint, linear)
    vectors = inputs.pool(tokens)
    for dense in merge_linear_layers(checkpoint.dense):
        vectors = _dense(graph, vectors, dense)
    lengths = {}
    if checkpoint.normalize:
        lengths["lengths"] = graph.op("ReduceL2", vectors, graph.constant(np.array([-1])), keepdims=1)
        vectors = graph.op("LpNormalization", vectors, axis=-1, p=2)
    if checkpoint.truncate_dim:
        # It cuts the vectors last of all, and leaves them as long as that makes them.
        ends = (graph.constant(np.array([end])) for end in (0, checkpoint.truncate_dim, -1))
        vectors = graph.op("Slice", vectors, *ends)
    graph.save(path, {"vectors": vectors, **lengths, "tokens": tokens})


def first_layer(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with one layer, in which a machine's speed shows in a moment."""
    return replace(checkpoint, layers=1, dense=(), truncate_dim=None)


def dimension(checkpoint: Checkpoint) -> int:
    """How many numbers a vector has."""
    whole = int(checkpoint.dense[-1].weight.shape[1] if checkpoint.dense else checkpoint.config.hidden_size)
    return min(whole, checkpoint.truncate_dim or whole)


def merge_linear_layers(layers: Sequence[Dense]) -> list[Dense]:
    """The same function in fewer layers: two without an activation between them become one, where that is smaller."""
    result: list[Dense] = []
    for layer in layers:
        last = result[-1] if result else None
        if last and last.activation == "Identity" and _merged_size(last, layer) < last.weight.size + layer.weight.size:
            result[-1] = _merge(last, layer)
        else:
            result.append(layer)
    return result


def _merged_size(first: Dense, second: Dense) -> int:
    return int(first.weight.shape[0] * second.weight.shape[1])


def _merge(first: Dense, second: Dense) -> Dense:
    weight = first.weight.astype(np.float64) @ second.weight
    biases = [b for b in (None if first.bias is None else first.bias @ second.weight, second.bias) if b is not None]
    return Dense(weight.astype(np.float32), sum(biases[1:], biases[0]) if biases else None, second.activation)


def _dense(graph: Graph, x: str, dense: Dense) -> str:
    x = graph.op("MatMul", x, graph.constant(dense.weight))
    if dense.bias is not None:
        x = graph.op("Add", x, graph.constant(dense.bias))
    return x if dense.activation == "Identity" else graph.op(dense.activation, x)
