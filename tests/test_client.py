"""`embedding.client`: right vectors in their order, and whatever fails on the way is waited out or told."""

import asyncio
import inspect
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import httpx
import numpy as np
import pytest

from embedding import client as ours
from embedding.client import AsyncEmbeddingClient, EmbeddingClient, errors, patience
from tests.cli import ROOT
from tests.fake_service import TOKEN, FakeService, Reply, Request, drip, fake_service, reset
from tests.live import TOKEN as LIVE_TOKEN

TEXTS = [str(number) for number in range(23)]


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with fake_service() as service:
        yield service


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)


class Both:
    """The asynchronous client, called as the other is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncEmbeddingClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return (lambda *a, **k: self._runner.run(method(*a, **k))) if inspect.iscoroutinefunction(method) else method

    def __enter__(self) -> "Both":
        return self

    def __exit__(self, *_: object) -> None:
        self.aclose()
        self._runner.close()


Connect = Callable[..., Any]


@pytest.fixture(params=[EmbeddingClient, Both], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest, fake: FakeService) -> Iterator[Connect]:
    """Makes a client of the fake service, of each kind."""
    made = []

    def connect(**options: Any) -> Any:
        made.append(request.param(options.pop("url", fake.url), options.pop("token", TOKEN), **options))
        return made[-1]

    yield connect
    for client in made:
        client.__exit__(None, None, None)


def live_client(server: httpx.Client, **options: Any) -> EmbeddingClient:
    return EmbeddingClient(str(server.base_url), LIVE_TOKEN, **options)


# What comes back


def test_queries_and_documents_get_the_vectors_of_their_tasks(demo: httpx.Client) -> None:
    texts = ["Galaxies form when gas cools.", "Brot geht auf, wenn Hefe gärt. 🥖"]
    expected = demo.post("/predict", json={"query": texts, "task": "document"}).json()
    query = demo.post("/predict", json={"query": "how do galaxies form?"}).json()

    with live_client(demo) as client:
        documents, vector = client.embed_documents(texts), client.embed_query("how do galaxies form?")

    assert documents.dtype == vector.dtype == np.float32
    np.testing.assert_allclose(documents, expected, atol=1e-6)
    np.testing.assert_allclose(vector, query, atol=1e-6)
    assert documents.flags.writeable


def test_prompts_differ_where_the_models_do(gemma: httpx.Client) -> None:
    with live_client(gemma) as client:
        assert not np.allclose(client.embed_query("star"), client.embed_documents(["star"])[0], atol=1e-3)


@pytest.mark.parametrize("npy", [True, False], ids=["bytes", "json"])
def test_many_texts_come_back_in_their_order(connect: Connect, fake: FakeService, npy: bool) -> None:
    fake.npy = npy
    fake.seconds = 0.01

    vectors = connect(concurrency=3).embed_documents(TEXTS)

    assert vectors[:, 0].tolist() == list(range(23))
    assert [len(request.body["query"]) for request in fake.sent_to("/predict")].count(4) == 5
    assert 1 < fake.most_in_flight <= 3


def test_bytes_are_asked_for(connect: Connect, fake: FakeService) -> None:
    connect().embed_query("1")

    assert fake.requests[-2].headers["accept"].startswith("application/x-npy")


def test_no_texts_have_no_vectors(connect: Connect) -> None:
    assert connect().embed_documents([]).shape == (0, 2)


def test_batches_keep_to_the_bytes_that_the_service_takes(connect: Connect, fake: FakeService) -> None:
    fake.info |= {"max_client_batch_size": 100, "max_body_bytes": 500}
    texts = [f"{number:040}" for number in range(40)]

    vectors = connect().embed_documents(texts)

    assert vectors[:, 0].tolist() == list(range(40))
    assert max(int(request.headers["content-length"]) for request in fake.sent_to("/predict")) <= 500
    assert len(fake.sent_to("/predict")) < 10


@pytest.mark.parametrize("refusal", [(413, "too_large"), (422, "too_large"), (422, "too_many_texts")])
def test_a_batch_too_large_is_sent_in_halves(connect: Connect, fake: FakeService, refusal: tuple[int, str]) -> None:
    refused = Reply(refusal[0], body={"detail": [{"loc": ["body"], "type": refusal[1], "msg": "is too much"}]})
    fake.next(refused, refused)

    assert connect().embed_documents(TEXTS[:4])[:, 0].tolist() == [0, 1, 2, 3]


def test_any_iterable_of_texts_will_do(connect: Connect) -> None:
    assert connect().embed_documents(text for text in ("3", "4"))[:, 0].tolist() == [3, 4]


def test_titles_go_beside_the_texts(connect: Connect, fake: FakeService) -> None:
    connect().embed_documents(TEXTS[:6], titles=["a", None, "c", "d", "e", "f"])

    bodies = {tuple(request.body["query"]): request.body["titles"] for request in fake.sent_to("/predict")}
    assert bodies == {("0", "1", "2", "3"): ["a", "", "c", "d"], ("4", "5"): ["e", "f"]}


def test_titles_are_sent_only_where_given(connect: Connect, fake: FakeService) -> None:
    connect().embed_documents(["1"])

    assert fake.sent_to("/predict")[0].body == {"query": ["1"], "task": "document"}


def test_similarity_is_the_cosine_of_each_with_each() -> None:
    a, b = np.array([3.0, 4.0]), [[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]

    assert EmbeddingClient.similarity(a, b) == pytest.approx(np.array([[1.0, 0.8, 0.0]]))
    assert AsyncEmbeddingClient.similarity(b, b).shape == (3, 3)
    with pytest.raises(TypeError, match="embed_query"):
        EmbeddingClient.similarity("text", ["text"])


def test_one_client_serves_many_threads(fake: FakeService) -> None:
    found: dict[int, list[float]] = {}
    with EmbeddingClient(fake.url, TOKEN) as client:

        def embed(start: int) -> None:
            found[start] = client.embed_documents([str(start + i) for i in range(9)])[:, 0].tolist()

        threads = [threading.Thread(target=embed, args=(100 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == {100 * n: [100 * n + i for i in range(9)] for n in range(8)}


def test_calls_of_one_event_loop_run_side_by_side(fake: FakeService) -> None:
    async def embed() -> list[Any]:
        async with AsyncEmbeddingClient(fake.url, TOKEN) as client:
            return await asyncio.gather(*(client.embed_query(text) for text in TEXTS))

    assert [vector[0] for vector in asyncio.run(embed())] == list(range(23))


# Tokens and addresses


def test_the_token_goes_as_bearer(connect: Connect, fake: FakeService) -> None:
    connect().embed_query("1")

    assert {request.headers["authorization"] for request in fake.requests} == {f"Bearer {TOKEN}"}
    assert not any("x-api-key" in request.headers for request in fake.requests)


def test_a_private_space_gets_both_tokens(connect: Connect, fake: FakeService) -> None:
    connect(hf_token="hf_x").embed_query("1")

    headers = fake.requests[-2].headers
    assert (headers["authorization"], headers["x-api-key"]) == ("Bearer hf_x", TOKEN)


@pytest.mark.parametrize("name", ["auth_token", "AUTH_TOKEN"])
def test_address_and_token_come_from_the_environment(
    fake: FakeService, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDING_URL", f"{fake.url}/")
    monkeypatch.setenv(name, f" {TOKEN}, the-next-one")

    with EmbeddingClient() as client:
        client.embed_query("1")

    assert fake.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_token_beyond_ascii_arrives_as_utf_8(connect: Connect, fake: FakeService) -> None:
    connect(token="schlüssel").embed_query("1")

    assert fake.requests[0].headers["authorization"].encode("latin-1") == "Bearer schlüssel".encode()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:7860",
        "ftp://host",
        "http://",
        "http://user:pw@host",
        "http://h/?a=b",
        "http://h:port",
        "http://h:99999",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"url|EMBEDDING_URL"):
        EmbeddingClient(url, TOKEN)


@pytest.mark.parametrize("token", [None, "", " , ", "se\ncret", "\udc80"])
def test_a_token_that_is_none_is_refused(token: str | None) -> None:
    with pytest.raises(errors.AuthenticationError, match="token") as caught:
        EmbeddingClient("http://127.0.0.1:7860", token)
    assert "cret" not in str(caught.value)


def test_a_wrong_token_is_told(demo: httpx.Client) -> None:
    with (
        EmbeddingClient(str(demo.base_url), "wrong-token") as client,
        pytest.raises(errors.AuthenticationError, match="auth_token") as caught,
    ):
        client.embed_query("star")
    assert "wrong-token" not in str(caught.value) + repr(client)


# Waiting and trying again


@pytest.mark.parametrize("path", ["/info", "/predict"])
@pytest.mark.parametrize("fault", [Reply(429), Reply(502), Reply(503), Reply(504), reset])
def test_what_may_pass_is_tried_again(connect: Connect, fake: FakeService, path: str, fault: Any) -> None:
    fake.next(fault, fault, fault, path=path)

    assert connect().embed_documents(["7"])[0, 0] == 7


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422, 500, 501])
def test_what_will_not_pass_is_not(connect: Connect, fake: FakeService, status: int) -> None:
    fake.next(Reply(status))

    with pytest.raises(errors.EmbeddingError):
        connect().embed_query("7")
    assert len(fake.sent_to("/predict")) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reply(429), errors.Overloaded),
        (Reply(504), errors.ServiceUnavailable),
        (reset, errors.ConnectionFailed),
    ],
)
def test_tries_come_to_an_end(connect: Connect, fake: FakeService, fault: Any, error: type[Exception]) -> None:
    fake.next(*[fault] * 9)

    with pytest.raises(error):
        connect(retries=2).embed_query("7")
    assert len(fake.sent_to("/predict")) == 3


def test_retry_after_is_kept_to(connect: Connect, fake: FakeService) -> None:
    later = {"Date": formatdate(1000, usegmt=True), "Retry-After": formatdate(1001, usegmt=True)}
    fake.next(Reply(429, {"Retry-After": "1"}), Reply(503, later))
    start = time.monotonic()

    connect().embed_query("7")

    assert time.monotonic() - start >= 2


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("3", 3), ("0", 0), ("1.5", 1.5), ("-1", None), ("inf", None), ("nan", None), ("soon", None), ("", None),
     ("9" * 400, None), ("Wed, 99 Foo 2026 00:00:00 GMT", None), ("Thu, 01 Jan 1970 00:00:07 GMT", 7)],
)  # fmt: skip
def test_retry_after_is_read(given: str, seconds: float | None) -> None:
    headers = httpx.Headers({"Retry-After": given, "Date": "Thu, 01 Jan 1970 00:00:00 GMT"})

    assert patience.retry_after(headers) == seconds


def test_a_long_retry_after_is_left_to_the_caller(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(429, {"Retry-After": "3600"}))

    with pytest.raises(errors.Overloaded) as caught:
        connect().embed_query("7")
    assert caught.value.retry_after == 3600


def test_a_cold_start_is_waited_for_up_to_its_limit(connect: Connect, fake: FakeService) -> None:
    fake.next(*[Reply(503)] * 20, path="/info")

    with pytest.raises(errors.ColdStartTimeout, match=r"cold_start=0\.3"):
        connect(cold_start=0.3, retries=0).embed_query("7")
    assert 2 < len(fake.requests) < 20


def test_a_start_that_lets_requests_wait_is_given_up_as_well(connect: Connect, fake: FakeService) -> None:
    fake.next(lambda *_: time.sleep(1.5) or Reply(body=fake.info), path="/info")

    with pytest.raises(errors.ColdStartTimeout):
        connect(cold_start=0.3).embed_query("7")


def test_a_start_that_takes_longer_than_allowed_is_told_at_once(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(503, {"Retry-After": "60"}))

    with pytest.raises(errors.ColdStartTimeout) as caught:
        connect(cold_start=10).embed_query("7")
    assert caught.value.retry_after == 60


@pytest.mark.parametrize("fault", [drip, Reply(503), lambda *_: time.sleep(1.5) or Reply()])
def test_a_call_ends_by_its_deadline(connect: Connect, fake: FakeService, fault: Any) -> None:
    fake.next(*[fault] * 50)
    start = time.monotonic()

    with pytest.raises(errors.DeadlineExceeded, match=r"timeout=0\.4") as caught:
        connect(timeout=0.4).embed_query("7")
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - start < 1.4


def test_a_slow_answer_is_not_asked_for_twice(
    connect: Connect, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", 0.3)
    fake.next(lambda *_: time.sleep(1) or Reply())

    with pytest.raises(errors.DeadlineExceeded, match="may still"):
        connect().embed_query("7")
    assert len(fake.sent_to("/predict")) == 1


def test_a_service_that_is_not_there_is_told(connect: Connect) -> None:
    with pytest.raises(errors.ConnectionFailed, match=r"(?i)refused|failed"):
        connect(url="http://127.0.0.1:1", retries=1).embed_query("7")


def test_the_first_failure_ends_a_call_of_many(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(429, {"Retry-After": "30"}), Reply(401), Reply(429, {"Retry-After": "30"}))
    start = time.monotonic()

    with pytest.raises(errors.AuthenticationError):
        connect(concurrency=3).embed_documents(TEXTS)
    assert time.monotonic() - start < 10
    assert len(fake.sent_to("/predict")) < 6


# Redirects, by which Modal announces an answer that takes longer than 150 s


RESULT = "/predict?__modal_function_call_id=fc-1"


def test_a_slow_answer_is_fetched_from_where_it_will_be(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(303, {"Location": RESULT}))
    fake.next(Reply(303, {"Location": f"{fake.url}{RESULT}"}), reset, Reply(body=[[7.0, 1.0]]), path=RESULT)

    assert connect().embed_query("7").tolist() == [7, 1]
    fetched = fake.sent_to(RESULT)
    assert [(request.method, request.headers["authorization"]) for request in fetched] == [
        ("GET", f"Bearer {TOKEN}")
    ] * 3
    assert not any("content-type" in request.headers for request in fetched)
    assert len(fake.sent_to("/predict")) == 1


def test_a_slow_start_is_followed_as_well(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(303, {"Location": "/info?call=1"}), path="/info")
    fake.next(Reply(body=fake.info), path="/info?call=1")

    assert connect().embed_query("7")[0] == 7


def test_a_result_that_says_later_is_asked_for_anew(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(303, {"Location": RESULT}))
    fake.next(Reply(503), path=RESULT)

    assert connect().embed_query("7")[0] == 7
    assert len(fake.sent_to("/predict")) == 2


def test_tokens_go_to_no_other_host(connect: Connect, fake: FakeService) -> None:
    with fake_service() as other:
        other.next(Reply(body=[[7.0, 1.0]]), path="/result")
        fake.next(Reply(303, {"Location": f"{other.url}/result"}))

        assert connect(hf_token="hf_x").embed_query("7")[0] == 7
        assert not {"authorization", "x-api-key"} & set(other.requests[0].headers)


@pytest.mark.parametrize(
    "location",
    [None, "ftp://host/", "http://", "http://host:port/", "http://127.0.0.1:99999999/", "http://xn--/", RESULT],
)
def test_redirects_that_lead_nowhere_are_told(connect: Connect, fake: FakeService, location: str | None) -> None:
    redirect = Reply(303, {} if location is None else {"Location": location})
    fake.next(*[redirect] * 30)
    fake.next(*[redirect] * 30, path=RESULT)

    with pytest.raises((errors.AnswerError, errors.Unavailable)):
        connect(retries=1).embed_query("7")
    assert len(fake.requests) < 25


def test_a_service_that_moved_is_told_and_not_followed(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(301, {"Location": "https://elsewhere.example/"}), path="/info")

    with pytest.raises(errors.AnswerError, match="moved"):
        connect().embed_query("7")


# One model


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


# Errors


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


# Beside it


def test_importing_it_imports_nothing_of_the_service() -> None:
    code = "import sys, embedding.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())

    heavy = "torch onnxruntime tokenizers transformers sentence_transformers huggingface_hub pydantic fastapi starlette"
    assert not modules & set(heavy.split())
    assert all(m.startswith("embedding.client") for m in modules if m.startswith("embedding."))


def test_it_serves_langchain_as_its_embeddings(demo: httpx.Client) -> None:
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore

    texts = ["Galaxies form when gas cools.", "Bread rises when yeast ferments."]
    with live_client(demo) as client:
        store = InMemoryVectorStore(client)
        store.add_texts(texts)
        asyncio.run(store.aadd_texts(["Superconductivity at the edge of a flat band."]))

        found = store.similarity_search("Why does dough rise?", k=1)
        found += asyncio.run(store.asimilarity_search("How are stars born?", k=1))
        found += store.max_marginal_relevance_search("Why does dough rise?", k=1)

    assert isinstance(client, Embeddings)
    assert [document.page_content for document in found] == [texts[1], texts[0], texts[1]]


def test_the_old_integration_keeps_working(demo: httpx.Client) -> None:
    def get_query_embedding(query: str, api_url: str, auth_token: str) -> list[float]:
        answer = httpx.post(api_url, json={"query": query}, headers={"Authorization": f"Bearer {auth_token}"})
        answer.raise_for_status()
        return list(answer.json())

    vector = get_query_embedding("star", f"{demo.base_url}/predict", LIVE_TOKEN)

    assert len(vector) == 384
    assert all(type(number) is float for number in vector)


def test_the_address_that_the_old_integration_has_will_do(demo: httpx.Client) -> None:
    with EmbeddingClient(f"{demo.base_url}/predict", LIVE_TOKEN) as client:
        assert client.embed_query("star").shape == (384,)
