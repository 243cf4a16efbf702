"""An engine that fails, and who notices."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from embedding.model import NotFinite, NoTokens
from embedding.serving import EngineFailed, Limits, NotReady, Observer, Service, TextFailed
from embedding.serving.pipeline import PROBE
from tests.fake_engine import DIMENSION, FakeEngine, vector_of, vectors_of

Ask = Callable[..., list[Any]]


def service_of(engine: FakeEngine, observer: Observer | None = None, **limits: Any) -> Service:
    service = Service(lambda report: engine, Limits(**limits), observer)
    service.load_now()
    return service


@pytest.fixture
def ask() -> Iterator[Ask]:
    """What becomes of requests that come at once: their vectors, or their error."""

    async def together(service: Service, requests: Sequence[list[str]]) -> list[Any]:
        answers = await asyncio.gather(*(service.embed(r, "query") for r in requests), return_exceptions=True)
        return [a if isinstance(a, BaseException) else a.vectors.tolist() for a in answers]

    with asyncio.Runner() as runner:
        yield lambda service, *requests: runner.run(asyncio.wait_for(together(service, requests), 60))


def fails_on(word: str, error: BaseException) -> Callable[[list[str]], Any]:
    def respond(texts: list[str]) -> Any:
        if any(word in text for text in texts):
            raise error
        return vectors_of(texts)

    return respond


GOOD = [[f"good {i}", f"also good {i}"] for i in range(40)]


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), ArithmeticError("not finite"), SystemExit(1), KeyboardInterrupt(), TimeoutError()]
)
def test_a_text_that_the_engine_fails_on_fails_alone(ask: Ask, error: BaseException) -> None:
    service = service_of(FakeEngine(fails_on("bad", error)))

    *good, bad = ask(service, *GOOD, ["fine", "bad"])

    assert good == [[vector_of(text) for text in texts] for texts in GOOD]
    assert isinstance(bad, TextFailed)
    assert bad.index == 1
    assert service.live


def test_the_neighbours_of_a_text_without_a_finite_vector_have_theirs(ask: Ask) -> None:
    def respond(texts: list[str]) -> np.ndarray:
        return np.array([[np.nan] * DIMENSION if "bad" in text else vector_of(text) for text in texts])

    *good, bad = ask(service_of(FakeEngine(respond)), *GOOD, ["fine", "fine too", "bad"])

    assert good == [[vector_of(text) for text in texts] for texts in GOOD]
    assert isinstance(bad, NotFinite)
    assert bad.index == 2


def test_an_engine_that_names_the_guilty_texts_is_believed(ask: Ask) -> None:
    def respond(texts: list[str]) -> np.ndarray:
        if guilty := [i for i, text in enumerate(texts) if "bad" in text]:
            raise NoTokens(guilty)
        return vectors_of(texts)

    engine = FakeEngine(respond)

    *good, bad = ask(service_of(engine), *GOOD, ["bad", "fine"])

    assert good == [[vector_of(text) for text in texts] for texts in GOOD]
    assert isinstance(bad, NoTokens)
    assert bad.index == 0
    assert [PROBE] not in engine.calls


@pytest.mark.parametrize("places", [[], [99], [-1]])
def test_an_engine_that_names_no_text_of_its_batch_is_halved_like_any(ask: Ask, places: list[int]) -> None:
    *good, bad = ask(service_of(FakeEngine(fails_on("bad", NoTokens(places)))), *GOOD, ["bad"])

    assert good == [[vector_of(text) for text in texts] for texts in GOOD]
    assert isinstance(bad, TextFailed)


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "vectors",
        np.zeros((1, DIMENSION), np.int64),
        np.zeros(DIMENSION),
        np.zeros((0, DIMENSION)),
        np.zeros((7, DIMENSION)),
        np.zeros((2, DIMENSION + 1)),
        [[1.0], [2.0, 3.0]],
    ],
)
def test_what_is_no_vector_for_each_text_is_not_served(ask: Ask, result: Any) -> None:
    broken = True
    service = service_of(FakeEngine(lambda texts: result if broken else vectors_of(texts)))

    failed = ask(service, ["one", "two"])
    broken = False

    assert isinstance(failed[0], EngineFailed)
    assert ask(service, ["three"]) == [[vector_of("three")]]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory"), RuntimeError("std::bad_alloc")])
def test_where_memory_runs_out_calls_become_smaller(ask: Ask, error: Exception) -> None:
    def respond(texts: list[str]) -> np.ndarray:
        if len(texts) > 3:
            raise error
        return vectors_of(texts)

    engine = FakeEngine(respond)
    requests = [[f"number {i}"] for i in range(100)]

    answers = ask(service_of(engine), *requests)

    assert answers == [[vector_of(text) for text in texts] for texts in requests]
    assert sum(len(call) > 3 for call in engine.calls) < 10


def test_an_engine_that_fails_on_everything_is_not_live_until_it_answers_again(ask: Ask) -> None:
    broken = True

    def respond(texts: list[str]) -> np.ndarray:
        if broken:
            raise RuntimeError
        return vectors_of(texts)

    service = service_of(FakeEngine(respond))
    assert service.ready

    failed = [ask(service, [f"text {i}"])[0] for i in range(3)]
    dead = (service.live, service.ready)
    broken = False
    answered = ask(service, ["better"])

    assert all(isinstance(error, EngineFailed) for error in failed)
    assert dead == (False, False)
    assert answered == [[vector_of("better")]]
    assert service.ready


def test_texts_that_fail_do_not_make_the_service_look_dead(ask: Ask) -> None:
    service = service_of(FakeEngine(fails_on("bad", RuntimeError())))

    failed = [ask(service, [f"bad {i}"])[0] for i in range(20)]

    assert all(isinstance(error, TextFailed) for error in failed)
    assert service.live


def test_an_engine_that_hangs_is_not_live_and_its_callers_are_told(ask: Ask) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    service = service_of(engine, engine_timeout=0.05, request_timeout=0.1)

    (late,) = ask(service, ["slow"])
    dead = service.live
    (refused,) = ask(service, ["next"])
    engine.gate.set()

    assert type(late).__name__ == "DeadlineExceeded"
    assert not dead
    assert isinstance(refused, NotReady)


def test_a_text_that_the_tokenizer_fails_on_fails_alone(ask: Ask) -> None:
    service = service_of(FakeEngine())
    long = "word " * 400

    *good, bad = ask(service, *GOOD, ["fine", "untokenizable", long])

    assert good == [[vector_of(text) for text in texts] for texts in GOOD]
    assert isinstance(bad, TextFailed)
    assert bad.index == 1


def test_no_texts_have_no_vectors() -> None:
    assert asyncio.run(service_of(FakeEngine()).embed([], "query")).vectors.shape == (0, DIMENSION)


def test_an_observer_learns_of_failures_and_of_no_text(ask: Ask) -> None:
    told: list[tuple[Any, ...]] = []

    class Teller(Observer):
        def __getattribute__(self, name: str) -> Any:
            return lambda *arguments: told.append((name, *arguments))

    ask(service_of(FakeEngine(fails_on("bad", RuntimeError("secret"))), Teller()), ["secret bad", "secret good"])

    assert ("engine_error", "raised") in told
    assert ("text_failed",) in told
    assert ("cache", 0, 2) in told
    assert "secret" not in repr(told)


def test_failures_are_not_cached(ask: Ask) -> None:
    broken = True
    service = service_of(FakeEngine(lambda texts: [1] if broken else vectors_of(texts)))

    ask(service, ["text"])
    broken = False

    assert ask(service, ["text"]) == [[vector_of("text")]]
