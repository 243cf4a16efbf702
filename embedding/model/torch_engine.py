"""The reference engine: sentence-transformers on torch, on CPU or CUDA."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedding.model.cores import available_cores
from embedding.model.engine import Task, Tokens
from embedding.settings import Precision

BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TorchEngine:
    """Any SentenceTransformer, called as `encode_query` and `encode_document` call it.

    bfloat16 holds for the encoder alone; pooling and what follows it run in float32. float16 is not offered: models
    of the Gemma family overflow in it.
    """

    def __init__(self, folder: Path, model_name: str, precision: Precision = "auto") -> None:
        import torch

        torch.set_num_threads(available_cores())
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bfloat16" if device == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        self._model = _load(folder, device, precision)
        self._count = _token_counter(self._model)
        self.model_name = model_name
        self.max_tokens = self._model.max_seq_length
        self.batch_tokens = BATCH_TOKENS[device]
        self.width = self.embed(self.tokenize(["width"], "query")).shape[1]
        threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
        self.description = f"torch on {device}, {precision}{threads}"

    def tokenize(self, texts: Sequence[str], task: Task) -> list[Tokens]:
        prompt = self._model.prompts.get(task) or ""
        limit = self.max_tokens
        totals = self._count([prompt + text for text in texts])
        return [
            Tokens(text, task, total, min(total, limit) if limit else total)
            for text, total in zip(texts, totals, strict=True)
        ]

    def embed(self, batch: Sequence[Tokens]) -> NDArray[np.float32]:
        vectors: dict[int, NDArray[np.float32]] = {}
        for task, encode in (("query", self._model.encode_query), ("document", self._model.encode_document)):
            if mine := [index for index, tokens in enumerate(batch) if tokens.task == task]:
                # The model sorts by length, so that in a batch of its own little is padded.
                encoded = encode([batch[index].text for index in mine], show_progress_bar=False)
                vectors.update(zip(mine, encoded, strict=True))
        return np.stack([vectors[index] for index in range(len(batch))]).astype(np.float32, copy=False)


def _load(folder: Path, device: str, precision: Precision) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(
        str(folder),
        device=device,
        trust_remote_code=False,
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    if precision == "bfloat16" and model.transformers_model is not None:
        model.transformers_model.bfloat16()
        model[0].register_forward_hook(_widen)
    return model.eval()


def _widen(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    features["token_embeddings"] = features["token_embeddings"].float()
    return features


def _token_counter(model: "SentenceTransformer") -> Any:
    """A function from texts to their token counts, uncut, that may run while the model encodes."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        # No fast tokenizer: count what the model reads, so that no cut is reported.
        return lambda texts: [len(model.preprocess([text])["input_ids"].flatten()) for text in texts]
    # A copy, since the model sets the cut and the padding on its own before each call.
    tokenizer = deepcopy(backend)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(encoding) for encoding in tokenizer.encode_batch_fast(texts)]
