"""The reference engine: sentence-transformers on torch, on CPU or CUDA."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from embedding.model.engine import EngineInfo, Task, Token, TokenizedText, least_limit
from embedding.model.errors import NO_SPANS, UnknownPrecision, UnknownToken, Unsupported
from embedding.model.fetch.content import content_digest, snapshot_commit
from embedding.model.machine import available_cores
from embedding.model.matryoshka import matryoshka_dimensions
from embedding.model.reference import (
    NO_LIMIT,
    fast_tokenizer,
    input_module,
    load_reference,
    refuse_missing_weights,
    tokenizer_settings,
)
from embedding.model.tokenizer import Tokenizer, task_prompt
from embedding.settings import Precision

EMBEDDINGS = {"token_embeddings", "cls_token_embeddings"}
BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}
# The most by which a text's vector may change with its batch, of its length: what rounding alone does.
BATCH_ERROR = {"float32": 1e-5, "bfloat16": 0.05}
PROBE = ["a", "a text that is longer than the other, so that the other is padded"]

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
        self._model = load_reference(folder, device)
        refuse_missing_weights(self._model, folder)
        if precision == "bfloat16":
            _compute_in_bfloat16(self._model)
        self._tokenizers: dict[Task, Tokenizer | _ModuleTokenizer] = {
            task: fast_tokenizer(self._model, task) or _ModuleTokenizer(self._model, task) for task in get_args(Task)
        }
        self._vocabulary = {task: _vocabulary_size(input_module(self._model, task)) for task in get_args(Task)}
        self.batch_tokens = BATCH_TOKENS[device]
        self.parallel_calls = 1  # a model's tokenizer must not be called twice at once
        self.prompts = self._model.prompts
        self._normalizers = [module for module in _final_modules(self._model) if type(module).__name__ == "Normalize"]
        self._pads = True
        self._pads = self._gives_a_padded_text_its_vector(BATCH_ERROR[precision])
        limits = {task: tokenizer.max_tokens for task, tokenizer in self._tokenizers.items()}
        dimension = self._encode([PROBE[0]], "query").shape[1]
        self.info = EngineInfo(
            model=model_name,
            engine="torch",
            device=device,
            precision=precision,
            threads=torch.get_num_threads(),
            dimension=dimension,
            matryoshka_dimensions=matryoshka_dimensions(_model_type(self._model), dimension),
            revision=snapshot_commit(folder) or content_digest(folder)[:40],
            max_tokens=least_limit(limits),
            task_max_tokens=limits,
            normalizes=bool(self._normalizers) and not self._model.truncate_dim,
            pooling=_pooling(self._model),
        )
        self.calibration = self._calibrate()

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return self._tokenizers[task].tokenize(texts, prompt)

    def token_starts(self, text: str) -> list[int]:
        return self._tokenizers["document"].token_starts(text)

    def tokens(self, text: str, task: Task, prompt: str = "", special: bool = True) -> list[Token]:
        return self._fast_tokenizer(task).tokens(text, prompt, special)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return self._fast_tokenizer("document").decode(ids, skip_special)

    def embed_tokens(self, text: TokenizedText) -> NDArray[np.float32]:
        encode = self._model.encode_query if text.task == "query" else self._model.encode_document
        vectors: Any
        try:
            (vectors,) = encode(
                [text.text], prompt=text.prompt, output_value="token_embeddings", convert_to_numpy=False
            )
        except KeyError:
            raise Unsupported("the model has no vector for each token") from None
        return np.asarray(vectors.float().cpu().numpy(), np.float32)

    def embed_spans(self, text: TokenizedText, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """The encoder reads the text once; from the pooling on, each span is a text of its own."""
        pooling = next((module for module in self._model if hasattr(module, "pooling_mode")), None)
        if pooling is None or self.info.pooling != "mean":
            raise Unsupported(NO_SPANS)

        def split(_module: Any, inputs: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any]]:
            features = inputs[0]
            if features["token_embeddings"].shape[1] != text.kept:
                raise Unsupported(NO_SPANS)
            # Each span without the rest of the text: many masks over the whole text take gigabytes to pool.
            longest = max(end - begin for begin, end in spans)
            places = np.array([begin for begin, _ in spans])[:, None] + np.arange(longest)
            inside = places < np.array([end for _, end in spans])[:, None]
            tokens = features["token_embeddings"][0][places.clip(max=text.kept - 1)]
            masks = features["attention_mask"].new_tensor(inside)
            # No span has the prompt, which some models leave out.
            others = {name: value for name, value in features.items() if name != "prompt_length"}
            return ({**others, "token_embeddings": tokens, "attention_mask": masks},)

        def keep(_module: Any, _inputs: Any, features: dict[str, Any]) -> None:
            kept.append(features["sentence_embedding"].float().cpu().numpy())

        kept: list[NDArray[np.float32]] = []
        hooks = [pooling.register_forward_pre_hook(split), list(self._model)[-1].register_forward_hook(keep)]
        try:
            with _left_out([] if text.normalize else self._normalizers):
                self._encode([text.text], text.task, text.prompt)
        finally:
            for hook in hooks:
                hook.remove()
        return kept[0][:, : self.info.dimension]

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        if unknown := [i for i, text in enumerate(batch) if text.ids and max(text.ids) >= self._vocabulary[text.task]]:
            raise UnknownToken(unknown)
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for index, text in enumerate(batch):
            alike[text.task, text.prompt, text.normalize, None if self._pads else text.kept].append(index)
        vectors: dict[int, NDArray[np.float32]] = {}
        for mine in alike.values():
            first = batch[mine[0]]
            # The model sorts by length, so that in a batch of its own little is padded.
            encoded = self._encode([batch[index].text for index in mine], first.task, first.prompt, first.normalize)
            vectors.update(zip(mine, encoded, strict=True))
        return np.stack([vectors[index] for index in range(len(batch))])

    def _encode(
        self, texts: list[str], task: Task, prompt: str | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        encode = self._model.encode_query if task == "query" else self._model.encode_document
        with _left_out([] if normalize else self._normalizers):
            vectors: NDArray[np.float32] = encode(texts, prompt=prompt, show_progress_bar=False)
        return vectors.astype(np.float32, copy=False)

    def _calibrate(self) -> NDArray[np.float32]:
        """The vectors of sample texts, as queries and documents in turn; none where the model fails on them."""
        from embedding.model.prepare.fidelity import alternating, sentences

        texts = alternating(sentences()[0])
        with suppress(Exception):
            return np.concatenate(
                [self._encode([text for side, text in texts if side == task], task) for task in get_args(Task)]
            )
        return np.empty((0, self.info.dimension), np.float32)

    def _fast_tokenizer(self, task: Task) -> Tokenizer:
        tokenizer = self._tokenizers[task]
        if not isinstance(tokenizer, Tokenizer):
            raise Unsupported("the model's tokenizer can't tell its tokens apart from the model")
        return tokenizer

    def _gives_a_padded_text_its_vector(self, most: float) -> bool:
        """Whether a text's vector is the same alone and beside a longer text. Some encoders count positions over the
        padding, and some give NaN for padded rows on a GPU; they get texts of one length at a time."""
        for task in get_args(Task):
            alone, beside = self._encode(PROBE[:1], task)[0], self._encode(PROBE, task)[0]
            if not np.linalg.norm(alone - beside) <= most * np.linalg.norm(alone):
                return False
        return True


class _ModuleTokenizer:
    """Counts the tokens of a model without a fast tokenizer, or with a chat template, by the module that reads them."""

    def __init__(self, model: "SentenceTransformer", task: Task) -> None:
        self._task = task
        self._prompt = task_prompt(model.prompts, task)
        # A copy, since another thread may embed meanwhile, and a call changes the truncation of its tokenizer.
        self._module = copy(input_module(model, task))
        if hasattr(self._module, "processor"):
            self._module.processor = deepcopy(self._module.processor)
        self.max_tokens = _limit(self._module, task)
        self._one_at_a_time = Lock()

    def tokenize(self, texts: Sequence[str], prompt: str | None = None) -> list[TokenizedText]:
        before = self._prompt if prompt is None else prompt
        with self._one_at_a_time:
            totals = [self._count(before, text) for text in texts]
        return [
            TokenizedText(text, self._task, total, min(total, self.max_tokens or total), prompt=prompt)
            for text, total in zip(texts, totals, strict=True)
        ]

    def token_starts(self, text: str) -> list[int]:
        return [word.start() for word in re.finditer(r"\S+", text)]  # such a tokenizer can't say; words are near it

    def _count(self, prompt: str, text: str) -> int:
        if not hasattr(self._module, "processor"):
            return len(self._module.tokenizer.tokenize(prompt + text))
        whole = {"text": {"truncation": False}}
        features = self._module.preprocess([text], prompt=prompt, task=self._task, processing_kwargs=whole)
        return int(features["attention_mask"].sum())


def _final_modules(model: "SentenceTransformer") -> list[Any]:
    """The modules that give a text's vector: the last, or the last of each route."""
    from sentence_transformers.base.modules import Router

    last: Any = list(model)[-1]
    routes: list[Any] = list(last.sub_modules.values()) if isinstance(last, Router) else [[last]]
    return [route[-1] for route in routes]


@contextmanager
def _left_out(modules: Sequence[Any]) -> Iterator[None]:
    """`modules` hand on the vectors that they get, as long as this lasts."""

    def remember(module: Any, inputs: tuple[dict[str, Any], ...]) -> None:
        before.append(inputs[0][module.module_input_name])

    def hand_on(module: Any, _inputs: tuple[dict[str, Any], ...], features: dict[str, Any]) -> dict[str, Any]:
        return {**features, module.module_output_name: before.pop()}

    before: list[Any] = []
    hooks = [
        hook
        for module in modules
        for hook in (module.register_forward_pre_hook(remember), module.register_forward_hook(hand_on))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _pooling(model: "SentenceTransformer") -> str | None:
    modes = [str(module.pooling_mode) for module in model if hasattr(module, "pooling_mode")]
    return modes[0] if modes else None


def _limit(module: Any, task: Task) -> int | None:
    from sentence_transformers.base.modules import Transformer

    if isinstance(module, Transformer):
        return tokenizer_settings(module, task).max_tokens
    limit = getattr(module, "max_seq_length", None)
    return int(limit) if limit and limit < NO_LIMIT else None


def _compute_in_bfloat16(model: "SentenceTransformer") -> None:
    from sentence_transformers.base.modules import Transformer

    for module in model.modules():
        if isinstance(module, Transformer):
            module.bfloat16()
            module.register_forward_hook(_widen)


def _widen(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    return {name: value.float() if name in EMBEDDINGS else value for name, value in features.items()}


def _vocabulary_size(module: Any) -> float:
    """Tokens that a module has a vector for."""
    from sentence_transformers.base.modules import Transformer

    if isinstance(module, Transformer):
        return int(module.model.get_input_embeddings().num_embeddings)
    return getattr(module, "num_embeddings", float("inf"))


def _model_type(model: "SentenceTransformer") -> str | None:
    encoder = getattr(model[0], "auto_model", None)
    return encoder and encoder.config.model_type
