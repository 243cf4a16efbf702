"""The onnx engine's vectors: equal to SentenceTransformer's, and the same whatever is beside them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedding.model.encoder import OnnxEncoder
from embedding.model.errors import UnknownPrecision, UnknownToken
from embedding.model.load import load_engine
from embedding.model.machine import available_cores
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.ragged import attention_length, group_by_length
from embedding.settings import Settings
from tests.tiny_gemma import VOCABULARY


def token_ids(*lengths: int) -> list[list[int]]:
    ids = np.random.default_rng(len(lengths)).integers(5, VOCABULARY, sum(lengths))
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths)[:-1])]


def reference(folder: Path, text: list[int]) -> np.ndarray:
    model = SentenceTransformer(str(folder), device="cpu")
    ids = torch.tensor([text])
    with torch.no_grad():
        return model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"].numpy()


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 32, 33, 34, 65, 100, 192])
def test_float32_is_the_reference_at_any_length(tiny_gemma: Path, prepared_gemma: Path, length: int) -> None:
    (text,) = token_ids(length)

    vectors = OnnxEncoder(prepared_gemma, "float32").embed([text])

    np.testing.assert_allclose(vectors, reference(tiny_gemma, text), atol=1e-5)


@pytest.mark.parametrize("length", [1, 7, 16, 100, 256])
def test_float32_is_the_reference_for_bert(demo_model: Path, prepared_demo: Path, length: int) -> None:
    (text,) = token_ids(length)

    vectors = OnnxEncoder(prepared_demo, "float32").embed([text])

    np.testing.assert_allclose(vectors, reference(demo_model, text), atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("model", ["prepared_gemma", "prepared_demo"])
def test_a_text_has_one_vector(precision: str, model: str, request: pytest.FixtureRequest) -> None:
    encoder = OnnxEncoder(request.getfixturevalue(model), precision)
    batch = token_ids(22, 5, 30, 17, 100, 22, 190, 1, 22, 31, 32, 16)

    together = encoder.embed(batch)

    np.testing.assert_allclose(together, np.vstack([encoder.embed([text]) for text in batch]), atol=1e-6)
    np.testing.assert_allclose(together, encoder.embed(batch[::-1])[::-1], atol=1e-6)


def test_no_texts_have_no_vectors(prepared_demo: Path) -> None:
    assert OnnxEncoder(prepared_demo).embed([]).shape == (0, 384)


def test_a_text_out_of_bounds_is_refused(prepared_demo: Path) -> None:
    encoder = OnnxEncoder(prepared_demo)

    with pytest.raises(ValueError, match="text 1 has 0 tokens"):
        encoder.embed([[101], []])
    with pytest.raises(ValueError, match="text 0 has 257 tokens"):
        encoder.embed([[101] * 257])
    with pytest.raises(UnknownToken) as caught:
        encoder.embed([[101], [30522]])
    assert caught.value.indices == (1,)


def test_a_precision_not_offered_is_named(prepared_demo: Path) -> None:
    with pytest.raises(UnknownPrecision, match="'bfloat16' is not offered: this folder has int8, float32"):
        OnnxEncoder(prepared_demo, "bfloat16")


def test_auto_picks_one_of_those_offered_and_says_its_fidelity(prepared_demo: Path) -> None:
    info = OnnxEngine(prepared_demo).info

    assert info.precision in ("int8", "float32")
    assert f"fidelity {info.fidelity:.4f}" in str(info)


def test_torch_is_not_imported_by_a_server_of_a_prepared_model(prepared_demo: Path) -> None:
    program = f"""
import asyncio, sys
from embedding.api import create_app
from embedding.settings import Settings
app = create_app(Settings.read(model_id={str(prepared_demo)!r}, auth_token="t"))
app.state.service.load_now()
vectors = asyncio.run(app.state.service.embed(["hello"], "query")).vectors
print(vectors.shape, *({{"torch", "transformers", "sentence_transformers", "onnx"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "(1, 384)"


def test_only_texts_of_one_rounded_length_share_a_run() -> None:
    lengths = [22, 5, 30, 17, 100, 22, 700, 1] + [20] * 40

    runs = list(group_by_length(lengths))

    assert sorted(i for run in runs for i in run) == list(range(len(lengths)))
    assert all(len({attention_length(lengths[i]) for i in run}) == 1 for run in runs)
    assert all(len(run) == 1 or sum(lengths[i] for i in run) <= 512 for run in runs)


@pytest.mark.parametrize(("threads", "expected"), [("1", 1), ("3", 3), ("auto", available_cores())])
def test_the_engine_uses_as_many_threads_as_it_is_told(
    prepared_gemma: Path, monkeypatch: pytest.MonkeyPatch, threads: str, expected: int
) -> None:
    monkeypatch.setenv("THREADS", threads)

    assert load_engine(Settings.read(model_id=str(prepared_gemma))).info.threads == expected


def test_calls_that_overlap_give_each_text_its_vector(prepared_gemma: Path) -> None:
    encoder = OnnxEncoder(prepared_gemma, "float32")
    batches = [token_ids(*lengths) for lengths in ((5, 9, 30), (190,), (7,) * 20, (100, 100)) * 5]
    alone = [encoder.embed(batch) for batch in batches]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(encoder.embed, batches))

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
