"""Every kind of model folder: both engines give SentenceTransformer's vectors, or a refusal names the setting."""

import logging
import re
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedding.model.checked import CheckedEngine
from embedding.model.engine import Engine, Task
from embedding.model.errors import ModelUnavailable, NotFinite, NoTokens, UnknownToken, UnsupportedModel
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.prepare import fidelity, prepare
from embedding.model.prepare.tokens import ODD_TEXTS
from embedding.model.torch_engine import TorchEngine
from embedding.settings import Precision
from tests.zoo import KINDS, Kind, both, edit, prompts, sentence_config, weights, without_weights, write_kind

TASKS: tuple[Task, ...] = get_args(Task)
LONG = "Kind of text; the token query truncation of a folder, a model. " * 8
TEXTS = [
    *ODD_TEXTS.values(),
    "[CLS] the [SEP] model [MASK]of[PAD] <bos> a <eos> text [UNK]",
    "zebra zebras Zebra [zebra]",
    "the text query kind a of folder model token",
    LONG,
    f"  {LONG}  \n",
    *(LONG[: 9 * n] for n in range(1, 8)),
]


@dataclass(frozen=True)
class Resident:
    """A model of the zoo, with its reference and what it gives."""

    name: str
    folder: Path

    @cached_property
    def reference(self) -> SentenceTransformer:
        model = SentenceTransformer(str(self.folder), device="cpu", model_kwargs={"dtype": "float32"})
        if "table of positions" in self.name or self.name == "truncation off":
            model[0].processing_kwargs = {}
            model.max_seq_length = 64  # SentenceTransformer fails beyond
        if self.name in ("roberta", "mpnet"):
            model.max_seq_length = {"roberta": 41, "mpnet": 40}[self.name]
        if self.name == "router":
            model[0].sub_modules["document"][0].max_seq_length = 25
        return model

    @cache  # noqa: B019 - a test's model lives as long as its tests
    def vectors(self, task: Task, texts: tuple[str, ...]) -> np.ndarray:
        encode = {"query": self.reference.encode_query, "document": self.reference.encode_document}[task]
        return np.array([encode(text, show_progress_bar=False) for text in texts])

    @cached_property
    def torch(self) -> Engine:
        return CheckedEngine(TorchEngine(self.folder, self.name, "float32", threads=1))

    @cached_property
    def onnx(self) -> Engine | UnsupportedModel:
        try:
            prepare(self.folder, self.folder.with_name("prepared"), precision="float32")
        except UnsupportedModel as refusal:
            return refusal
        return CheckedEngine(OnnxEngine(self.folder.with_name("prepared"), "float32", threads=1))


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory: pytest.TempPathFactory):
    """A model of the zoo is prepared in a moment, also on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        lines = fidelity.SENTENCES.read_text().splitlines()
        few = tmp_path_factory.mktemp("sentences") / "few.txt"
        few.write_text("\n".join(lines[::8]))
        patch.setattr(fidelity, "SENTENCES", few)
        none = few.with_name("none.txt")
        none.touch()
        patch.setattr(fidelity, "CALIBRATION", none)
        logging.disable(logging.WARNING)  # what transformers says of odd folders
        yield
        logging.disable(logging.NOTSET)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=KINDS)
def resident(request: pytest.FixtureRequest, bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Resident:
    folder = write_kind(KINDS[request.param], bases, tmp_path_factory.mktemp("zoo") / "model")
    return Resident(request.param, folder)


def readable(engine: Engine, task: Task) -> tuple[str, ...]:
    """The texts that have tokens."""
    return tuple(text for text, read in zip(TEXTS, engine.tokenize(TEXTS, task), strict=True) if read.kept)


@pytest.mark.parametrize("task", TASKS)
def test_the_torch_engine_gives_sentence_transformer_s_vectors(resident: Resident, task: Task) -> None:
    texts = readable(resident.torch, task)

    vectors = resident.torch.embed(resident.torch.tokenize(texts, task))

    np.testing.assert_allclose(vectors, resident.vectors(task, texts), atol=2e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_onnx_engine_gives_sentence_transformer_s_vectors_or_names_the_setting(
    resident: Resident, task: Task
) -> None:
    refused = KINDS[resident.name].refused
    if isinstance(resident.onnx, UnsupportedModel):
        assert refused is not None, resident.onnx
        assert re.search(refused, str(resident.onnx))
        return
    assert refused is None
    texts = readable(resident.onnx, task)

    vectors = resident.onnx.embed(resident.onnx.tokenize(texts, task))

    np.testing.assert_allclose(vectors, resident.vectors(task, texts), atol=2e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_tokens_that_are_read_and_cut_are_told_as_they_are(resident: Resident, task: Task) -> None:
    seen: list[dict[str, Any]] = []
    hook = resident.reference.register_forward_pre_hook(lambda _, inputs: seen.append(dict(inputs[0])))
    texts = [LONG, "the text", LONG[:99]]

    resident.vectors(task, tuple(texts))
    hook.remove()

    engines = [resident.torch] + ([] if isinstance(resident.onnx, UnsupportedModel) else [resident.onnx])
    for engine in engines:
        read = engine.tokenize(texts, task)
        for text, features in zip(read, seen, strict=True):
            if "input_ids" in features:
                read_of = features.get("attention_mask", features["input_ids"] >= 0)
                assert text.kept == read_of.sum() - features.get("query_expansion_positions", torch.zeros(1)).sum()
        limit = engine.info.task_max_tokens[task]
        assert limit is None or read[0].kept == min(limit, read[0].total)
        assert read[0].total > 60


def engines(kind: Kind, bases: Path, folder: Path) -> list[Engine]:
    """Both engines of a kind of model."""
    model = write_kind(kind, bases, folder / "model")
    prepare(model, folder / "prepared", precision="float32")
    return [
        CheckedEngine(engine)
        for engine in (TorchEngine(model, "model", "float32", threads=1), OnnxEngine(folder / "prepared", threads=1))
    ]


LACKING = {
    "bert": ("encoder.layer.1.output.dense.weight",),
    "gemma": ("layers.1.mlp.up_proj.weight", "norm.weight"),
}


@pytest.mark.parametrize("base", LACKING)
def test_a_model_whose_files_lack_weights_is_refused_by_their_names(base: str, bases: Path, tmp_path: Path) -> None:
    folder = write_kind(Kind(base, without_weights(*LACKING[base])), bases, tmp_path / "model")

    for load in (lambda: TorchEngine(folder, "model"), lambda: prepare(folder, tmp_path / "prepared")):
        with pytest.raises(ModelUnavailable, match=f"lacks the weights {LACKING[base][0]}"):
            load()


WITHOUT_SPECIAL_TOKENS = Kind("bert", sentence_config(processing_kwargs={"text": {"add_special_tokens": False}}))


@pytest.mark.parametrize("text", ["\u0301\u0308", "\u200b", " "])
def test_a_text_without_tokens_is_named_and_not_quoted(text: str, bases: Path, tmp_path: Path) -> None:
    bare = replace(WITHOUT_SPECIAL_TOKENS, change=both(WITHOUT_SPECIAL_TOKENS.change, prompts()))
    for engine in engines(bare, bases, tmp_path):
        with pytest.raises(NoTokens, match="has no tokens") as caught:
            engine.embed(engine.tokenize(["the text", text, "a kind", text], "query"))
        assert caught.value.indices == (1, 3)
        assert text not in str(caught.value).replace(" ", "")


def test_a_vector_that_is_not_finite_is_never_handed_out(bases: Path, tmp_path: Path) -> None:
    def poison(model: torch.nn.Module) -> None:
        model.embeddings.word_embeddings.weight[4] = float("inf")  # [MASK]

    for engine in engines(Kind("bert", weights(poison)), bases, tmp_path):
        with pytest.raises(NotFinite) as caught:
            engine.embed(engine.tokenize(["the text", "a [MASK]", "a kind of text"], "document"))
        assert caught.value.indices == (1,)
        assert "MASK" not in str(caught.value)
        assert np.isfinite(engine.embed(engine.tokenize(["the text"], "document"))).all()


def test_a_token_that_the_model_has_no_vector_for_is_refused(bases: Path, tmp_path: Path) -> None:
    for engine in engines(Kind("bert", edit("added_tokens.json", zebra=300)), bases, tmp_path):
        with pytest.raises(UnknownToken) as caught:
            engine.embed(engine.tokenize(["the text", "a zebra"], "document"))
        assert caught.value.indices == (1,)


def test_a_text_that_is_finite_alone_is_served_alone(bases: Path, tmp_path: Path) -> None:
    (torch_engine, _) = engines(Kind("bert"), bases, tmp_path)
    texts = torch_engine.tokenize(["the text", "a kind of text", "of"], "query")
    expected = torch_engine.embed(texts)

    class Overflows:
        """An engine that gives NaN for what is padded."""

        info, batch_tokens, prompts = torch_engine.info, torch_engine.batch_tokens, torch_engine.prompts
        parallel_calls = 1
        tokenize, token_starts = torch_engine.tokenize, torch_engine.token_starts

        def embed(self, batch):
            longest = max(text.kept for text in batch)
            return np.where([[text.kept < longest] for text in batch], np.nan, torch_engine.embed(batch))

    np.testing.assert_allclose(CheckedEngine(Overflows()).embed(texts), expected, atol=1e-6)


@pytest.mark.parametrize("base", ["bert", "gemma"])
def test_a_row_of_zeros_stays_one_in_int8(base: str, bases: Path, tmp_path: Path) -> None:
    def silence(model: torch.nn.Module) -> None:
        attention = model.layers[0].self_attn.v_proj if base == "gemma" else model.encoder.layer[0].attention.self.value
        for parameter in attention.parameters():
            parameter.zero_()

    model = write_kind(Kind(base, weights(silence)), bases, tmp_path / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity, "MEAN_BAR", 0.98)
        patch.setattr(fidelity, "MINIMUM_BAR", 0.9)
        prepare(model, tmp_path / "prepared", precision="int8")
    engine = OnnxEngine(tmp_path / "prepared", "int8", threads=1)
    texts = [text for text in TEXTS if text]

    vectors = engine.embed(engine.tokenize(texts, "query"))

    expected = SentenceTransformer(str(model), device="cpu").encode_query(texts, batch_size=1)
    assert (vectors * expected).sum(axis=1).min() > 0.95


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_texts_of_mixed_length_on_a_gpu_have_the_vectors_they_have_alone(
    precision: Precision, tiny_gemma: Path
) -> None:
    engine = CheckedEngine(TorchEngine(tiny_gemma, "model", precision))
    texts = engine.tokenize([text for text in TEXTS if text], "document")

    together = engine.embed(texts)

    alone = np.vstack([engine.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-5 if precision == "float32" else 2e-2)
