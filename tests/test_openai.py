"""OpenAI's protocol: its shapes, its errors, and the model's prompts behind the model's name."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.api.app import create_service
from embedding.settings import Settings, SettingsError
from tests.live import live
from tests.tiny_gemma import DIMENSION, PROMPTS

TEXTS = ["a lattice of atoms", "bread rises", "def f(x): return x ** 2"]
PAGE = "https://pages.example.org"


@pytest.fixture(scope="module")
def reference(tiny_gemma: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_gemma), device="cpu")


@pytest.fixture(scope="module")
def chosen(tiny_gemma: Path, prepared_gemma: Path) -> Iterator[httpx.Client]:
    """The tiny Gemma with everything set that an operator can set."""
    with live(
        model_id=str(tiny_gemma),
        precision="float32",
        served_model_name="*",
        default_task="none",
        default_dimensions=32,
        accept_token_ids=True,
        cors_origins=f"{PAGE.replace('pages', 'Pages')}, http://localhost:3000",
    ) as client:
        yield client


def ask(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def vectors(answer: dict[str, Any]) -> np.ndarray:
    return np.array([item["embedding"] for item in answer["data"]])


def refused(answer: httpx.Response, status: int, code: str, param: str | None, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert words in error["message"]
    assert error["type"]


def test_the_answer_has_openai_s_shape(gemma: httpx.Client, reference: SentenceTransformer) -> None:
    answer = ask(gemma, input=TEXTS, model="model", user="someone", encoding_format="float")

    assert (answer["object"], answer["model"]) == ("list", "model")
    assert [(item["object"], item["index"]) for item in answer["data"]] == [("embedding", i) for i in range(3)]
    tokens = sum(len(reference.tokenizer(PROMPTS["query"] + text).input_ids) for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    np.testing.assert_allclose(vectors(answer), reference.encode_query(TEXTS), atol=1e-5)


def test_one_text_is_a_list_of_one(gemma: httpx.Client, reference: SentenceTransformer) -> None:
    found = vectors(ask(gemma, input=TEXTS[0]))

    np.testing.assert_allclose(found, reference.encode_query(TEXTS[:1]), atol=1e-5)


def test_base64_is_little_endian_float32(gemma: httpx.Client) -> None:
    listed, packed = ask(gemma, input=TEXTS), ask(gemma, input=TEXTS, encoding_format="base64")

    for a, b in zip(listed["data"], packed["data"], strict=True):
        np.testing.assert_array_equal(
            np.frombuffer(base64.b64decode(b["embedding"]), "<f4"), np.float32(a["embedding"])
        )


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"model": "model:query"}, PROMPTS["query"]),
        ({"model": "model:document"}, PROMPTS["document"]),
        ({"model": "model:Summarization"}, PROMPTS["Summarization"]),
        ({"model": "model:clustering"}, "task: clustering | query: "),
        ({"model": "model:none"}, ""),
        ({"task": "document"}, PROMPTS["document"]),
        ({"input_type": "search_document"}, PROMPTS["document"]),
        ({"input_type": "search_query"}, PROMPTS["query"]),
        ({"model": "model:document", "task": "document"}, PROMPTS["document"]),
        ({"model": "model:document", "title": "T"}, "title: T | text: "),
        ({"task": "document", "title": ["T"] * 3}, "title: T | text: "),
    ],
)
def test_the_name_or_the_task_chooses_the_prompt(
    gemma: httpx.Client, reference: SentenceTransformer, fields: dict[str, Any], prompt: str
) -> None:
    np.testing.assert_allclose(
        vectors(ask(gemma, input=TEXTS, **fields)), reference.encode(TEXTS, prompt=prompt), atol=1e-5
    )


def test_dimensions_cut_and_normalise(gemma: httpx.Client, reference: SentenceTransformer) -> None:
    cut = reference.encode_query(TEXTS)[:, :20]

    found = vectors(ask(gemma, input=TEXTS, dimensions=20))

    np.testing.assert_allclose(found, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-5)
    assert vectors(ask(gemma, input=TEXTS, dimensions=DIMENSION)).shape == (3, DIMENSION)


def test_the_model_goes_by_its_id_and_the_last_part_of_it(gemma: httpx.Client, tiny_gemma: Path) -> None:
    for name in (str(tiny_gemma), "model", f"{tiny_gemma}:document", "model:latest"):
        assert ask(gemma, input="x", model=name)["model"] == name
        found = gemma.get(f"/v1/models/{quote(name, safe='')}").json()
        assert (found["id"], found["object"]) == (name, "model")
        assert gemma.get(f"/v1/models/{name}").json() == found


def test_all_names_are_listed(gemma: httpx.Client) -> None:
    listed = gemma.get("/v1/models").json()

    names = [model["id"] for model in listed["data"]]
    assert listed["object"] == "list"
    assert names[:3] == ["model", "model:query", "model:document"]
    assert {"model:classification", "model:Summarization", "model:none"} < set(names)
    assert {type(model["created"]) for model in listed["data"]} == {int}


@pytest.mark.parametrize("name", ["text-embedding-3-small", "model:walrus", ":document", "MODEL"])
def test_another_model_is_not_found(gemma: httpx.Client, name: str) -> None:
    refused(
        gemma.post("/v1/embeddings", json={"input": "x", "model": name}), 404, "model_not_found", "model", "'model'"
    )
    refused(gemma.get(f"/v1/models/{name}"), 404, "model_not_found", None)


def test_token_ids_are_refused_with_the_cure(gemma: httpx.Client) -> None:
    for ids in ([5, 6, 7], [[5, 6], [7]]):
        answer = gemma.post("/v1/embeddings", json={"input": ids})

        refused(answer, 422, "token_ids", "input", "check_embedding_ctx_length=False")
        assert "ACCEPT_TOKEN_IDS" in answer.text


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing", "input"),
        ({"input": ""}, "text_blank", "input"),
        ({"input": ["x", " "]}, "text_blank", "input[1]"),
        ({"input": []}, "length", "input"),
        ({"input": ["x", 3]}, "type", "input[1]"),
        ({"input": [["x"]]}, "type", "input[0][0]"),
        ({"input": None}, "type", "input"),
        ({"input": ["x"] * 129}, "too_many_texts", "input"),
        ({"input": "x", "dimensions": DIMENSION + 1}, "range", "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "type", "encoding_format"),
        ({"input": "x", "task": "walrus"}, "task_unknown", "task"),
        ({"input": "x", "input_type": "walrus"}, "task_unknown", "input_type"),
        ({"input": "x", "model": "model:query", "task": "document"}, "task", "task"),
        ({"input": "x", "task": "query", "input_type": "query"}, "task", "input_type"),
        ({"input": "x", "title": "T", "model": "model:query"}, "title_of_a_query", "title"),
        ({"input": "granite " * 900, "truncate": False}, "text_too_long", "input"),
        ({"input": "x", "dimension": 3}, "extra_forbidden", "dimension"),
    ],
)
def test_bad_input_is_told_in_openai_s_shape(gemma: httpx.Client, body: Any, code: str, param: str) -> None:
    refused(gemma.post("/v1/embeddings", json=body), 422, code, param)


def test_other_errors_have_openai_s_shape_too(gemma: httpx.Client) -> None:
    for path in ("/v1/models", "/v1/models/model", "/v1/embeddings"):
        answer = httpx.get(f"{gemma.base_url}{path}")
        refused(answer, 401, "invalid_api_key", None, "token")
    assert gemma.get("/v1/embeddings").json()["error"]["type"] == "invalid_request_error"
    refused(gemma.post("/v1/embeddings", content=b"x" * 2_000_001), 413, "too_large", None)


def test_any_name_will_do_where_the_operator_says_so(chosen: httpx.Client, reference: SentenceTransformer) -> None:
    for name in ("text-embedding-3-small", "gpt-4:0613"):
        found = vectors(ask(chosen, input=TEXTS, model=name, dimensions=DIMENSION))
        np.testing.assert_allclose(found, reference.encode(TEXTS, prompt=""), atol=1e-5)
    found = vectors(ask(chosen, input=TEXTS, model="text-embedding-3-small:document", dimensions=DIMENSION))
    np.testing.assert_allclose(found, reference.encode_document(TEXTS), atol=1e-5)


def test_the_operator_s_defaults_are_for_who_can_t_ask(chosen: httpx.Client) -> None:
    assert vectors(ask(chosen, input=TEXTS)).shape == (3, 32)
    assert len(chosen.post("/predict", json={"query": "x"}).json()) == 32
    told = chosen.get("/info").json()
    assert (told["default_task"], told["default_dimensions"], told["dimension"]) == ("none", 32, DIMENSION)


def test_token_ids_of_this_model_stand_for_their_text(chosen: httpx.Client, reference: SentenceTransformer) -> None:
    ids = [reference.tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]

    assert vectors(ask(chosen, input=ids)).tolist() == vectors(ask(chosen, input=TEXTS)).tolist()
    assert vectors(ask(chosen, input=ids[0])).tolist() == vectors(ask(chosen, input=TEXTS[0])).tolist()
    for bad, param in (([5, 10**6], "input"), ([5, -1], "input"), ([[5], 5], "input[1]"), ([[5], []], "input[1]")):
        answer = chosen.post("/v1/embeddings", json={"input": bad})
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)


def test_pages_of_the_origins_that_are_named_are_let_in(chosen: httpx.Client) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    for path in ("/predict", "/v1/embeddings"):
        preflight = httpx.options(f"{chosen.base_url}{path}", headers={"Origin": PAGE, **asks})
        assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]

        for headers in (dict(chosen.headers), {}):  # with a token, and without
            for body in ({"query": "x"}, {"walrus": 1}):
                answer = httpx.post(f"{chosen.base_url}{path}", json=body, headers={**headers, "Origin": PAGE})
                assert answer.headers["Access-Control-Allow-Origin"] == PAGE, answer.status_code
                assert "X-Model-Id" in answer.headers["Access-Control-Expose-Headers"]


def test_pages_of_other_origins_are_not(chosen: httpx.Client, gemma: httpx.Client) -> None:
    for server, origin in ((chosen, "https://elsewhere.example.org"), (gemma, PAGE)):
        asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for answer in (
            httpx.options(f"{server.base_url}/predict", headers=asks),
            server.post("/predict", json={"query": "x"}, headers={"Origin": origin}),
        ):
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(("option", "value"), [("default_task", "walrus"), ("default_dimensions", DIMENSION + 1)])
def test_a_default_that_the_model_can_t_have_ends_the_start(
    tiny_gemma: Path, prepared_gemma: Path, option: str, value: Any
) -> None:
    service = create_service(Settings.read(model_id=str(tiny_gemma), precision="float32", **{option: value}))

    with pytest.raises(SettingsError, match=option.upper()):
        service.load_now()


@pytest.mark.parametrize("origins", ["example.org", "https://example.org/", "https://a.org, ftp://b.org"])
def test_what_is_no_origin_is_no_option(origins: str) -> None:
    with pytest.raises(SettingsError, match="CORS_ORIGINS"):
        Settings.read(cors_origins=origins)


def test_a_name_of_the_operator_s_may_be_said_by_its_last_part(tiny_gemma: Path, prepared_gemma: Path) -> None:
    with live(model_id=str(tiny_gemma), precision="float32", served_model_name="acme/embedder") as client:
        for name in ("acme/embedder", "embedder", "embedder:document", "acme/embedder:document"):
            ask(client, input=TEXTS[:1], model=name)
        refused(client.post("/v1/embeddings", json={"input": "x", "model": "acme"}), 404, "model_not_found", "model")


@pytest.mark.parametrize("field", ["task", "input_type"])
def test_a_task_without_a_name_is_none(gemma: httpx.Client, field: str) -> None:
    refused(gemma.post("/v1/embeddings", json={"input": "x", field: ""}), 422, "task_unknown", field)


@pytest.mark.parametrize("dimensions", [0, DIMENSION + 1, "walrus", "9" * 5000])
def test_info_refuses_dimensions_that_there_are_not_and_does_not_send_them_back(
    gemma: httpx.Client, dimensions: int | str
) -> None:
    answer = gemma.get("/info", params={"dimensions": dimensions})

    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert (problem["loc"], set(problem)) == (["query", "dimensions"], {"loc", "type", "msg"})
    assert "walrus" not in answer.text
