"""The protocol of Text Embeddings Inference: vectors, similarities, tokens, and what the service is."""

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.model import load_engine
from embedding.settings import Settings
from tests.tiny_gemma import DIMENSION, MAX_TOKENS

TEXTS = ["What is machine learning?", "量子纠缠与信息论", "The entropy of a lattice. " * 4]
LONG = "entropy " * 300
SENTENCES = {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}


@pytest.fixture(scope="module")
def reference(tiny_gemma: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma), device="cpu")


def ask(server: httpx.Client, path: str, **body: object) -> Any:
    answer = server.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_vectors_are_those_of_sentence_transformer(
    gemma: httpx.Client, reference: SentenceTransformer, path: str
) -> None:
    queries = reference.encode_query(TEXTS)

    np.testing.assert_allclose(ask(gemma, path, inputs=TEXTS), queries, atol=1e-5)
    np.testing.assert_allclose(ask(gemma, path, inputs=TEXTS[0]), queries[:1], atol=1e-5)
    np.testing.assert_allclose(
        ask(gemma, path, inputs=TEXTS, prompt_name="document"), reference.encode_document(TEXTS), atol=1e-5
    )
    np.testing.assert_allclose(
        ask(gemma, path, inputs=TEXTS, dimensions=32),
        reference.encode_query(TEXTS, truncate_dim=32, normalize_embeddings=True),
        atol=1e-5,
    )


def test_vectors_come_as_they_were_before_normalisation(gemma: httpx.Client, reference: SentenceTransformer) -> None:
    normalize = reference.pop(-1)
    try:
        expected = reference.encode_query(TEXTS)
    finally:
        reference.append(normalize)

    raw = ask(gemma, "/embed", inputs=TEXTS, normalize=False)

    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ask(gemma, "/embed", inputs=TEXTS, normalize=True), ask(gemma, "/embed", inputs=TEXTS))


@pytest.mark.parametrize("path", ["/similarity", "/"])
def test_similarities_are_cosines(gemma: httpx.Client, reference: SentenceTransformer, path: str) -> None:
    vectors = reference.encode_query(TEXTS)

    answer = ask(gemma, path, inputs=SENTENCES)
    documents = ask(gemma, path, inputs=SENTENCES, parameters={"prompt_name": "document", "truncate": True})

    np.testing.assert_allclose(answer, vectors[1:] @ vectors[0], atol=1e-5)
    assert documents != answer


def test_a_long_text_is_cut_at_the_end_that_the_caller_names(gemma: httpx.Client) -> None:
    right = ask(gemma, "/embed", inputs=LONG + "zebra")
    left = ask(gemma, "/embed", inputs="zebra " + LONG, truncation_direction="left")
    refused = gemma.post("/embed", json={"inputs": LONG, "truncate": False})

    assert right == ask(gemma, "/embed", inputs=LONG, truncate=True, truncation_direction="right")
    assert left == ask(gemma, "/embed", inputs=LONG, truncation_direction="left")
    assert left != ask(gemma, "/embed", inputs="zebra " + LONG)
    assert ask(gemma, "/embed", inputs="x", truncation_direction="left") == ask(gemma, "/embed", inputs="x")
    assert refused.status_code == 422
    assert (refused.json()["error_type"], "reads at most" in refused.json()["error"]) == ("Validation", True)


def test_every_token_has_the_encoder_s_own_vector(
    gemma: httpx.Client, torch_gemma: httpx.Client, reference: SentenceTransformer
) -> None:
    expected = reference.encode_query(TEXTS, output_value="token_embeddings")

    for server in (gemma, torch_gemma):
        served = ask(server, "/embed_all", inputs=TEXTS)
        documents = ask(server, "/embed_all", inputs=TEXTS[0], prompt_name="document")

        assert [len(vectors) for vectors in served] == [len(vectors) for vectors in expected]
        for vectors, others in zip(served, expected, strict=True):
            np.testing.assert_allclose(vectors, others.numpy(), atol=1e-4)
        assert documents != served[:1]
    assert len(ask(gemma, "/embed_all", inputs=LONG)[0]) == MAX_TOKENS


def test_vectors_of_too_many_tokens_are_refused(gemma: httpx.Client) -> None:
    answer = gemma.post("/embed_all", json={"inputs": [f"{place} {LONG}" for place in range(60)]})

    assert answer.status_code == 422
    assert "send fewer texts" in answer.json()["error"]


def test_the_tokens_of_a_long_text_are_found_in_a_moment(prepared_gemma: Path) -> None:
    engine = load_engine(Settings.read(model_id=str(prepared_gemma), precision="float32"))

    start = time.thread_time()
    tokens = engine.tokens("!?" * 50_000, "query", "", True)

    assert len(tokens) > 90_000
    assert time.thread_time() - start < 2  # it took five


def test_tokens_are_those_of_the_model(gemma: httpx.Client, reference: SentenceTransformer) -> None:
    plain = ask(gemma, "/tokenize", inputs=TEXTS)
    bare = ask(gemma, "/tokenize", inputs=TEXTS[0], add_special_tokens=False)
    prompted = ask(gemma, "/tokenize", inputs=TEXTS[0], prompt_name="query")

    for tokens, text in zip(plain, TEXTS, strict=True):
        assert [token["id"] for token in tokens] == reference.tokenizer(text)["input_ids"]
        assert [(token["start"], token["stop"]) for token in tokens if token["special"]] == [(None, None)] * 2
        assert all(token["text"] for token in tokens)
    assert bare == [plain[0][1:-1]]
    assert "".join(TEXTS[0][token["start"] : token["stop"]] for token in bare[0]) == TEXTS[0]
    assert [token["id"] for token in prompted[0]] == reference.tokenizer(reference.prompts["query"] + TEXTS[0])[
        "input_ids"
    ]
    assert len(ask(gemma, "/tokenize", inputs=LONG)[0]) > MAX_TOKENS


def test_ids_are_decoded(gemma: httpx.Client) -> None:
    ids = [[token["id"] for token in tokens] for tokens in ask(gemma, "/tokenize", inputs=TEXTS)]

    assert ask(gemma, "/decode", ids=ids) == TEXTS
    assert ask(gemma, "/decode", ids=ids[0]) == TEXTS[:1]
    assert ask(gemma, "/decode", ids=ids[0], skip_special_tokens=False) == [f"<bos>{TEXTS[0]}<eos>"]


def test_info_has_the_fields_of_both(gemma: httpx.Client) -> None:
    info = gemma.get("/info").json()

    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["auto_truncate"] is True
    assert info["max_input_length"] == MAX_TOKENS
    assert info["max_batch_tokens"] >= 1
    assert {"model_id", "model_sha", "model_dtype", "max_concurrent_requests", "max_client_batch_size"} <= set(info)
    assert {"served_model_name", "max_batch_requests", "tokenization_workers", "version", "sha", "docker_label"} <= set(
        info
    )
    assert info["dimension"] == DIMENSION


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "words"),
    [
        ("/embed", {"inputs": []}, 400, "Empty", "inputs"),
        ("/similarity", {"inputs": {"source_sentence": "x", "sentences": []}}, 400, "Empty", "sentences"),
        ("/tokenize", {"inputs": []}, 400, "Empty", "inputs"),
        ("/decode", {"ids": []}, 400, "Empty", "ids"),
        ("/embed", {"inputs": ["x", " "]}, 422, "Validation", "inputs[1] must not be blank"),
        ("/embed", {"inputs": ["x"] * 129}, 422, "Validation", "129 texts"),
        ("/embed", {"inputs": [[1, 2, 3]]}, 422, "Validation", "token ids"),
        ("/embed", {"inputs": [1, 2, 3]}, 422, "Validation", "token ids"),
        ("/embed", {"inputs": [["a", "b"]]}, 422, "Validation", "inputs[0]"),
        ("/embed", {"inputs": "x", "prompt_name": "nonsense"}, 422, "Validation", "prompt_name"),
        ("/embed", {"inputs": "x", "dimensions": 0}, 422, "Validation", "dimensions"),
        ("/embed", {"inputs": "x", "dimensions": DIMENSION + 1}, 422, "Validation", f"must be 1 to {DIMENSION}"),
        ("/embed", {"inputs": "x", "truncation_direction": "up"}, 422, "Validation", "truncation_direction"),
        ("/embed", {"inputs": "x", "colour": "red"}, 422, "Validation", "colour"),
        ("/", {"colour": "red"}, 422, "Validation", "colour"),
        ("/similarity", {"inputs": "x"}, 422, "Validation", "inputs"),
        ("/tokenize", {"inputs": "x", "prompt_name": "nonsense"}, 422, "Validation", "prompt_name"),
        ("/tokenize", {"inputs": "!?" * 50_001}, 422, "Validation", "at most 100000"),
        ("/embed", {"inputs": "x", "prompt_name": ""}, 422, "Validation", "prompt_name"),
        ("/decode", {"ids": [10**9]}, 422, "Tokenizer", "ids"),
        ("/decode", {"ids": [-1]}, 422, "Validation", "ids"),
    ],
)
def test_what_is_wrong_is_said_in_the_protocol_s_shape(
    gemma: httpx.Client, path: str, body: dict[str, object], status: int, kind: str, words: str
) -> None:
    answer = gemma.post(path, json=body)

    assert (answer.status_code, answer.json()["error_type"]) == (status, kind), answer.text
    assert words in answer.json()["error"]


def test_the_root_is_a_page_for_all_and_gives_vectors_to_who_has_the_token(gemma: httpx.Client) -> None:
    page = httpx.get(str(gemma.base_url))
    no_token = httpx.post(str(gemma.base_url), json={"inputs": "x"})

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert no_token.status_code == 401
    assert no_token.json()["error_type"] == "Unauthorized"
