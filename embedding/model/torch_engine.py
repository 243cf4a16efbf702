"""The reference engine: sentence-transformers on torch, on CPU or CUDA."""

import re
from collections import defaultdict
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedding.model.engine import EngineInfo, Task, TokenizedText
from embedding.model.errors import UnknownPrecision
from embedding.model.machine import available_cores
from embedding.model.matryoshka import matryoshka_dimensions
from embedding.model.tokenizer import Tokenizer, task_prompt
from embedding.settings import Precision

EMBEDDINGS = {"token_embeddings", "cls_token_embeddings"}
BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TorchEngine:
    """Any SentenceTransformer, called as `encode_query` and `encode_document` call it.

    bfloat16 holds for the encoder alone; pooling and what follows it run in float32. float16 is not offered: models
    of the Gemma family overflow in it.
    """

    def __init__(
        self, folder: Path, model_name: str, precision: Precision = "auto", threads: int | None = None
    ) -> None:
        import torch

        torch.set_num_threads(threads or available_cores())
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "int8":
            raise UnknownPrecision("the torch engine has no int8; ENGINE=onnx does.")
        if precision == "auto":
            precision = (
                "bfloat16"
                if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
                else "float32"
            )
        self._model = _load(folder, device, precision)
        self._tokenizer = _tokenizer(self._model)
        self.batch_tokens = BATCH_TOKENS[device]
        self.prompts = self._model.prompts
        dimension = self._model.encode_query("dimension", show_progress_bar=False).shape[0]
        self.info = EngineInfo(
            model=model_name,
            engine="torch",
            device=device,
            precision=precision,
            threads=torch.get_num_threads(),
            dimension=dimension,
            matryoshka_dimensions=matryoshka_dimensions(_model_type(self._model), dimension),
            max_tokens=_limit(self._model),
        )

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        if self._tokenizer is not None:
            return self._tokenizer.tokenize(texts, task, prompt)
        limit = self.info.max_tokens
        before = task_prompt(self._model.prompts, task) if prompt is None else prompt
        totals = [self._count(before + text, task) for text in texts]
        return [
            TokenizedText(text, task, total, min(total, limit) if limit else total, prompt=prompt)
            for text, total in zip(texts, totals, strict=True)
        ]

    def token_starts(self, text: str) -> list[int]:
        if self._tokenizer is not None:
            return self._tokenizer.token_starts(text)
        return [word.start() for word in re.finditer(r"\S+", text)]  # a tokenizer that can't say; words are near it

    def _count(self, text: str, task: Task) -> int:
        """TokenizedText of a text with its prompt, for a model without a fast tokenizer."""
        if callable(self._model.tokenizer):
            return len(self._model.tokenizer(text, truncation=False)["input_ids"])
        return int(self._model.preprocess([text], task=task)["input_ids"].numel())

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        alike: dict[tuple[Task, str | None], list[int]] = defaultdict(list)
        for index, tokens in enumerate(batch):
            alike[tokens.task, tokens.prompt].append(index)
        vectors: dict[int, NDArray[np.float32]] = {}
        for (task, prompt), mine in alike.items():
            encode = self._model.encode_query if task == "query" else self._model.encode_document
            # The model sorts by length, so that in a batch of its own little is padded.
            encoded = encode([batch[index].text for index in mine], prompt=prompt, show_progress_bar=False)
            vectors.update(zip(mine, encoded, strict=True))
        return np.stack([vectors[index] for index in range(len(batch))]).astype(np.float32, copy=False)


def _load(folder: Path, device: str, precision: Precision) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(
        str(folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    if precision == "bfloat16":
        for module in model.modules():
            if isinstance(module, Transformer):
                module.bfloat16()
                module.register_forward_hook(_widen)
    return model.eval()


def _limit(model: "SentenceTransformer") -> int | None:
    limit = model.max_seq_length
    return int(limit) if limit and limit != float("inf") else None


def _model_type(model: "SentenceTransformer") -> str | None:
    encoder = getattr(model[0], "auto_model", None)
    return encoder and encoder.config.model_type


def _widen(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    return {name: value.float() if name in EMBEDDINGS else value for name, value in features.items()}


def _tokenizer(model: "SentenceTransformer") -> Tokenizer | None:
    """The model's tokenizer, if it is a fast one: a copy, since the model sets the cut and padding of its own anew."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    return backend and Tokenizer(deepcopy(backend), model.prompts, _limit(model))
