"""Reads what a SentenceTransformer folder says about itself, and refuses what the graphs cannot express."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding.model.errors import UnsupportedModel
from embedding.model.prepare.safetensors import Tensors

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "Sigmoid")


@dataclass(frozen=True)
class Dense:
    """A linear layer over pooled vectors: weight (in, out), bias (out,) or None, and an activation by ONNX name."""

    weight: np.ndarray
    bias: np.ndarray | None
    activation: str


@dataclass(frozen=True)
class Checkpoint:
    """A SentenceTransformer: the encoder's config and tensors, and the steps from token vectors to a text's vector."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Tensors
    max_tokens: int
    lowercase: bool
    pooling: str
    dense: tuple[Dense, ...]
    normalize: bool
    prompts: Mapping[str, str]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads the folder; raises UnsupportedModel, saying what isn't supported, and FileNotFoundError."""
    modules = [(m["type"].rpartition(".")[2], folder / m["path"]) for m in _json(folder / "modules.json")]
    kinds = [kind for kind, _ in modules]
    steps = kinds[:2] + [kind for kind in kinds[2:] if kind != "Dense"]
    if steps not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedModel(f"the modules {' → '.join(kinds)}: only Transformer → Pooling → Dense… → Normalize")
    require("Normalize" not in kinds[:-1], "Normalize before another module")
    encoder = modules[0][1]
    config = _json(encoder / "config.json")
    text = _json(encoder / "sentence_bert_config.json", {})
    prompts = _json(folder / "config_sentence_transformers.json", {})
    return Checkpoint(
        folder=encoder,
        config=config,
        tensors=Tensors(encoder),
        max_tokens=_max_tokens(config, text, _json(encoder / "tokenizer_config.json", {})),
        lowercase=bool(text.get("do_lower_case", False)),
        pooling=_pooling(_json(modules[1][1] / "config.json")),
        dense=tuple(_dense(path) for kind, path in modules if kind == "Dense"),
        normalize="Normalize" in kinds,
        prompts=prompts.get("prompts") or {},
    )


def require(condition: bool, what: str) -> None:
    """Raises UnsupportedModel unless the condition holds."""
    if not condition:
        raise UnsupportedModel(f"{what} is not supported by the onnx engine")


def _max_tokens(config: Mapping[str, Any], text: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int:
    stated = text.get("max_seq_length") or tokenizer.get("model_max_length") or config["max_position_embeddings"]
    return int(min(stated, config["max_position_embeddings"]))


def _pooling(config: Mapping[str, Any]) -> str:
    """The pooling's name: `mean` or `cls`. Old files have a flag a mode, new ones a name."""
    flags = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [flags.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    mode = config.get("pooling_mode") or "+".join(modes)
    require(mode in ("mean", "cls"), f"pooling {mode!r}")
    require(config.get("include_prompt", True), "pooling that leaves the prompt out")
    return str(mode)


def _dense(folder: Path) -> Dense:
    config, tensors = _json(folder / "config.json"), Tensors(folder)
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh").rpartition(".")[2]
    require(activation in ACTIVATIONS, f"a Dense layer with {activation}")
    require(not config.get("use_residual"), "a Dense layer with a residual")
    names = {config.get("module_input_name"), config.get("module_output_name")}
    require(names <= {None, "sentence_embedding"}, "a Dense layer between other values than the vectors")
    activation = activation if activation != "ReLU" else "Relu"
    bias = tensors.get("linear.bias")
    return Dense(tensors["linear.weight"].T, bias, activation)


def _json(path: Path, missing: Any = None) -> Any:
    if missing is not None and not path.exists():
        return missing
    return json.loads(path.read_text(encoding="utf-8"))
