"""Runs the float32 graph on sample texts, and keeps statistics of the inputs of its linear layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from embedding.model.ragged import Text, group_by_length, ragged_batch
from embedding.model.table import Table

SAMPLES = 256
TINY = 1e-12


@dataclass(frozen=True)
class Statistics:
    """The inputs of a linear layer."""

    gram: np.ndarray
    """The sum of their outer products, (in, in), each input scaled to one length: a few large tokens would hide the
    rest."""
    count: int
    channel_max: np.ndarray
    """The largest magnitude of each channel, (in,)."""
    samples: np.ndarray
    """Some of them, (samples, in)."""


def calibrate(model: Path, inputs: Mapping[str, str], table: Table, texts: Sequence[Text]) -> dict[str, Statistics]:
    """Statistics of every site, from its input's name in the float32 graph, over texts of token ids."""
    session = _session(model, list(inputs.values()))
    names = {node.name for node in session.get_inputs()}
    grams: dict[str, np.ndarray] = {}
    kept: dict[str, list[np.ndarray]] = {site: [] for site in inputs}
    count = sum(map(len, texts))
    step = max(1, count // SAMPLES)
    for run in group_by_length([len(text) for text in texts]):
        feed = {
            name: array for name, array in ragged_batch([texts[i] for i in run], table, "mean").items() if name in names
        }
        for (site, _), rows in zip(inputs.items(), session.run(list(inputs.values()), feed), strict=True):
            scaled = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + TINY)
            grams[site] = grams.get(site, 0) + scaled.T @ scaled
            kept[site] += [np.abs(rows).max(axis=0, keepdims=True), rows[::step]]
    return {
        site: Statistics(grams[site], count, np.vstack(kept[site][::2]).max(axis=0), np.vstack(kept[site][1::2]))
        for site in inputs
    }


def _session(path: Path, outputs: Sequence[str]) -> ort.InferenceSession:
    """The graph with more of its values made outputs."""
    model = onnx.load(path, load_external_data=False)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in outputs)
    probed = path.with_suffix(".probed.onnx")
    probed.write_bytes(model.SerializeToString())
    try:
        return ort.InferenceSession(probed, providers=["CPUExecutionProvider"])
    finally:
        probed.unlink()
