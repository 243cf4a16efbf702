"""Every kind of model folder: both engines give SentenceTransformer's vectors, or a refusal names the setting."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedding.model.checked import CheckedEngine
from embedding.model.engine import Engine, Task
from embedding.model.errors import UnsupportedModel
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.prepare import fidelity, prepare
from embedding.model.prepare.tokens import ODD_TEXTS
from embedding.model.torch_engine import TorchEngine
from tests.zoo import KINDS, write_kind

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

    def vectors(self, task: Task, texts: Sequence[str]) -> np.ndarray:
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
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=KINDS)
def resident(request: pytest.FixtureRequest, bases: Path, tmp_path_factory: pytest.TempPathFactory) -> Resident:
    logging.disable(logging.WARNING)  # what transformers says of odd folders
    folder = write_kind(request.param, bases, tmp_path_factory.mktemp("zoo") / "model")
    return Resident(request.param, folder)


def readable(engine: Engine, task: Task) -> list[str]:
    """The texts that have tokens."""
    return [text for text, read in zip(TEXTS, engine.tokenize(TEXTS, task), strict=True) if read.kept]


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

    resident.vectors(task, texts)
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
