"""A served vector is the vector that SentenceTransformer gives."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.model import load_engine
from embedding.settings import Settings
from tests.tiny_gemma import DIMENSION, MAX_TOKENS, WINDOW

TEXTS = [
    "What is machine learning?",
    "x",
    "Ein Satz mit Umlauten: Übergrößenträger",
    "量子纠缠与信息论",
    "def f(x):\n    return x ** 2  # 数",
    "🙂 emoji and \u200d joiners",
    "a\x00b",
    "  spaces around  ",
    "The entropy of a lattice. " * 4,
]


@pytest.fixture(scope="module", params=["demo", "gemma", "torch_demo", "torch_gemma"])
def served(request: pytest.FixtureRequest) -> tuple[httpx.Client, SentenceTransformer]:
    folder = "demo_model" if request.param.endswith("demo") else "tiny_gemma"
    return request.getfixturevalue(request.param), SentenceTransformer(
        str(request.getfixturevalue(folder)), device="cpu"
    )


def predict(client: httpx.Client, query: str | list[str]) -> np.ndarray:
    answer = client.post("/predict", json={"query": query})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_gives_what_encode_query_gives(served, text: str) -> None:
    client, reference = served

    vector = predict(client, text)

    assert vector.shape == (reference.get_embedding_dimension(),)
    np.testing.assert_allclose(vector, reference.encode_query(text), atol=1e-5)


def test_a_list_gives_a_vector_each_in_its_order(served) -> None:
    client, reference = served

    vectors = predict(client, TEXTS)

    np.testing.assert_allclose(vectors, reference.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(vectors[3], predict(client, TEXTS[3]), atol=1e-5)


def test_a_list_of_one_gives_a_list_of_one(served) -> None:
    client, reference = served

    assert predict(client, ["one"]).shape == (1, reference.get_embedding_dimension())


def test_the_query_prompt_is_used(gemma: httpx.Client, tiny_gemma: Path) -> None:
    bare = SentenceTransformer(str(tiny_gemma), device="cpu").encode("lattice", prompt="")

    assert np.abs(predict(gemma, "lattice") - bare).max() > 1e-3


def test_texts_beyond_the_attention_window_agree(gemma: httpx.Client, tiny_gemma: Path) -> None:
    text = "window " * (WINDOW // 2)
    engine = load_engine(Settings.read(model_id=str(tiny_gemma)))
    assert WINDOW < engine.tokenize([text], "query")[0].total < MAX_TOKENS

    reference = SentenceTransformer(str(tiny_gemma), device="cpu").encode_query(text)

    np.testing.assert_allclose(predict(gemma, text), reference, atol=1e-5)


def test_a_text_beyond_the_limit_is_cut_and_the_cut_reported(served) -> None:
    client, reference = served
    long = "entropy " * 2000

    answer = client.post("/predict", json={"query": [long, "short", long]})

    assert answer.headers["X-Truncated"] == "2"
    np.testing.assert_allclose(answer.json(), reference.encode_query([long, "short", long]), atol=1e-5)


def test_a_text_within_the_limit_reports_no_cut(gemma: httpx.Client) -> None:
    assert "X-Truncated" not in gemma.post("/predict", json={"query": "short"}).headers


def test_a_refused_cut_names_both_token_counts(gemma: httpx.Client, tiny_gemma: Path) -> None:
    long = "entropy " * 2000
    total = load_engine(Settings.read(model_id=str(tiny_gemma))).tokenize([long], "query")[0].total

    answer = gemma.post("/predict", json={"query": ["short", long], "truncate": False})

    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert detail["loc"] == ["body", "query", 1]
    assert str(total) in detail["msg"]
    assert str(MAX_TOKENS) in detail["msg"]


def test_bfloat16_stays_close_to_float32_and_of_unit_length(tiny_gemma: Path) -> None:
    engines = [load_engine(Settings.read(model_id=str(tiny_gemma), precision=p)) for p in ("bfloat16", "float32")]

    half, full = (engine.embed(engine.tokenize(TEXTS, "query")) for engine in engines)

    assert half.shape == (len(TEXTS), DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-5)
    assert (half * full).sum(axis=1).min() > 0.99
    assert not np.allclose(half, full, atol=1e-6)


def test_documents_get_the_document_prompt(gemma: httpx.Client, tiny_gemma: Path) -> None:
    vectors = gemma.post("/predict", json={"query": TEXTS, "task": "document"}).json()

    reference = SentenceTransformer(str(tiny_gemma), device="cpu").encode_document(TEXTS)
    np.testing.assert_allclose(vectors, reference, atol=1e-5)
