"""Ollama's protocol: `/api/embed` and `/api/tags`, as far as its clients need them to embed."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from tests.tiny_gemma import DIMENSION

TEXTS = ["What is machine learning?", "量子纠缠与信息论"]


@pytest.fixture(scope="module")
def reference(tiny_gemma: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma), device="cpu")


@pytest.fixture
def name(gemma: httpx.Client) -> str:
    return str(gemma.get("/api/tags").json()["models"][0]["name"])


def embed(gemma: httpx.Client, model: str, **more: object) -> np.ndarray:
    answer = gemma.post("/api/embed", json={"model": model, "input": TEXTS, **more})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["embeddings"])


def test_the_name_s_tag_says_which_prompt(gemma: httpx.Client, name: str, reference: SentenceTransformer) -> None:
    for model in (name, f"{name}:latest", f"{name}:query"):
        np.testing.assert_allclose(embed(gemma, model), reference.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(embed(gemma, f"{name}:document"), reference.encode_document(TEXTS), atol=1e-5)


def test_vectors_are_cut_and_of_unit_length_again(
    gemma: httpx.Client, name: str, reference: SentenceTransformer
) -> None:
    expected = reference.encode_query(TEXTS, truncate_dim=32, normalize_embeddings=True)

    np.testing.assert_allclose(embed(gemma, name, dimensions=32), expected, atol=1e-5)


def test_one_text_is_a_list_of_one_and_the_old_endpoint_gives_its_vector(gemma: httpx.Client, name: str) -> None:
    one = gemma.post("/api/embed", json={"model": name, "input": TEXTS[0], "keep_alive": "5m", "options": {"seed": 1}})
    old = gemma.post("/api/embeddings", json={"model": name, "prompt": TEXTS[0]})

    assert one.json()["embeddings"] == [old.json()["embedding"]]
    assert one.json()["model"] == name
    assert one.json()["prompt_eval_count"] > 1
    assert one.json()["total_duration"] > 0


@pytest.mark.parametrize("nothing", ["", [], None])
def test_an_input_of_nothing_gives_no_vectors(gemma: httpx.Client, name: str, nothing: object) -> None:
    answer = gemma.post("/api/embed", json={"model": name, "input": nothing})

    assert (answer.status_code, answer.json()["embeddings"]) == (200, [])


def test_every_listed_name_is_served(gemma: httpx.Client) -> None:
    models = gemma.get("/api/tags").json()["models"]

    assert any(model["name"].endswith(":document") for model in models)
    for model in models:
        assert model["model"] == model["name"]
        assert model["details"]["embedding_length"] == DIMENSION
        assert {"modified_at", "size", "digest"} <= set(model)
        assert embed(gemma, model["name"]).shape == (2, DIMENSION)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"input": ["x", " "]}, "input[1] must not be blank"),
        ({"input": [[1, 2]]}, "input[0] must be a string"),
        ({"input": 3}, "input must be a string or a list of strings"),
        ({"input": "entropy " * 300, "truncate": False}, "input has"),
        ({"dimensions": DIMENSION + 1}, f"must be 1 to {DIMENSION}"),
        ({"dimensions": -1}, "dimensions"),
        ({"dimensions": DIMENSION + 1, "input": None}, f"must be 1 to {DIMENSION}"),
        ({"images": []}, "images"),
    ],
)
def test_what_is_wrong_is_said_in_ollama_s_shape(
    gemma: httpx.Client, name: str, body: dict[str, object], words: str
) -> None:
    answer = gemma.post("/api/embed", json={"model": name, "input": "x", **body})

    assert answer.status_code == 422, answer.text
    assert words in answer.json()["error"]
    assert "entropy" not in answer.text


def test_other_errors_have_their_own_status(gemma: httpx.Client) -> None:
    unknown = gemma.post("/api/embed", json={"model": "llama3", "input": "x"})
    no_token = httpx.post(f"{gemma.base_url}/api/embed", json={"model": "llama3", "input": "x"})

    assert (unknown.status_code, no_token.status_code) == (404, 401)
    assert "no such model" in unknown.json()["error"]
    assert "token" in no_token.json()["error"]
