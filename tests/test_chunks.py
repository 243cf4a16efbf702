"""`/predict` of long texts: the windows that `embed` cuts, each read for itself, or pooled apart from one reading."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedding.model import load_engine
from embedding.model.windows import Cutter, TooManyWindows
from embedding.settings import Settings
from tests.corpora import Corpus, matrix, table, write_jsonl
from tests.tiny_gemma import DIMENSION, MAX_TOKENS, PROMPTS

LONG = " ".join(f"In part {n}, the lattice of Übergröße {n * 7} holds 量子 🙂 and granite." for n in range(30))
WHOLE = LONG[:170]
SHORT = "a short text"


@pytest.fixture(params=["gemma", "torch_gemma"])
def served(request: pytest.FixtureRequest) -> httpx.Client:
    return request.getfixturevalue(request.param)


def chunks(client: httpx.Client, query: Any, **fields: Any) -> Any:
    answer = client.post("/predict", json={"query": query, "chunk": True, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def places(found: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(chunk["start"], chunk["end"]) for chunk in found]


def vectors(found: list[dict[str, Any]]) -> np.ndarray:
    return np.array([chunk["vector"] for chunk in found])


@pytest.mark.parametrize("options", [{}, {"chunk_tokens": 60}, {"chunk_tokens": 60, "chunk_overlap": 0}])
@pytest.mark.parametrize("title", ["", "On windows", "granite harbour " * 40])
def test_windows_are_those_that_embed_cuts(
    gemma: httpx.Client, corpus: Corpus, options: dict[str, int], title: str, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"title": title, "text": LONG}, {"title": "", "text": SHORT}])
    corpus.embed(source, tmp_path / "out", **options)
    expected = table(tmp_path / "out")

    found = chunks(gemma, [LONG, SHORT], titles=[title, None], **options)

    assert [len(each) for each in found] == [len(expected) - 1, 1]
    flat = [chunk for each in found for chunk in each]
    assert places(flat) == list(zip(expected["start"].to_pylist(), expected["end"].to_pylist(), strict=True))
    np.testing.assert_allclose(vectors(flat), matrix(expected), atol=1e-6)


def test_one_text_gives_one_list_of_windows(served: httpx.Client, tiny_gemma: Path) -> None:
    found = chunks(served, LONG, chunk_tokens=80, dimensions=20)

    cut = SentenceTransformer(str(tiny_gemma), device="cpu").encode_document([LONG[i:j] for i, j in places(found)])[
        :, :20
    ]
    assert (found[0]["start"], found[-1]["end"]) == (0, len(LONG))
    np.testing.assert_allclose(vectors(found), cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-5)


def pooled_apart(model: SentenceTransformer, text: str, spans: list[tuple[int, int]]) -> np.ndarray:
    """Late chunking with transformers alone: one reading, the mean of each window's tokens, then the dense layers."""
    prompt = PROMPTS["document"]
    encoded = model.tokenizer(prompt + text, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        tokens = model[0].model(**encoded).last_hidden_state[0]
        rows = []
        for start, end in spans:
            begin, stop = start + len(prompt), end + len(prompt)
            inside = [i for i, (first, last) in enumerate(offsets) if begin <= first < stop and last > first]
            x = tokens[inside].mean(dim=0)
            for dense in (model[2], model[3]):
                x = dense.linear(x)
            rows.append(torch.nn.functional.normalize(x, dim=0).numpy())
    return np.array(rows)


def test_late_chunks_are_pooled_from_one_reading(served: httpx.Client, tiny_gemma: Path) -> None:
    found, apart = (chunks(served, WHOLE, chunk=kind, chunk_tokens=40) for kind in ("late", True))

    assert len(found) > 2
    assert places(found) == places(apart)
    expected = pooled_apart(SentenceTransformer(str(tiny_gemma), device="cpu"), WHOLE, places(found))
    np.testing.assert_allclose(vectors(found), expected, atol=1e-5)
    assert np.abs(vectors(found) - vectors(apart)).max() > 1e-3


def test_late_chunks_of_several_texts_and_in_every_precision(served: httpx.Client) -> None:
    alone = [chunks(served, text, chunk="late") for text in (WHOLE, SHORT)]

    assert chunks(served, [WHOLE, SHORT], chunk="late") == alone
    assert len(alone[0]) > 2
    raw = vectors(chunks(served, WHOLE, chunk="late", normalize=False))
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), vectors(alone[0]), atol=1e-5)
    assert vectors(chunks(served, WHOLE, chunk="late", precision="ubinary")).shape == (len(raw), DIMENSION // 8)


@pytest.mark.parametrize(
    ("fields", "location", "words"),
    [
        ({"chunk_tokens": 3}, "chunk_tokens", f"to {MAX_TOKENS}"),
        ({"chunk_tokens": MAX_TOKENS + 1}, "chunk_tokens", f"to {MAX_TOKENS}"),
        ({"chunk_tokens": 60, "chunk_overlap": 31}, "chunk_overlap", "at most 30"),
        ({"chunk": False, "chunk_tokens": 60}, "chunk_tokens", "needs chunk"),
        ({"chunk": "early"}, "chunk", "'late'"),
        ({"query": LONG, "chunk": "late"}, "query", f"reads at most {MAX_TOKENS}"),
        ({"query": "granite " * 30_000, "chunk_tokens": 40}, "query", "at most 1024"),
    ],
)
def test_what_can_t_be_cut_is_refused(gemma: httpx.Client, fields: Any, location: str, words: str) -> None:
    answer = gemma.post("/predict", json={"query": SHORT, "chunk": True, **fields})

    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["detail"]
    assert problem["loc"][1] == location
    assert words in problem["msg"]


@pytest.mark.parametrize("texts", [1, 100])
def test_windows_that_are_too_many_are_not_made(texts: int, prepared_gemma: Path) -> None:
    # A prompt of 2,000 characters before each of a hundred thousand windows is a gigabyte of tokens.
    engine = load_engine(Settings.read(model_id=str(prepared_gemma), precision="float32"))
    tokenized = 0
    tokenize = engine.tokenize

    def counted(texts: Any, *more: Any) -> Any:
        nonlocal tokenized
        tokenized += len(texts)
        return tokenize(texts, *more)

    engine.tokenize = counted  # type: ignore[method-assign]
    many = ["granite " * (100_000 // texts)] * texts

    with pytest.raises(TooManyWindows):
        Cutter(engine, 24, 12, "document", "", most=1024).windows([""] * texts, many)

    assert tokenized < 1024 + 2 * texts


def test_late_chunks_of_a_model_that_does_not_pool_by_the_mean_are_refused(tmp_path: Path, tiny_gemma: Path) -> None:
    from embedding.model import Unsupported

    model = SentenceTransformer(str(tiny_gemma), device="cpu")
    model[1].pooling_mode = "cls"
    model.save(str(tmp_path / "cls"), create_model_card=False)
    engine = load_engine(Settings.read(model_id=str(tmp_path / "cls"), engine="torch"))

    with pytest.raises(Unsupported, match="late chunking"):
        engine.embed_spans(engine.tokenize([SHORT], "document")[0], [(1, 2)])


def test_a_text_whose_characters_are_all_dropped_has_no_late_chunks(demo: httpx.Client) -> None:
    answer = demo.post("/predict", json={"query": [SHORT, "\u200b\u0301"], "chunk": "late"})

    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", "query", 1]
    assert "no tokens" in problem["msg"]


def test_late_chunks_of_a_model_that_leaves_its_prompt_out_have_all_their_tokens(
    tmp_path: Path, tiny_gemma: Path
) -> None:
    from embedding.model.torch_engine import TorchEngine

    model = SentenceTransformer(str(tiny_gemma), device="cpu")
    model[1].include_prompt = False
    model.save(str(tmp_path / "model"), create_model_card=False)
    found = []
    for folder in (tiny_gemma, tmp_path / "model"):
        engine = TorchEngine(folder, "model", "float32")
        (text,) = engine.tokenize([WHOLE], "document")
        found.append(engine.embed_spans(text, [(9, 12), (10, text.kept), (text.kept - 2, text.kept - 1)]))

    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
