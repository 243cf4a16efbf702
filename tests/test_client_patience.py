"""What may pass is tried again, as long as the client was told to, and a slow answer is fetched where it will be."""

import time
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from embedding.client import errors, patience
from tests.fake_service import TOKEN, Connect, FakeService, Reply, drip, fake_service, reset

TEXTS = [str(number) for number in range(23)]


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
    assert len(fake.requests) < 20


def test_a_start_that_lets_requests_wait_is_given_up_as_well(connect: Connect, fake: FakeService) -> None:
    fake.next(lambda *_: time.sleep(20) or Reply(body=fake.info), path="/info")

    with pytest.raises(errors.ColdStartTimeout):
        connect(cold_start=0.3).embed_query("7")


def test_a_start_that_takes_longer_than_allowed_is_told_at_once(connect: Connect, fake: FakeService) -> None:
    fake.next(Reply(503, {"Retry-After": "60"}))

    with pytest.raises(errors.ColdStartTimeout) as caught:
        connect(cold_start=10).embed_query("7")
    assert caught.value.retry_after == 60


@pytest.mark.parametrize("fault", [drip, Reply(503), lambda *_: time.sleep(20) or Reply()])
def test_a_call_ends_by_its_deadline(connect: Connect, fake: FakeService, fault: Any) -> None:
    fake.next(*[fault] * 50)
    start = time.monotonic()

    with pytest.raises(errors.DeadlineExceeded, match=r"timeout=0\.4") as caught:
        connect(timeout=0.4).embed_query("7")
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - start < 9


def test_a_slow_answer_is_not_asked_for_twice(
    connect: Connect, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", 1.0)
    fake.next(lambda *_: time.sleep(20) or Reply())

    with pytest.raises(errors.DeadlineExceeded, match="may still"):
        connect().embed_query("7")
    assert len(fake.sent_to("/predict")) == 1


def test_a_service_that_is_not_there_is_told(connect: Connect) -> None:
    with pytest.raises(errors.ConnectionFailed, match=r"(?i)refused|failed"):
        connect(url="http://127.0.0.1:1", retries=1).embed_query("7")


def test_the_first_failure_ends_a_call_of_many(connect: Connect, fake: FakeService) -> None:
    client = connect(concurrency=3)
    fake.seconds = 0.05
    client.embed_documents(TEXTS)  # opens the connections: asyncio loses one that is cancelled while it opens
    fake.requests.clear()
    fake.next(Reply(429, {"Retry-After": "30"}), Reply(401), Reply(429, {"Retry-After": "30"}))
    start = time.monotonic()

    with pytest.raises(errors.AuthenticationError):
        client.embed_documents(TEXTS)
    assert time.monotonic() - start < 10
    assert len(fake.sent_to("/predict")) < 6


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
