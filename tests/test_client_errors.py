"""One model alone feeds an index, and every error says what to do and holds no text."""

import logging
from typing import Any

import httpx
import pytest

from embedding import client as ours
from embedding.client import errors
from tests.fake_service import TOKEN, Connect, FakeService, Reply, Request, live_client

TEXTS = [str(number) for number in range(23)]


def other_model(service: FakeService, request: Request) -> Reply:
    service.info = {**service.info, "model_sha": "def"}
    return service.predict(request)


@pytest.mark.parametrize("call", ["embed_query", "embed_documents"])
def test_a_model_that_changes_during_a_call_is_told(connect: Connect, fake: FakeService, call: str) -> None:
    fake.next(other_model)

    with pytest.raises(errors.ModelChanged, match=r"org/model@abc.*org/model@def"):
        getattr(connect(), call)("1" if call == "embed_query" else TEXTS)


@pytest.mark.parametrize("change", [{"model_sha": "def"}, {"model_id": "org/other"}])
def test_a_model_that_changes_between_calls_is_told(connect: Connect, fake: FakeService, change: Any) -> None:
    client = connect()
    client.embed_query("1")
    fake.info |= change

    for _ in range(2):  # and goes on being told
        with pytest.raises(errors.ModelChanged):
            client.embed_documents(TEXTS)


def test_an_answer_that_names_its_model_needs_no_other_request(connect: Connect, fake: FakeService) -> None:
    fake.model_headers = {"X-Model-Id": "org%2Fmodel", "X-Model-Revision": "abc"}

    connect().embed_documents(TEXTS)

    assert len(fake.sent_to("/info")) == 1


def test_a_revision_that_only_answers_tell_is_remembered(connect: Connect, fake: FakeService) -> None:
    del fake.info["model_sha"]
    client = connect()
    for revision in ("abc", "abc"):
        fake.model_headers = {"X-Model-Id": "org/model", "X-Model-Revision": revision}
        client.embed_query("1")
    fake.model_headers = {"X-Model-Id": "org/model", "X-Model-Revision": "def"}

    with pytest.raises(errors.ModelChanged):
        client.embed_query("1")


def test_a_revision_that_is_not_told_is_not_the_expected_one(connect: Connect, fake: FakeService) -> None:
    del fake.info["model_sha"]

    with pytest.raises(errors.ModelChanged, match="does not tell its revision"):
        connect(expected_model="org/model@abc").embed_query("1")


def test_an_answer_of_another_model_is_told_whatever_info_says(connect: Connect, fake: FakeService) -> None:
    fake.model_headers = {"X-Model-Id": "org/model", "X-Model-Revision": "def"}

    with pytest.raises(errors.ModelChanged):
        connect().embed_query("1")


def test_vectors_of_another_length_are_told(connect: Connect, fake: FakeService) -> None:
    client = connect()
    client.embed_query("1")
    fake.next(Reply(body=[[1.0, 2.0, 3.0]]))

    with pytest.raises(errors.ModelChanged, match="3 numbers"):
        client.embed_query("1")


@pytest.mark.parametrize("expected", ["org/model", "org/model@abc", ours.Model("org/model", "abc")])
def test_the_expected_model_is_taken(connect: Connect, expected: Any) -> None:
    assert str(connect(expected_model=expected).info().model) == "org/model@abc"


@pytest.mark.parametrize("expected", ["org/other", "org/model@def", ours.Model("org/model", "def")])
def test_another_than_the_expected_model_gives_no_vector(connect: Connect, fake: FakeService, expected: Any) -> None:
    with pytest.raises(errors.ModelChanged, match="expected"):
        connect(expected_model=expected).embed_query("1")
    assert not fake.sent_to("/predict")


def test_a_server_restarted_with_another_model_is_told(demo: httpx.Client, gemma: httpx.Client) -> None:
    with live_client(demo) as client:
        model = client.info().model
    with live_client(gemma, expected_model=model) as client, pytest.raises(errors.ModelChanged):
        client.embed_query("star")


def test_the_text_that_is_wrong_is_named(demo: httpx.Client) -> None:
    texts = ["star"] * 200
    texts[150] = " "

    with (
        live_client(demo) as client,
        pytest.raises(errors.InvalidInput, match=r"texts\[150\] must not be blank") as caught,
    ):
        client.embed_documents(texts)
    assert (caught.value.index, caught.value.field) == (150, "query")
    assert isinstance(caught.value, ValueError)


def test_a_text_too_long_is_named_where_it_may_not_be_cut(demo: httpx.Client) -> None:
    with (
        live_client(demo, truncate=False) as client,
        pytest.raises(errors.TextTooLong, match=r"texts\[1\] has 1002 tokens") as caught,
    ):
        client.embed_documents(["star", "a " * 1000])
    assert caught.value.index == 1


def test_texts_that_are_cut_are_told_of(demo: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with live_client(demo) as client, caplog.at_level(logging.WARNING, "embedding.client"):
        client.embed_documents(["star", "a " * 1000])

    assert "1 of 2 texts were longer" in caplog.text


@pytest.mark.parametrize(
    ("texts", "titles", "message"),
    [
        ("one text", None, "list"),
        (["1", None], None, r"texts\[1\] is of type NoneType"),
        (["1", float("nan")], None, r"texts\[1\] is of type float"),
        (["1", "secret \ud800"], None, r"texts\[1\] has half of a surrogate pair at character 7"),
        (["1"], ["a", "b"], "2 titles for 1 text"),
        (["1"], [7], r"titles\[0\] is of type int"),
        (["1"], "a", "list"),
    ],
)
def test_what_is_no_text_is_not_sent(
    connect: Connect, fake: FakeService, texts: Any, titles: Any, message: str
) -> None:
    with pytest.raises(errors.InvalidInput, match=message) as caught:
        connect().embed_documents(texts, titles)
    assert not fake.requests
    assert caught.value.__context__ is None


def test_titles_that_the_service_does_not_know_are_told(connect: Connect, fake: FakeService) -> None:
    unknown = {"loc": ["body", "titles"], "type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
    fake.next(Reply(422, body={"detail": [unknown]}))

    with pytest.raises(errors.InvalidInput, match="does not know 'titles'") as caught:
        connect().embed_documents(["1"], titles=["a"])
    assert caught.value.field == "titles"


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "shape", ["{0} {1}", '{{"detail": "{0} {1}"}}', '{{"detail": [{{"loc": ["body"], "msg": "{0}"}}]}}']
)
def test_no_error_holds_a_text_or_a_token(connect: Connect, fake: FakeService, status: int, shape: str) -> None:
    text = "7000000000000001"
    fake.next(*[Reply(status, body=shape.format(text, TOKEN).encode())] * 4)

    with pytest.raises(errors.EmbeddingError) as caught:
        connect(retries=0, cold_start=0.01).embed_query(text)
    told: BaseException | None = caught.value
    while told:
        assert text not in repr(told)
        assert TOKEN not in repr(told)
        told = told.__cause__ or told.__context__


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>"),
        Reply(body=[]),
        Reply(body=[1.0, 2.0]),
        Reply(body=[[1.0], [2.0]]),
        Reply(body=[[1.0, None]]),
        Reply(body=[["a"]]),
        Reply(body={"a": 1}),
        Reply(body=b"[" * 100_000),
        Reply(headers={"Content-Type": "application/x-npy"}, body=b"PK\x03\x04 no zip"),
        Reply(body=b"[[NaN, 1.0]]"),
        Reply(headers={"Content-Type": "application/x-npy"}, body=b"\x93NUMPY"),
        Reply(headers={"Content-Type": "application/x-npy"}, body=b""),
        Reply(headers={"Content-Encoding": "gzip"}, body=b"no gzip"),
    ],
)
def test_an_answer_that_holds_no_vectors_is_told(connect: Connect, fake: FakeService, reply: Reply) -> None:
    fake.next(reply)

    with pytest.raises(errors.AnswerError):
        connect().embed_query("1")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"model_id": "m"}', b"null"])
def test_an_address_of_something_else_is_told(connect: Connect, fake: FakeService, body: bytes) -> None:
    fake.next(Reply(body=body), path="/info")

    with pytest.raises(errors.AnswerError, match=r"address"):
        connect().embed_query("1")
