"""Loads a SentenceTransformer, and says how it reads the texts of each task: with which tokenizer, prompt and limit.

What a model's files ask for is scattered over a dozen names in five files, some of them of old versions. So nothing
here reads a file: the settings are those of the model as SentenceTransformer has loaded it.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers

from embedding.model.engine import Task
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.manifest import TokenizerSettings
from embedding.model.fetch.text_part import TEXT, placeholders, text_part
from embedding.model.tokenizer import Tokenizer, task_prompt

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Tokens that a family reads, by its card, where its files name more or none
CONTEXT = {TEXT: 8192}
# What transformers notes of a weight that it has read
FROM_A_FILE = "_is_hf_initialized"
# transformers' word for "no limit" is a number above this
NO_LIMIT = 1e20


def load_reference(folder: Path, device: str = "cpu") -> "SentenceTransformer":
    """The model in float32, with its limits lowered to what its table of positions has room for.

    Beyond that table SentenceTransformer fails, on a GPU for good. Never runs the folder's code. Of a model that reads
    images and sound too it is the part that reads text. Weights that no file has are NaN: `refuse_missing_weights` says
    whether they matter.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import EmbeddingGemma2Model, EmbeddingGemma2TextModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # As when the whole model is loaded without them, the other encoders' tensors are no surprise worth a page of log.
    EmbeddingGemma2TextModel._keys_to_ignore_on_load_unexpected = (
        EmbeddingGemma2Model._keys_to_ignore_on_load_unexpected
    )
    with text_part(folder) as part:
        model = SentenceTransformer(
            str(part),
            device="cpu",
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        )
    for module in model.modules():
        if isinstance(module, Transformer):
            _limit_to_positions(module)
            _unmake_weights(module.model)
    if stands_for := placeholders(folder):
        _read_padding_for(model, *stands_for)
    model.to(device)
    return model.float().eval()


def refuse_missing_weights(model: "SentenceTransformer", folder: Path) -> None:
    """Raise ModelUnavailable where a vector of the loaded model needs weights that are in none of its files.

    What no text reaches, such as BERT's pooler, may be missing.
    """
    missing = sorted(name for name, weight in model[0].named_parameters() if weight.flatten()[:1].isnan().any())
    if not missing:
        return
    vectors = [encode("a", show_progress_bar=False) for encode in (model.encode_query, model.encode_document)]
    if not np.isfinite(vectors).all():
        first, *others = (name.removeprefix("model.") for name in missing)
        more = f" and {len(others)} more" if others else ""
        raise ModelUnavailable(f"{folder} lacks the weights {first}{more}. Fetch the model, or save it, again.")


def input_module(model: "SentenceTransformer", task: Task) -> Any:
    """The module that reads the texts of a task; a Router has one for each route."""
    from sentence_transformers.base.modules import Router

    first: Any = model[0]
    if not isinstance(first, Router):
        return first
    route: Any = first.sub_modules[first._resolve_route(task, "text") or ""]
    return route[0]


def text_options(module: Any) -> dict[str, Any]:
    """What a Transformer module adds to each call of its tokenizer."""
    return {**module.processing_kwargs.get("text", {}), **module.processing_kwargs.get("common", {})}


def tokenizer_settings(module: Any, task: Task) -> TokenizerSettings:
    """The settings with which a module that has a fast tokenizer calls it."""
    tokenizer = module.tokenizer
    if isinstance(tokenizer, tokenizers.Tokenizer):  # a StaticEmbedding's
        cut = tokenizer.truncation or {}
        return TokenizerSettings(cut.get("max_length"), cut.get("direction", "right"), add_special_tokens=False)
    options = {"truncation": True, "max_length": _task_length(module, task), **text_options(module)}
    limit = tokenizer.model_max_length if options["max_length"] is None else options["max_length"]
    return TokenizerSettings(
        max_tokens=int(limit) if _truncates(options["truncation"]) and limit < NO_LIMIT else None,
        truncation_side=tokenizer.truncation_side,
        add_special_tokens=options.get("add_special_tokens", True),
        split_special_tokens=options.get("split_special_tokens", tokenizer.split_special_tokens),
    )


def fast_tokenizer(model: "SentenceTransformer", task: Task) -> Tokenizer | None:
    """The tokenizer of a task, where it is a fast one and reads the text as it is: a copy, since the model changes the
    truncation of its own."""
    module = input_module(model, task)
    if "message" in getattr(module, "modality_config", {}):  # a chat template stands around the text
        return None
    tokenizer = getattr(module, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, tokenizers.Tokenizer):
        return None
    return Tokenizer(deepcopy(backend), task, task_prompt(model.prompts, task), tokenizer_settings(module, task))


def _task_length(module: Any, task: Task) -> int | None:
    length: int | None = module.query_length if task == "query" else module.document_length
    if task == "query" and (expansion := module.query_expansion):
        fixed = expansion["strategy"] == "fixed"
        return int(expansion["length"]) if fixed else length and max(length, expansion["length"])
    return length


def _truncates(truncation: Any) -> bool:
    return truncation not in (False, None, "do_not_truncate")


def _unmake_weights(encoder: Any) -> None:
    """Make NaN of the weights that transformers made up, at random, because no file has them."""
    import torch

    with torch.no_grad():
        for weight in encoder.parameters():
            if not getattr(weight, FROM_A_FILE, False):
                weight.fill_(torch.nan)


def _limit_to_positions(module: Any) -> None:
    most = min([*_position_tables(module.model), *_context(module.model)], default=None)
    if most is None or module.tokenizer is None:
        return
    module.tokenizer.model_max_length = min(module.tokenizer.model_max_length, most)
    for name in ("query_length", "document_length"):
        if (length := getattr(module, name)) is not None:
            setattr(module, name, min(length, most))
    for options in module.processing_kwargs.values():
        if options.get("max_length") is not None:
            options["max_length"] = min(options["max_length"], most)
        if "truncation" in options and not _truncates(options["truncation"]):
            options.update(truncation=True, max_length=most)


def _context(encoder: Any) -> list[int]:
    return [CONTEXT[kind]] if (kind := encoder.config.model_type) in CONTEXT else []


def _read_padding_for(model: Any, tokens: list[int], padding: int) -> None:
    """Let the encoder read `padding` where a text spells out one of `tokens`, as the model with all encoders does."""
    import torch

    with torch.no_grad():
        table = model[0].model.get_input_embeddings().weight
        table[tokens] = table[padding].clone()


def _position_tables(encoder: Any) -> Iterator[int]:
    """The positions that each learned table of an encoder has room for."""
    from torch import nn

    for parent in encoder.modules():
        for name, table in parent.named_children():
            if isinstance(table, nn.Embedding) and ("position" in name or name == "wpe"):
                # RoBERTa and its kin count from the padding token's id + 1, BART and its kin from an offset.
                padding, offset = getattr(parent, "padding_idx", None), getattr(table, "offset", 0)
                yield table.num_embeddings - offset - (padding + 1 if isinstance(padding, int) else 0)
