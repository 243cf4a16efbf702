"""The simulation of the autoscaler agrees with queueing theory wherever that has a closed form, and keeps its books."""

import heapq
import math
import random
import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.benchmarks.autoscaler import (
    FULL,
    FULL_RATE,
    ONE_CLIENT_RATE,
    Outcome,
    Policy,
    Simulation,
    SnapshotStarts,
    linear_service,
    parser,
    report,
    worker_types,
)
from tests.benchmarks.traffic import Traffic, arrivals
from tests.cli import ROOT

REQUESTS = 300_000
TOLERANCE = 0.03  # relative, of a mean over REQUESTS, whose standard error is 1.7% or less in these tests
WITHOUT_LIMIT = 10**9


def poisson(rate: float, seed: int, requests: int = REQUESTS) -> list[float]:
    return np.random.default_rng(seed).exponential(1 / rate, requests).cumsum().tolist()


def exponential(mean: float, seed: int) -> Callable[..., float]:
    rng = random.Random(seed)
    return lambda *_: rng.expovariate(1 / mean)


def fixed(containers: int, **limits: int) -> Policy:
    limits = {"max_inputs": 1, "target_inputs": 1, "max_batch": 1} | limits
    return Policy(containers, containers, scaledown_window=math.inf, **limits)


def one_that_stops(window: float) -> Policy:
    """A container that takes every request, one at a time, and stops after `window` seconds without any."""
    return Policy(0, 1, 0, window, max_inputs=WITHOUT_LIMIT, target_inputs=WITHOUT_LIMIT, max_batch=1)


def mean_wait(outcome: Outcome, service_seconds: float) -> float:
    return float(outcome.latency.mean()) - service_seconds


def pollaczek_khinchine(rate: float, mean: float, second_moment: float) -> float:
    """Mean wait of an M/G/1 queue."""
    return rate * second_moment / (2 * (1 - rate * mean))


def erlang_c_wait(rate: float, mean: float, servers: int) -> float:
    """Mean wait of an M/M/c queue: the probability of a wait (Erlang, 1917) over the spare rate."""
    load = rate * mean
    full = load**servers / math.factorial(servers) * servers / (servers - load)
    waits = full / (sum(load**k / math.factorial(k) for k in range(servers)) + full)
    return waits * mean / (servers - load)


def setup_wait(rate: float, mean: float, second_moment: float, setup: float, setup_second_moment: float) -> float:
    """Mean wait of an M/G/1 queue whose server needs a set-up before the first customer of a busy period.

    The first customer's service is exceptional (Welch, Operations Research 12, 1964, doi 10.1287/opre.12.5.736): a wait
    is that of the plain queue and, independent of it, what the set-up adds, whose mean is
    (2 E[D] + λ E[D²]) / (2 (1 + λ E[D])). For an exponential set-up that is E[D].
    """
    added = (2 * setup + rate * setup_second_moment) / (2 * (1 + rate * setup))
    return pollaczek_khinchine(rate, mean, second_moment) + added


def waits_by_recursion(times: list[float], services: list[float], servers: int) -> list[float]:
    """The wait of each customer of a first come, first served queue (Kiefer and Wolfowitz, 1955), one by one."""
    free = [0.0] * servers
    waits = []
    for arrival, service in zip(times, services, strict=True):
        start = max(arrival, heapq.heappop(free))
        heapq.heappush(free, start + service)
        waits.append(start - arrival)
    return waits


def batch_latency(rate: float, call_seconds: Callable[[int], float], most: int = 400) -> float:
    """Mean latency where a server takes all that waits into its next call, by the Markov chain of batch sizes.

    A call on b texts takes S(b), while A ~ Poisson(λ S(b)) texts come, each half of S(b) before its end on average;
    the next call is on them, or on the first to come if there are none. A text's latency is, by the renewal-reward
    theorem, the mean of a call's sum A S(b)/2 + max(A, 1) S(max(A, 1)) over the mean of max(A, 1).
    """
    sizes = np.arange(most + 1)
    log_factorials = np.cumsum(np.log(np.maximum(sizes, 1)))
    means = rate * np.array([call_seconds(int(size)) for size in sizes[1:]])
    come = np.exp(sizes * np.log(means)[:, None] - means[:, None] - log_factorials)  # (size − 1, texts that come)
    step = come[:, 1:].copy()
    step[:, 0] += come[:, 0]
    share = np.full(most, 1 / most)
    for _ in range(2000):
        share = share @ step
        share /= share.sum()
    call = means / rate
    waited = share @ (come @ sizes * call) / 2
    served = share @ step @ (sizes[1:] * call)
    return float((waited + served) / (share @ step @ sizes[1:]))


@pytest.mark.parametrize("containers", [1, 3])
def test_each_request_waits_as_long_as_in_a_queue_worked_out_by_hand(containers: int) -> None:
    times = poisson(0.9 * containers, 15, 20_000)
    services = np.random.default_rng(16).exponential(1, len(times))
    drawn = iter(services.tolist())

    outcome = Simulation(times, fixed(containers), lambda _: next(drawn), lambda: 0).run()

    waits = waits_by_recursion(times, services.tolist(), containers)
    assert outcome.latency - services == pytest.approx(np.array(waits), abs=1e-6)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_one_container_waits_as_an_mm1_queue(load: float) -> None:
    outcome = Simulation(poisson(load, 1), fixed(1), exponential(1, 2), lambda: 0).run()

    assert mean_wait(outcome, 1) == pytest.approx(load / (1 - load), rel=TOLERANCE)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_constant_calls_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    outcome = Simulation(poisson(load, 3), fixed(1), lambda _: 1, lambda: 0).run()

    assert mean_wait(outcome, 1) == pytest.approx(pollaczek_khinchine(load, 1, 1), rel=TOLERANCE)


@pytest.mark.parametrize("containers", [2, 4])
def test_many_containers_wait_as_erlang_c_says(containers: int) -> None:
    rate = 0.7 * containers

    outcome = Simulation(poisson(rate, 4), fixed(containers), exponential(1, 5), lambda: 0).run()

    assert mean_wait(outcome, 1) == pytest.approx(erlang_c_wait(rate, 1, containers), rel=TOLERANCE)


@pytest.mark.parametrize("rate", [20.0, 60.0])
def test_calls_on_all_that_waits_take_as_long_as_their_chain_says(rate: float) -> None:
    service = linear_service(ONE_CLIENT_RATE, FULL_RATE, FULL)
    policy = fixed(1, max_inputs=WITHOUT_LIMIT, max_batch=WITHOUT_LIMIT)

    outcome = Simulation(poisson(rate, 6), policy, service, lambda: 0).run()

    assert outcome.latency.mean() == pytest.approx(batch_latency(rate, service), rel=TOLERANCE)


def test_an_exponential_start_adds_its_mean_to_each_wait() -> None:
    outcome = Simulation(poisson(0.6, 7), one_that_stops(0), exponential(1, 8), exponential(5, 9)).run()

    assert setup_wait(0.6, 1, 2, 5, 50) == pytest.approx(0.6 / 0.4 + 5)
    assert mean_wait(outcome, 1) == pytest.approx(setup_wait(0.6, 1, 2, 5, 50), rel=TOLERANCE)


def test_a_constant_start_adds_what_welch_says() -> None:
    outcome = Simulation(poisson(0.6, 10), one_that_stops(0), exponential(1, 11), lambda: 5).run()

    assert mean_wait(outcome, 1) == pytest.approx(setup_wait(0.6, 1, 2, 5, 25), rel=TOLERANCE)


def test_a_scaledown_window_spares_the_starts_that_it_should() -> None:
    rate, window, start = 0.2, 4.0, 10.0
    starts = math.exp(-rate * window)  # of the busy periods: those whose idle period outlasts the window

    outcome = Simulation(poisson(rate, 12), one_that_stops(window), exponential(1, 13), lambda: start).run()

    wait = setup_wait(rate, 1, 2, starts * start, starts * start**2)
    periods = REQUESTS * (1 - rate) / (1 + rate * starts * start)  # requests over the requests of a busy period
    assert mean_wait(outcome, 1) == pytest.approx(wait, rel=TOLERANCE)
    assert outcome.starts == pytest.approx(periods * starts, rel=TOLERANCE)


def test_littles_law_holds_and_arrivals_see_an_idle_server_as_often_as_it_is() -> None:
    times = np.array(poisson(0.7, 14))

    outcome = Simulation(times.tolist(), fixed(1), lambda _: 1, lambda: 0).run()

    ends = np.sort(times + outcome.latency)
    present = np.arange(len(times)) - np.searchsorted(ends, times)  # requests that an arrival finds
    assert present.mean() == pytest.approx(0.7 * outcome.latency.mean(), rel=TOLERANCE)
    assert (present == 0).mean() == pytest.approx(0.3, rel=TOLERANCE)


@pytest.mark.parametrize("policy", [Policy(), Policy(1, 3, 1, 60, 8, 4, 2), Policy(0, 1, 0, 0, 1, 1, 1)])
def test_every_request_is_answered_once_and_none_before_a_call_could_end(policy: Policy) -> None:
    times = arrivals(Traffic(bursts=4), 0)[:5000]
    service = linear_service(ONE_CLIENT_RATE, FULL_RATE, FULL)
    texts: list[int] = []

    outcome = Simulation(times.tolist(), policy, lambda n: texts.append(n) or service(n), lambda: 2).run()

    assert sum(texts) == len(times) == len(outcome.latency)
    assert max(texts) <= policy.max_batch
    assert outcome.latency.min() >= service(1) - 1e-9
    work = sum(service(n) for n in texts)
    assert work <= outcome.container_seconds <= policy.max_containers * outcome.end


def test_a_container_is_paid_from_its_start_until_its_window_is_over() -> None:
    policy = Policy(scaledown_window=60)

    outcome = Simulation([100.0, 1000.0], policy, lambda _: 0.5, lambda: 2).run()

    assert outcome.latency.tolist() == [2.5, 2.5]
    assert outcome.waited_for_start.all()
    assert outcome.starts == 2
    assert outcome.container_seconds == (2 + 0.5 + 60) + 2.5  # the run ends with its last answer


def test_the_first_start_on_each_type_of_worker_makes_its_snapshot() -> None:
    """By hand: requests so far apart that each starts a container, on workers of the types 0, 1, 0, 2, 1, 0.

    The first, second and fourth start takes 7 s and the others 1 s; each call takes 0.5 s, and then 60 s go idle.
    """
    starts = SnapshotStarts(1, 7, iter([0, 1, 0, 2, 1, 0]).__next__)
    times = [1000.0 * n for n in range(6)]

    outcome = Simulation(times, Policy(scaledown_window=60), lambda _: 0.5, starts).run()

    assert outcome.latency.tolist() == [7.5, 7.5, 1.5, 7.5, 1.5, 1.5]
    assert outcome.container_seconds == (3 * 7 + 3 * 1) + 6 * 0.5 + 5 * 60  # the run ends with its last answer
    assert (outcome.starts, starts.made) == (6, 3)


@pytest.mark.parametrize("days", [1, 4, 30])
def test_so_many_starts_are_slow_as_types_are_drawn_at_least_once(days: int) -> None:
    """Of k types, n draws hold k (1 − (1 − 1/k)ⁿ) on average: each type is left out with probability (1 − 1/k)ⁿ."""
    types, runs = 6, 2000
    times = [1000.0 * n for n in range(days)]
    made = 0
    for seed in range(runs):
        starts = SnapshotStarts(1, 7, worker_types(types, seed))
        made += round((Simulation(times, Policy(), lambda _: 0.5, starts).run().latency > 2).sum())

    assert made / runs == pytest.approx(types * (1 - (1 - 1 / types) ** days), rel=TOLERANCE)


def test_the_window_begins_anew_with_each_answer() -> None:
    policy = Policy(scaledown_window=60, max_inputs=1, target_inputs=1)

    outcome = Simulation([0.0, 0.0, 50.0, 50.0, 80.0, 110.0, 140.0], policy, lambda _: 0.5, lambda: 2).run()

    assert outcome.starts == 2
    assert outcome.container_seconds == 140.5 + (50.5 + 60)


def test_a_buffer_stays_while_requests_come_and_goes_after_them() -> None:
    policy = Policy(1, 5, 1, scaledown_window=60)
    times = [*np.arange(0, 1000, 30.0).tolist(), 5000.0]

    outcome = Simulation(times, policy, lambda _: 0.5, lambda: 2).run()

    assert outcome.starts == 2
    assert not outcome.waited_for_start.any()
    assert outcome.container_seconds == 5000.5 + (990 + 60) + 0.5


def test_the_same_seed_gives_the_same_day() -> None:
    first, again, other = (
        report(parser().parse_args(["--days", "1", "--bursts", "2", "--seed", seed])) for seed in "778"
    )

    assert first == again
    assert first != other


@pytest.mark.parametrize("rates", [(50, 40, 16), (50, 900, 16), (0, 70, 16), (50, 70, 1)])
def test_rates_that_no_line_fits_are_refused(rates: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"positive a and b|above 0"):
        linear_service(*rates)


def test_the_rates_are_the_figures_of_the_docs_and_the_table_is_as_printed() -> None:
    figures = (ROOT / "docs/figures.md").read_text()

    rates = re.findall(r"^\| HTTP, (?:1 client|16 clients) \| int8 \| ([\d.]+) requests/s", figures, re.MULTILINE)

    assert [float(rate) for rate in rates] == [ONE_CLIENT_RATE, FULL_RATE]
    assert report(parser().parse_args([])) in (ROOT / "tests/benchmarks/README.md").read_text()
