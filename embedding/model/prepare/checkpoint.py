"""What the graphs are made of, taken from a loaded SentenceTransformer; refuses what they cannot express."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import tokenizers

from embedding.model.engine import Task
from embedding.model.errors import UnsupportedModel
from embedding.model.fetch.manifest import TokenizerSettings
from embedding.model.reference import text_options, tokenizer_settings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# torch's name of a Dense layer's activation, and ONNX's
ACTIVATIONS = {"Identity": "Identity", "Tanh": "Tanh", "ReLU": "Relu", "Sigmoid": "Sigmoid"}
# What a Transformer module may add to a call of its tokenizer: `reference.tokenizer_settings` reads the first four, and
# the others change nothing about one text's tokens.
TEXT_OPTIONS = {
    *("max_length", "truncation", "add_special_tokens", "split_special_tokens"),
    *("padding", "return_tensors", "return_attention_mask", "logits_to_keep"),
}


@dataclass(frozen=True)
class Dense:
    """A linear layer over pooled vectors: weight (in, out), bias (out,) or None, and an activation by ONNX name."""

    weight: np.ndarray
    bias: np.ndarray | None
    activation: str


@dataclass(frozen=True)
class Checkpoint:
    """A SentenceTransformer: the encoder's config and tensors, and the steps from token vectors to a text's vector."""

    config: Any
    """transformers' config of the encoder, with every default filled in."""
    tensors: Mapping[str, np.ndarray]
    backend_tokenizer: tokenizers.Tokenizer
    prompts: Mapping[str, str | None]
    tokenizer: Mapping[Task, TokenizerSettings]
    max_tokens: int
    """Tokens of the longest text under either task."""
    layers: int
    pooling: str
    """`mean` or `cls`."""
    dense: tuple[Dense, ...]
    normalize: bool
    truncate_dim: int | None
    """Numbers that the model keeps of a vector; None: all."""


def read_checkpoint(model: "SentenceTransformer") -> Checkpoint:
    """The parts of a loaded model. Raises UnsupportedModel, saying which setting isn't supported."""
    modules: list[Any] = list(model)
    kinds = [type(module).__name__ for module in modules]
    steps = kinds[:2] + [kind for kind in kinds[2:] if kind != "Dense"]
    require(
        steps in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]),
        f"the modules {' → '.join(kinds)}: only Transformer → Pooling → Dense… → Normalize",
    )
    require("Normalize" not in kinds[:-1], "Normalize before another module")
    transformer, pooling = modules[:2]
    _check_transformer(transformer)
    for module in modules[2:]:
        _check_vectors_in_and_out(module)
    config = transformer.config
    # Buffers that are not saved count, too: frequencies that differ in their last bit turn a far position by 1e-4.
    named = {**transformer.model.state_dict(), **dict(transformer.model.named_buffers())}
    tensors = {name: tensor.numpy() for name, tensor in named.items()}
    tokenizer = {task: tokenizer_settings(transformer, task) for task in get_args(Task)}
    limits = [settings.max_tokens for settings in tokenizer.values()]
    require(None not in limits, "a tokenizer without a limit (model_max_length, processing_kwargs truncation)")
    require(model.truncate_dim is None or model.truncate_dim > 0, f"truncate_dim {model.truncate_dim}")
    return Checkpoint(
        config=config,
        tensors=tensors,
        backend_tokenizer=transformer.tokenizer.backend_tokenizer,
        prompts=model.prompts,
        tokenizer=tokenizer,
        max_tokens=max(limit or 0 for limit in limits),
        layers=config.num_hidden_layers,
        pooling=_pooling(pooling),
        dense=(*_projection(tensors), *(_dense(module) for module in modules if type(module).__name__ == "Dense")),
        normalize="Normalize" in kinds,
        truncate_dim=model.truncate_dim,
    )


def require(condition: bool, what: str) -> None:
    """Raises UnsupportedModel unless the condition holds."""
    if not condition:
        raise UnsupportedModel(f"{what} is not supported by the onnx engine")


def _check_transformer(module: Any) -> None:
    require(module.transformer_task == "feature-extraction", f"transformer_task {module.transformer_task}")
    require("message" not in module.modality_config, "a chat template (modality_config message)")
    plain = {"method": "forward", "method_output_name": "last_hidden_state"}
    text = {name: module.modality_config.get("text", {}).get(name) for name in plain}
    require(text == plain, "modality_config that reads other values than last_hidden_state")
    require(module.module_output_name == "token_embeddings", f"module_output_name {module.module_output_name}")
    require(module.query_expansion is None, "query_expansion")
    unknown = sorted(set(text_options(module)) - TEXT_OPTIONS)
    require(not unknown, f"processing_kwargs {', '.join(unknown)}")
    require(hasattr(module.tokenizer, "backend_tokenizer"), f"the slow tokenizer {type(module.tokenizer).__name__}")


def _pooling(module: Any) -> str:
    require(module.pooling_mode in ("mean", "cls"), f"pooling {module.pooling_mode!r}")
    require(module.include_prompt, "pooling that leaves the prompt out (include_prompt)")
    return str(module.pooling_mode)


def _check_vectors_in_and_out(module: Any) -> None:
    names = {module.module_input_name, module.module_output_name}
    kind = type(module).__name__
    require(names == {"sentence_embedding"}, f"a {kind} layer between other values than the vectors")


def _projection(tensors: Mapping[str, np.ndarray]) -> list[Dense]:
    """EmbeddingGemma 2's projection of the token vectors; pooling is linear, so it is as well done after it."""
    weight = tensors.get("embedding_projection.weight")
    return [] if weight is None else [Dense(weight.T, None, "Identity")]


def _dense(module: Any) -> Dense:
    activation = type(module.activation_function).__name__
    require(activation in ACTIVATIONS, f"a Dense layer with {activation}")
    require(not module.use_residual, "a Dense layer with a residual")
    weight, bias = (None if t is None else t.detach().numpy() for t in (module.linear.weight, module.linear.bias))
    assert weight is not None
    return Dense(weight.T, bias, ACTIVATIONS[activation])
