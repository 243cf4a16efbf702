"""Bad input is answered with a status of the client's, naming the field, and disturbs nothing."""

import json

import httpx
import pytest

JSON = {"Content-Type": "application/json"}


def refused(answer: httpx.Response, status: int, location: list[str | int], words: str) -> None:
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert location in [item["loc"] for item in detail], detail
    assert words in " ".join(item["msg"] for item in detail), detail


@pytest.mark.parametrize(
    ("body", "location", "words"),
    [
        ({}, ["body", "query"], "required"),
        ({"query": None}, ["body", "query"], "a string or a list of strings"),
        ({"query": 3}, ["body", "query"], "a string or a list of strings"),
        ({"query": True}, ["body", "query"], "a string or a list of strings"),
        ({"query": {"text": "x"}}, ["body", "query"], "a string or a list of strings"),
        ({"query": ""}, ["body", "query"], "blank"),
        ({"query": " \n\t "}, ["body", "query"], "blank"),
        ({"query": []}, ["body", "query"], "at least 1"),
        ({"query": ["good", 3]}, ["body", "query", 1], "string"),
        ({"query": ["good", None, "good"]}, ["body", "query", 1], "string"),
        ({"query": ["good", "  "]}, ["body", "query", 1], "blank"),
        ({"query": [["nested"]]}, ["body", "query", 0], "string"),
        ({"query": "good", "queries": "x"}, ["body", "queries"], "not permitted"),
        ({"query": "good", "truncate": "no"}, ["body", "truncate"], "boolean"),
        ({"query": ["x"] * 129}, ["body", "query"], "129 texts, and a request takes at most 128"),
        ([1, 2], ["body"], "JSON object"),
        ("text", ["body"], "JSON object"),
        (None, ["body"], "JSON object"),
    ],
)
def test_a_bad_field_is_named(demo: httpx.Client, body: object, location: list[str | int], words: str) -> None:
    refused(demo.post("/predict", content=json.dumps(body), headers=JSON), 422, location, words)


@pytest.mark.parametrize(
    "content",
    [
        b'{"query": "x"',
        b"{'query': 'x'}",
        b"\xff\xfe\x00",
        b'{"query": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"query": ' + b"1" * 5000 + b"}",
    ],
    ids=["cut", "quotes", "binary", "not UTF-8", "deep", "huge number"],
)
def test_broken_json_is_refused(demo: httpx.Client, content: bytes) -> None:
    answer = demo.post("/predict", content=content, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][0] == "body"


def test_no_body_is_refused(demo: httpx.Client) -> None:
    refused(demo.post("/predict"), 422, ["body"], "JSON object")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_wrong_content_type_is_refused(demo: httpx.Client, content_type: str) -> None:
    answer = demo.post("/predict", content=b'{"query": "x"}', headers={"Content-Type": content_type})

    refused(answer, 422, ["body"], "application/json")


@pytest.mark.parametrize("body", [rb'{"query": "\ud800"}', rb'{"query": ["x", "\udfff tail"]}', rb'{"\ud800": "x"}'])
def test_lone_surrogates_are_refused(demo: httpx.Client, body: bytes) -> None:
    answer = demo.post("/predict", content=body, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


def test_a_surrogate_pair_is_legal(demo: httpx.Client) -> None:
    assert demo.post("/predict", content=rb'{"query": "\ud83d\ude42"}', headers=JSON).status_code == 200


def test_nul_bytes_are_legal(demo: httpx.Client) -> None:
    assert demo.post("/predict", json={"query": "a\x00b\x00"}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused(demo: httpx.Client, chunked: bool) -> None:
    content = json.dumps({"query": "x" * 10_000_000}).encode()
    chunks = (content[i : i + 65536] for i in range(0, len(content), 65536))

    answer = demo.post("/predict", content=chunks if chunked else content, headers=JSON)

    refused(answer, 413, ["body"], "larger than 2000000 bytes")


def test_the_input_is_not_sent_back(demo: httpx.Client) -> None:
    answer = demo.post("/predict", json={"query": ["private words", 3], "x" * 5000: 1})

    assert "private words" not in answer.text
    assert len(answer.content) < 1000


def test_other_methods_and_paths_are_refused(demo: httpx.Client) -> None:
    assert demo.get("/predict").status_code == 405
    assert demo.post("/nowhere").status_code == 404


def test_good_requests_beside_bad_ones_are_served(demo: httpx.Client) -> None:
    expected = demo.post("/predict", json={"query": "steady"}).json()
    for body in (b"{", b'{"query": ""}', b'{"query": "\\ud800"}', b"[" * 5000):
        demo.post("/predict", content=body, headers=JSON)

        assert demo.post("/predict", json={"query": "steady"}).json() == expected
