"""`/predict` beyond a text: tasks, prompts, titles, dimensions, precisions and encodings, as the reference has them."""

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer, quantize_embeddings

from tests.tiny_gemma import DIMENSION, MAX_TOKENS, PROMPTS

TEXTS = ["a lattice of atoms", "Übergrößenträger 量子 🙂", "def f(x): return x ** 2"]


@pytest.fixture(scope="module")
def reference(tiny_gemma: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma), device="cpu")


@pytest.fixture(params=["gemma", "torch_gemma"])
def served(request: pytest.FixtureRequest) -> httpx.Client:
    return request.getfixturevalue(request.param)


def predict(client: httpx.Client, query: Any = TEXTS, **fields: Any) -> np.ndarray:
    answer = client.post("/predict", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json())


def refusal(client: httpx.Client, query: Any = TEXTS, **fields: Any) -> tuple[list[str | int], str]:
    answer = client.post("/predict", json={"query": query, **fields})
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["detail"]
    return problem["loc"][1:], problem["msg"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("query", PROMPTS["query"]),
        ("document", PROMPTS["document"]),
        ("search_document", PROMPTS["document"]),
        ("classification", PROMPTS["Classification"]),
        ("clustering", "task: clustering | query: "),
        ("similarity", "task: sentence similarity | query: "),
        ("code", "task: code retrieval | query: "),
        ("question-answering", "task: question answering | query: "),
        ("fact-checking", "task: fact checking | query: "),
        ("Summarization", PROMPTS["Summarization"]),
        ("none", ""),
    ],
)
def test_a_task_has_its_prompt(served: httpx.Client, reference: SentenceTransformer, task: str, prompt: str) -> None:
    np.testing.assert_allclose(predict(served, task=task), reference.encode(TEXTS, prompt=prompt), atol=1e-5)


def test_an_unknown_task_is_told_those_there_are(served: httpx.Client) -> None:
    location, words = refusal(served, task="walrus")

    assert location == ["task"]
    assert "walrus" not in words
    for known in ("'query'", "'document'", "'fact-checking'", "'Summarization'", "'none'"):
        assert known in words


def test_own_words_take_the_place_of_the_prompt(served: httpx.Client, reference: SentenceTransformer) -> None:
    for task in (None, "document"):
        vectors = predict(served, prompt="find: ", task=task)
        np.testing.assert_allclose(vectors, reference.encode(TEXTS, prompt="find: "), atol=1e-5)
    np.testing.assert_allclose(predict(served, prompt=""), reference.encode(TEXTS, prompt=""), atol=1e-5)


def test_titles_stand_in_the_document_prompt(served: httpx.Client, reference: SentenceTransformer) -> None:
    titles = ["On lattices", None, "  "]
    prompts = ["title: On lattices | text: ", PROMPTS["document"], PROMPTS["document"]]
    expected = [reference.encode(text, prompt=prompt) for text, prompt in zip(TEXTS, prompts, strict=True)]

    np.testing.assert_allclose(predict(served, task="document", titles=titles), expected, atol=1e-5)
    np.testing.assert_allclose(predict(served, titles=titles), expected, atol=1e-5)
    np.testing.assert_allclose(predict(served, TEXTS[0], title="On lattices"), expected[0], atol=1e-5)


def test_a_title_that_is_cut_counts_as_a_cut(served: httpx.Client) -> None:
    long = {"query": [TEXTS[0], TEXTS[1]], "titles": ["granite harbour " * 60, "x"]}

    answer = served.post("/predict", json=long)

    assert (answer.status_code, answer.headers["X-Truncated-Texts"]) == (200, "0")
    location, words = refusal(served, **long, truncate=False)
    assert location == ["query", 0]
    assert "tokens" in words


@pytest.mark.parametrize(
    ("fields", "location", "words"),
    [
        ({"title": "x", "task": "query"}, ["title"], "belongs to a document"),
        ({"task": ""}, ["task"], "'query' or 'document'"),
        ({"task": "", "chunk": True}, ["task"], "'query' or 'document'"),
        ({"task": 7}, ["task"], "'query' or 'document'"),
        ({"titles": ["x"]}, ["titles"], "1 titles for 3 texts"),
        ({"titles": ["x", 3, "y"]}, ["titles", 1], "string"),
        ({"titles": ["x"] * 3, "title": "y"}, ["titles"], "beside title"),
        ({"title": "x" * 2001}, ["title"], "2001 characters, and may have 2000"),
        ({"titles": ["", "", "x" * 2001]}, ["titles", 2], "2001 characters"),
        ({"prompt": "x" * 2001}, ["prompt"], "2001 characters, and may have 2000"),
        ({"dimensions": 0}, ["dimensions"], "1"),
        ({"dimensions": DIMENSION + 1}, ["dimensions"], f"1 to {DIMENSION}"),
        ({"dimensions": 3.5}, ["dimensions"], "whole number"),
        ({"dimensions": True}, ["dimensions"], "whole number"),
        ({"precision": "int4"}, ["precision"], "'ubinary'"),
        ({"normalize": False, "precision": "int8"}, ["precision"], "no ranges"),
        ({"encoding_format": "hex"}, ["encoding_format"], "'base64'"),
    ],
)
def test_what_can_t_be_is_refused(gemma: httpx.Client, fields: dict[str, Any], location: Any, words: str) -> None:
    found, said = refusal(gemma, **fields)

    assert found == location
    assert words in said


def test_null_is_the_default_of_every_field(gemma: httpx.Client) -> None:
    names = "task prompt title titles dimensions normalize precision encoding_format truncate".split()

    assert predict(gemma, **dict.fromkeys(names)).tolist() == predict(gemma).tolist()


@pytest.mark.parametrize("dimensions", [1, 7, 32, DIMENSION - 1, DIMENSION])
def test_a_vector_is_cut_and_normalised_again(
    served: httpx.Client, reference: SentenceTransformer, dimensions: int
) -> None:
    cut = predict(served, dimensions=dimensions)

    assert cut.shape == (len(TEXTS), dimensions)
    np.testing.assert_allclose(cut, unit(reference.encode_query(TEXTS)[:, :dimensions]), atol=1e-5)


def test_the_full_size_is_the_same_to_the_byte(served: httpx.Client) -> None:
    whole, full = (
        served.post("/predict", json={"query": TEXTS, **fields}).content for fields in ({}, {"dimensions": DIMENSION})
    )

    assert full == whole


def test_vectors_from_before_the_normalisation(served: httpx.Client, reference: SentenceTransformer) -> None:
    bare = SentenceTransformer(modules=list(reference)[:-1], prompts=reference.prompts, device="cpu")
    expected = bare.encode_query(TEXTS)
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).min() > 0.1

    np.testing.assert_allclose(predict(served, normalize=False), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predict(served, normalize=False, dimensions=7), expected[:, :7], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(predict(served, normalize=True), reference.encode_query(TEXTS), atol=1e-5)


@pytest.mark.parametrize("dimensions", [DIMENSION, 20])
@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_numbers_are_rounded_as_sentence_transformers_does(
    served: httpx.Client, precision: Any, dimensions: int
) -> None:
    info = served.get("/info", params={"dimensions": dimensions}).json()["int8_ranges"]
    ranges = np.array([info["minimum"], info["maximum"]], np.float32)
    exact = predict(served, dimensions=dimensions).astype(np.float32)

    rounded = predict(served, precision=precision, dimensions=dimensions)

    expected = quantize_embeddings(exact, precision, ranges=ranges)
    assert rounded.shape == expected.shape
    assert np.abs(rounded - expected.astype(int)).max() <= (1 if precision.endswith("int8") else 0)
    assert info["texts"] > 50


def test_the_ranges_are_those_of_cut_vectors(gemma: httpx.Client) -> None:
    widths = [
        np.subtract(info["maximum"], info["minimum"])
        for size in (DIMENSION, 20)
        if (info := gemma.get("/info", params={"dimensions": size}).json()["int8_ranges"])
    ]

    assert [len(width) for width in widths] == [DIMENSION, 20]
    assert widths[1].mean() > 1.5 * widths[0][:20].mean()  # the fewer numbers, the larger each


def test_float16_is_rounding_alone(served: httpx.Client) -> None:
    exact = predict(served)

    half = predict(served, precision="float16").astype(np.float16)

    np.testing.assert_array_equal(half, exact.astype(np.float32).astype(np.float16))


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("float32", "<f4"), ("float16", "<f2"), ("int8", "|i1"), ("uint8", "|u1"), ("binary", "|i1"), ("ubinary", "|u1")],
)
def test_every_encoding_holds_the_same_numbers(gemma: httpx.Client, precision: str, kind: str) -> None:
    body = {"query": TEXTS, "precision": precision}
    lists = np.array(gemma.post("/predict", json=body).json()).astype(kind)

    packed = gemma.post("/predict", json={**body, "encoding_format": "base64"}).json()
    npy = gemma.post("/predict", json=body, headers={"Accept": "application/x-npy"})
    plain = gemma.post("/predict", json=body, headers={"Accept": "application/octet-stream"})

    assert [base64.b64decode(each) for each in packed] == [row.tobytes() for row in lists]
    loaded = np.load(io.BytesIO(npy.content))
    assert (npy.headers["Content-Type"], loaded.dtype.str) == ("application/x-npy", kind)
    np.testing.assert_array_equal(loaded, lists)
    assert plain.content == lists.tobytes()
    assert (plain.headers["X-Dtype"], plain.headers["X-Shape"]) == (kind, ",".join(map(str, lists.shape)))


def test_one_text_gives_one_vector_in_every_encoding(gemma: httpx.Client) -> None:
    vector = predict(gemma, "lattice").astype(np.float32)

    packed = gemma.post("/predict", json={"query": "lattice", "encoding_format": "base64"}).json()
    npy = gemma.post("/predict", json={"query": "lattice"}, headers={"Accept": "application/x-npy"})

    assert base64.b64decode(packed) == vector.tobytes()
    assert np.load(io.BytesIO(npy.content)).tolist() == vector.tolist()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("application/x-npy, application/json;q=0.5", "application/x-npy"),
        ("application/x-npy;q=0.5, application/json", "application/json"),
        ("application/octet-stream, */*", "application/octet-stream"),
        ("application/octet-stream;q=0.1, */*;q=0.8", "application/json"),
        ("application/x-npy;q=0", "application/json"),
        ("application/x-npy;q=many", "application/json"),
        ("Application/X-NPY", "application/x-npy"),
    ],
)
def test_the_caller_chooses_the_type(gemma: httpx.Client, accept: str, kind: str) -> None:
    answer = gemma.post("/predict", json={"query": "lattice"}, headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)


def test_what_changes_a_vector_is_not_taken_from_the_cache_of_another(gemma: httpx.Client) -> None:
    asked: list[dict[str, Any]] = [
        *({}, {"task": "document"}, {"prompt": "a"}, {"prompt": "b"}),
        *({"title": "a"}, {"title": "b"}, {"normalize": False}),
    ]

    first = [predict(gemma, "the same text", **fields).tolist() for fields in asked]

    assert len({str(vector) for vector in first}) == len(asked)
    assert [predict(gemma, "the same text", **fields).tolist() for fields in asked] == first


def test_a_cut_or_an_encoding_is_made_of_what_the_cache_has(gemma: httpx.Client) -> None:
    predict(gemma, "kept from before")

    answer = gemma.post("/predict", json={"query": "kept from before", "dimensions": 9, "precision": "int8"})

    assert "engine;dur=0.00" in answer.headers["Server-Timing"]


def test_the_prompt_counts_as_tokens_that_are_read(gemma: httpx.Client) -> None:
    answer = gemma.post("/predict", json={"query": ["a text"], "prompt": "granite harbour " * 100})

    assert answer.headers["X-Truncated"] == "1"
    assert MAX_TOKENS < 200
