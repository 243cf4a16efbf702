"""Bad input is answered with a status of the client's, naming the field, and disturbs nothing."""

import json
import urllib.error
import urllib.request

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

    refused(answer, 415, ["body"], f"application/json, not {content_type}")


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


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": [' + b"1," * 600_000 + b"1]}",
        b'{"query": [' + b'"",' * 600_000 + b'""]}',
        b'{"query": "x", ' + b", ".join(b'"f%d": 1' % i for i in range(100_000)) + b"}",
    ],
    ids=["numbers", "blanks", "fields"],
)
def test_a_million_mistakes_get_a_short_answer(demo: httpx.Client, body: bytes) -> None:
    answer = demo.post("/predict", content=body, headers=JSON)

    assert answer.status_code == 422
    assert len(answer.content) < 5000


def test_the_name_of_an_unknown_field_comes_back_whatever_it_is(demo: httpx.Client) -> None:
    refused(demo.post("/predict", json={"query": "x", "<odd>": 1}), 422, ["body", "<odd>"], "not permitted")


def test_clients_that_write_before_they_read_hear_of_a_body_too_large(demo: httpx.Client) -> None:
    request = urllib.request.Request(f"{demo.base_url}/predict", data=b" " * 20_000_000, headers=dict(demo.headers))

    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request)

    refusal.value.close()
    assert refusal.value.code == 413


def test_no_redirect_carries_the_token_elsewhere(demo: httpx.Client) -> None:
    assert demo.post("/predict/", json={"query": "x"}).status_code == 404


def test_other_methods_and_paths_are_refused(demo: httpx.Client) -> None:
    assert demo.get("/predict").status_code == 405
    assert demo.post("/nowhere").status_code == 404


def test_good_requests_beside_bad_ones_are_served(demo: httpx.Client) -> None:
    expected = demo.post("/predict", json={"query": "steady"}).json()
    for body in (b"{", b'{"query": ""}', b'{"query": "\\ud800"}', b"[" * 5000):
        demo.post("/predict", content=body, headers=JSON)

        assert demo.post("/predict", json={"query": "steady"}).json() == expected
