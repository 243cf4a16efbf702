"""Cohere's protocol: `/v2/embed`, and `/v1/embed` before it."""

import base64
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer, quantize_embeddings

from tests.tiny_gemma import DIMENSION

TEXTS = ["What is machine learning?", "量子纠缠与信息论", "The entropy of a lattice. " * 4]
LONG = "entropy " * 300
QUERY = {"texts": TEXTS, "input_type": "search_query"}


@pytest.fixture(scope="module")
def reference(tiny_gemma: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma), device="cpu")


@pytest.fixture
def embed(gemma: httpx.Client) -> Any:
    """Asks for vectors, by default of the query prompt, and gives the answer."""
    name = gemma.get("/api/tags").json()["models"][0]["name"]

    def embed(path: str = "/v2/embed", **more: object) -> httpx.Response:
        body = {"model": name, **QUERY, **more}
        return gemma.post(path, json={**body, "model": body["model"].replace("NAME", name)})

    return embed


def vectors(answer: httpx.Response, kind: str = "float") -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["embeddings"][kind])


@pytest.mark.parametrize(
    ("input_type", "prompt"),
    [
        ("search_query", "task: search result | query: "),
        ("search_document", "title: none | text: "),
        ("classification", "task: kind of text | query: "),
        ("clustering", "task: clustering | query: "),
        (None, "task: search result | query: "),
    ],
)
def test_the_input_type_says_which_prompt(
    embed: Any, reference: SentenceTransformer, input_type: str | None, prompt: str
) -> None:
    answer = embed(input_type=input_type)

    np.testing.assert_allclose(vectors(answer), reference.encode(TEXTS, prompt=prompt), atol=1e-5)


def test_every_type_is_what_sentence_transformers_makes_of_the_vectors(
    embed: Any, gemma: httpx.Client, reference: SentenceTransformer
) -> None:
    expected = reference.encode_query(TEXTS)

    answer = embed(embedding_types=["float", "int8", "uint8", "binary", "ubinary", "base64"])

    served = vectors(answer)
    np.testing.assert_allclose(served, expected, atol=1e-5)
    for kind in ("binary", "ubinary"):
        assert vectors(answer, kind).tolist() == quantize_embeddings(expected, kind).tolist()
    told = gemma.get("/info").json()["int8_ranges"]
    ranges = np.array([told["minimum"], told["maximum"]])
    for kind in ("int8", "uint8"):
        rounded = quantize_embeddings(served.astype(np.float32), kind, ranges=ranges)
        assert np.abs(vectors(answer, kind) - rounded.astype(int)).max() <= 1  # a step, where a number is at its edge
    decoded = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in answer.json()["embeddings"]["base64"]]
    np.testing.assert_allclose(decoded, served, atol=1e-7)


def test_vectors_are_cut_and_of_unit_length_again(embed: Any, reference: SentenceTransformer) -> None:
    expected = reference.encode_query(TEXTS, truncate_dim=32, normalize_embeddings=True)

    np.testing.assert_allclose(vectors(embed(output_dimension=32)), expected, atol=1e-5)
    assert vectors(embed(output_dimension=DIMENSION)).shape == (3, DIMENSION)


def test_the_answer_has_what_clients_read(embed: Any) -> None:
    answer = embed(texts=["lattice"]).json()

    assert answer["id"]
    assert answer["texts"] == ["lattice"]
    assert answer["response_type"] == "embeddings_by_type"
    assert answer["meta"]["api_version"] == {"version": "2"}
    assert answer["meta"]["billed_units"]["input_tokens"] > 1


def test_the_first_version_answers_plain_lists_unless_types_are_named(
    embed: Any, reference: SentenceTransformer
) -> None:
    plain = embed("/v1/embed").json()
    typed = embed("/v1/embed", embedding_types=["float"]).json()

    assert (plain["response_type"], typed["response_type"]) == ("embeddings_floats", "embeddings_by_type")
    assert plain["embeddings"] == typed["embeddings"]["float"]
    np.testing.assert_allclose(plain["embeddings"], reference.encode_query(TEXTS), atol=1e-5)


def test_inputs_of_text_are_texts(embed: Any) -> None:
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]

    assert vectors(embed(texts=None, inputs=inputs)).tolist() == vectors(embed()).tolist()


def test_a_long_text_is_cut_at_the_end_that_the_caller_names(embed: Any) -> None:
    end, default = embed(texts=[LONG + "zebra"], truncate="END"), embed(texts=[LONG + "zebra"])
    start = embed(texts=["zebra " + LONG], truncate="START")
    plain = embed(texts=[LONG])

    assert end.json()["embeddings"] == default.json()["embeddings"] == plain.json()["embeddings"]
    assert start.json()["embeddings"] != embed(texts=["zebra " + LONG]).json()["embeddings"]
    assert start.json()["embeddings"] == embed(texts=[LONG], truncate="START").json()["embeddings"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"texts": ["x", " "]}, "texts[1] must not be blank"),
        ({"texts": []}, "texts"),
        ({"texts": "x"}, "texts must be"),
        ({"texts": ["x"] * 129}, "129 texts"),
        ({"texts": None}, "texts"),
        ({"texts": [LONG], "truncate": "NONE"}, "texts[0] has"),
        ({"truncate": "MIDDLE"}, "truncate must be"),
        ({"input_type": "image"}, "input_type"),
        ({"input_type": "nonsense"}, "input_type"),
        ({"embedding_types": ["float64"]}, "embedding_types"),
        ({"embedding_types": []}, "embedding_types"),
        ({"output_dimension": 0}, "output_dimension"),
        ({"output_dimension": DIMENSION + 1}, f"must be 1 to {DIMENSION}"),
        ({"images": ["data:image/png;base64,"]}, "images"),
        ({"texts": None, "inputs": [{"content": [{"type": "image_url", "image_url": {"url": ""}}]}]}, "inputs[0]"),
        ({"inputs": [{"content": [{"type": "text", "text": "x"}]}]}, "inputs"),
        ({"model": "NAME:document"}, "input_type is another"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_said_in_cohere_s_shape(embed: Any, body: dict[str, object], words: str) -> None:
    answer = embed(**body)

    assert answer.status_code == 422, answer.text
    assert words in answer.json()["message"]
    assert "entropy" not in answer.text


def test_other_errors_have_their_own_status(gemma: httpx.Client, embed: Any) -> None:
    unknown = embed(model="embed-v4.0")
    no_token = httpx.post(f"{gemma.base_url}/v2/embed", json=QUERY)

    assert (unknown.status_code, no_token.status_code) == (404, 401)
    assert "no such model" in unknown.json()["message"]
    assert "token" in no_token.json()["message"]


def test_a_type_that_is_asked_for_a_hundred_thousand_times_is_made_once(embed: Any) -> None:
    start = time.perf_counter()

    answer = embed(embedding_types=["base64", "int8"] * 80_000, texts=TEXTS * 40)

    assert set(answer.json()["embeddings"]) == {"base64", "int8"}
    assert time.perf_counter() - start < 10  # it took minutes, in which nobody else was answered
