"""Which texts the engine gets next."""

from concurrent.futures import Future

import numpy as np
import pytest

from embedding.model import TokenizedText
from embedding.serving.queue import Job, Queue, Request
from embedding.serving.speed import Speed


def job(tokens: int) -> Job:
    return Job(b"", "", tokens=TokenizedText("", "query", tokens, tokens))


def request(*texts: int | Job) -> Request:
    made = Request([text if isinstance(text, Job) else job(text) for text in texts], Future())
    for each in made.jobs:
        each.requests.append(made)
    return made


def queue_of(*requests: Request) -> Queue:
    queue = Queue()
    for each in requests:
        queue.add(each)
    return queue


def drain(queue: Queue, limit: int, turn: int) -> list[list[int]]:
    calls = []
    while jobs := queue.take(limit, turn):
        calls.append([job.size for job in jobs])
    return calls


def test_requests_that_wait_share_a_call() -> None:
    queue = queue_of(*(request(10) for _ in range(16)))

    assert drain(queue, limit=100, turn=20) == [[10] * 10, [10] * 6]


def test_a_short_request_passes_long_ones() -> None:
    queue = queue_of(*(request(*[256] * 128) for _ in range(60)))
    queue.take(512, 64)
    short = request(20)
    queue.add(short)

    assert queue.take(512, 64) == short.jobs


def test_a_long_request_holds_the_engine_for_a_turn_only() -> None:
    queue = queue_of(request(*[10] * 50))

    assert drain(queue, limit=512, turn=60) == [[10] * 6] * 8 + [[10] * 2]


def test_equal_requests_go_in_the_order_of_their_arrival() -> None:
    requests = [request(40, 40), request(40, 40), request(40, 40)]
    queue = queue_of(*requests)

    taken = [queue.take(100, 50)[0] for _ in range(6)]

    assert [requests.index(job.requests[0]) for job in taken] == [0, 0, 1, 1, 2, 2]


def test_a_long_request_gets_half_of_the_engine_however_many_short_ones_come() -> None:
    long = request(*[50] * 40)
    queue = queue_of(long)
    others = 0
    while not all(job.taken for job in long.jobs):
        queue.add(request(20))
        queue.add(request(20))
        others += sum(job.size for job in queue.take(100, 50) if job.requests[0] is not long)

    assert others <= 2000 + 2 * 100


def test_a_request_of_middle_length_is_not_last_behind_long_ones() -> None:
    queue = queue_of(*(request(*[100] * 100) for _ in range(20)))
    for _ in range(150):
        queue.take(200, 100)
    middle = request(100, 100, 100)
    queue.add(middle)

    taken = [queue.take(200, 100)[0].requests[0] for _ in range(6)]

    assert taken.count(middle) == 3


def test_a_text_beyond_the_limit_has_a_call_of_its_own() -> None:
    queue = queue_of(request(5, 5000, 5))

    assert drain(queue, limit=100, turn=100) == [[5, 5], [5000]]


@pytest.mark.parametrize("seed", range(20))
def test_every_text_is_taken_once_and_no_call_is_too_large(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queue, waiting, taken, here = Queue(), 0, [], []
    for _ in range(300):
        if rng.random() < 0.6:
            new = request(*rng.integers(1, 120, rng.integers(1, 12)).tolist())
            if here and rng.random() < 0.3:  # waits for a text of another request, too
                shared = here[rng.integers(len(here))].jobs[0]
                if shared.waits:
                    new.jobs.append(shared)
                    shared.requests.append(new)
            waiting += sum(job.size for job in new.jobs if not job.requests[:-1])
            here.append(new)
            queue.add(new)
        else:
            jobs = queue.take(100, int(rng.integers(1, 100)))
            taken += jobs
            waiting -= sum(job.size for job in jobs)
            assert len(jobs) <= 1 or sum(job.size for job in jobs) <= 100
        assert queue.tokens == waiting
    while jobs := queue.take(100, 30):
        taken += jobs

    assert len(taken) == len(set(taken)) == len({job for request in here for job in request.jobs})
    assert (queue.tokens, len(queue)) == (0, 0)


def test_a_request_that_is_removed_leaves_what_others_wait_for() -> None:
    shared, own = job(10), job(20)
    leaving, staying = request(shared, own), request(shared, 30)
    queue = queue_of(leaving, staying)

    for each in leaving.jobs:
        each.requests.remove(leaving)
    queue.remove(leaving)

    assert queue.tokens == 40
    assert drain(queue, limit=100, turn=100) == [[10, 30]]


def test_a_text_that_two_requests_wait_for_goes_as_early_as_the_shorter_of_them() -> None:
    shared = job(50)
    queue = queue_of(request(shared, *[50] * 10), request(*[50] * 3))
    queue.add(request(shared))

    assert queue.take(100, 60) == [shared]


def test_the_tokens_ahead_are_those_of_requests_that_finish_earlier() -> None:
    queue = queue_of(request(100, 100), request(300, 300, 300))

    assert (queue.ahead(10), queue.ahead(200), queue.ahead(5000)) == (0, 200, 1100)


def test_a_turn_takes_half_as_long_again_as_a_short_query() -> None:
    speed = Speed()
    for tokens in (24, 100, 24, 400, 50, 200, 24):
        speed.observe(tokens, 0.010 + 0.0003 * tokens)

    assert 0.010 + 0.0003 * speed.turn() == pytest.approx(1.5 * (0.010 + 0.0003 * 24), rel=0.05)
    assert speed.rate == pytest.approx(speed.turn() / (0.010 + 0.0003 * speed.turn()), rel=0.05)


def test_the_speed_is_not_known_before_the_first_calls() -> None:
    speed = Speed()
    speed.observe(20, 5.0)
    speed.observe(20, 0.1)

    assert speed.rate is None
