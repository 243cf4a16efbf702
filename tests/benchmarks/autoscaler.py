"""Latency and cold starts of bursty days on a platform that starts and stops containers: a simulation.

`python -m tests.benchmarks.autoscaler [--seed N] [--start-seconds S] …`

It takes for granted, after Modal's description of its autoscaler (https://modal.com/docs/guide/scale):
- A request goes at once to the started container with the fewest requests, if it holds fewer than max_inputs; if there
  is none, it waits in one queue, first come, first served, and in no container's.
- As it comes in, containers are started until there is one for every target_inputs requests under way or waiting, and
  buffer_containers more while a request is under way or came within the last scaledown_window seconds; never over
  max_containers, never under min_containers. A start is never called off.
- A container stops after scaledown_window seconds without work, unless that leaves fewer than wanted by that rule.
- A container runs one engine call at a time, on up to max_batch of its requests, and what waits when the call ends goes
  into the next one. A call takes a + b·n seconds for n texts, a and b from two measured rates; a request is one text.
- A container starts from a snapshot, one for each type of worker that Modal has (about six for a function on CPUs, by
  https://modal.com/docs/guide/memory-snapshots), made by the first container on such a worker after a deploy. That one
  loads as without a snapshot, and writes it down. A start lands on any type alike. The days begin with a deploy.
- A container is paid for from the moment its start begins until it stops. Network, failures, and the platform's own
  queueing are left out.
"""

import argparse
import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.plan import BOOT_SECONDS, PROCESS_START_SECONDS, container_dollars, tell
from tests.benchmarks.traffic import Traffic, arrivals

# docs/figures.md: HTTP requests a second in int8, for one client and for sixteen, who ran on the same two cores.
ONE_CLIENT_RATE, FULL_RATE, FULL = 42.4, 64.3, 16
WORKER_TYPES = 6  # of CPU workers, about, by Modal's guide
SNAPSHOT_SECONDS = 3.3  # median of 3 of `runsc checkpoint`, a service in int8 on two cores, by gVisor of 2022-12-19


@dataclass(frozen=True)
class Policy:
    """The autoscaler's settings, by Modal's names, and as in modal_app.py."""

    min_containers: int = 0
    max_containers: int = 20
    buffer_containers: int = 0
    scaledown_window: float = 300
    max_inputs: int = 64
    target_inputs: int = 16
    max_batch: int = FULL


@dataclass(frozen=True)
class Outcome:
    """What became of the requests, in order of arrival: seconds each took, and whether it waited for a start."""

    latency: NDArray[np.float64]
    waited_for_start: NDArray[np.bool_]
    starts: int
    container_seconds: float
    end: float


class SnapshotStarts:
    """Seconds of one start after another: `first` on a type of worker without a snapshot yet, then `restored`.

    `draw` gives the type of each, a number.
    """

    def __init__(self, restored: float, first: float, draw: Callable[[], int]) -> None:
        self._restored, self._first, self._draw = restored, first, draw
        self._made: set[int] = set()

    def __call__(self) -> float:
        worker = self._draw()
        if worker in self._made:
            return self._restored
        self._made.add(worker)
        return self._first

    @property
    def made(self) -> int:
        """Snapshots so far."""
        return len(self._made)


def worker_types(types: int, seed: int) -> Callable[[], int]:
    """Draws one of so many types of workers, each as likely."""
    rng = np.random.default_rng(seed)
    return lambda: int(rng.integers(types))


@dataclass(eq=False)
class _Container:
    started: float
    ready: bool = False
    idle_since: float = 0
    load: int = 0  # requests waiting and running
    checked: bool = False  # whether a look at its idleness is due
    waiting: deque[int] = field(default_factory=deque)
    running: list[int] = field(default_factory=list)


_LOAD = attrgetter("load")


class Simulation:
    """One run. `service` says how long a call on so many texts takes, `start` how long a container takes to start."""

    def __init__(
        self, times: Sequence[float], policy: Policy, service: Callable[[int], float], start: Callable[[], float]
    ) -> None:
        self._times, self._policy, self._service, self._start = times, policy, service, start
        self._containers: list[_Container] = []
        self._queue: deque[int] = deque()
        self._events: list[tuple[float, int, Callable[[_Container, float], None], _Container]] = []
        self._order = count()  # events of one moment, in the order they were made
        self._under_way = 0
        self._last_arrival = -math.inf
        self._finished = np.full(len(times), np.nan)
        self._waited = np.zeros(len(times), dtype=bool)
        self._starts = 0
        self._container_seconds = 0.0

    def run(self) -> Outcome:
        """Serve every request, then stop at the last answer or arrival, with what still runs paid until there."""
        for _ in range(self._policy.min_containers):
            self._ready(self._add(0.0), 0.0)
        for request, now in enumerate(self._times):
            while self._events and self._events[0][0] <= now:
                self._step()
            self._arrive(request, now)
        while self._under_way:
            self._step()
        end = max(self._times[-1], np.max(self._finished))
        paid = self._container_seconds + sum(end - container.started for container in self._containers)
        return Outcome(self._finished - self._times, self._waited, self._starts, paid, float(end))

    def _step(self) -> None:
        now, _, happens, container = heapq.heappop(self._events)
        happens(container, now)

    def _at(self, moment: float, happens: Callable[[_Container, float], None], container: _Container) -> None:
        if moment < math.inf:
            heapq.heappush(self._events, (moment, next(self._order), happens, container))

    def _arrive(self, request: int, now: float) -> None:
        self._under_way += 1
        self._last_arrival = now
        free = [found for found in self._containers if found.ready and found.load < self._policy.max_inputs]
        if free:
            container = min(free, key=_LOAD)  # the oldest of those with as few
            container.waiting.append(request)
            container.load += 1
            if not container.running:
                self._call(container, now)
        else:
            self._queue.append(request)
        while len(self._containers) < self._wanted(now):
            self._starts += 1
            self._at(now + self._start(), self._ready, self._add(now))

    def _wanted(self, now: float) -> int:
        policy = self._policy
        needed = math.ceil(self._under_way / policy.target_inputs)
        if self._under_way or now < self._last_arrival + policy.scaledown_window:
            needed = max(needed, 1) + policy.buffer_containers
        return min(max(needed, policy.min_containers), policy.max_containers)

    def _add(self, now: float) -> _Container:
        container = _Container(now)
        self._containers.append(container)
        return container

    def _ready(self, container: _Container, now: float) -> None:
        container.ready = True
        self._waited[list(self._queue)[: self._policy.max_inputs]] = True
        self._take(container, now)

    def _take(self, container: _Container, now: float) -> None:
        """Fill a container from the queue, and let it run or idle."""
        while self._queue and container.load < self._policy.max_inputs:
            container.waiting.append(self._queue.popleft())
            container.load += 1
        if container.waiting:
            self._call(container, now)
        else:
            container.idle_since = now
            self._check(container, now + self._policy.scaledown_window)

    def _call(self, container: _Container, now: float) -> None:
        size = min(len(container.waiting), self._policy.max_batch)
        container.running = [container.waiting.popleft() for _ in range(size)]
        self._at(now + self._service(size), self._answer, container)

    def _answer(self, container: _Container, now: float) -> None:
        self._finished[container.running] = now
        self._under_way -= len(container.running)
        container.load -= len(container.running)
        container.running = []
        self._take(container, now)

    def _idle(self, container: _Container, now: float) -> None:
        """Stop a container that has been idle for the window and isn't wanted, or look again when that may be so."""
        container.checked = False
        window = self._policy.scaledown_window
        if container.load:
            return
        if container.idle_since + window > now:
            self._check(container, container.idle_since + window)
        elif len(self._containers) > self._wanted(now):
            self._containers.remove(container)
            self._container_seconds += now - container.started
        else:
            quiet = self._last_arrival + window  # until then a buffer is wanted
            self._check(container, quiet if quiet > now else now + window)

    def _check(self, container: _Container, moment: float) -> None:
        if not container.checked:
            container.checked = True
            self._at(moment, self._idle, container)


def linear_service(one_rate: float, full_rate: float, full: int) -> Callable[[int], float]:
    """Seconds of a call on n texts, a + b·n, from texts a second alone and `full` at a time. Raises ValueError."""
    if one_rate <= 0 or full_rate <= 0 or full < 2:
        raise ValueError("the rates must be above 0, and the second one of 2 texts or more at a time")
    alone, together = 1 / one_rate, full / full_rate
    each = (together - alone) / (full - 1)
    if not 0 < each <= alone:
        raise ValueError(f"{one_rate:g} a second alone and {full_rate:g} by {full} is no a + b·n of positive a and b")
    return lambda texts: alone + each * (texts - 1)


Start = Callable[[], float]


def policies(options: argparse.Namespace) -> dict[str, tuple[Policy, Start]]:
    """What the table compares: a policy, and how containers start."""
    deployed = Policy()
    kept = replace(deployed, min_containers=1)

    def snapshots(restored: float) -> Start:
        first = options.start_seconds + options.snapshot_seconds
        return SnapshotStarts(restored, first, worker_types(options.worker_types, options.seed))

    def plain() -> float:
        return float(options.start_seconds)

    return {
        "without snapshots: to zero after 300 s": (deployed, plain),
        "with snapshots, if a restore takes 1 s": (deployed, snapshots(1)),
        "with snapshots, if it takes as long as a start": (deployed, snapshots(options.start_seconds)),
        "a start takes 10 s": (deployed, lambda: 10),
        "to zero after 60 s": (replace(deployed, scaledown_window=60), plain),
        "min 1": (kept, plain),
        "min 1, target 8": (replace(kept, target_inputs=8), plain),
        "min 1, buffer 1": (replace(kept, buffer_containers=1), plain),
        "min 3": (replace(deployed, min_containers=3), plain),
    }


def table(outcomes: dict[str, Outcome], days: int, dollars_per_hour: float) -> str:
    """A Markdown table, a row a policy: latencies over all days, and starts, hours and dollars of a day."""
    lines = [
        "| policy | p50 | p95 | p99 | longest | waited for a start | starts | container-hours | $ a day |",
        "| --- |" + " --- |" * 8,
    ]
    for name, outcome in outcomes.items():
        latencies = " | ".join(_said(seconds) for seconds in np.percentile(outcome.latency, (50, 95, 99, 100)))
        hours = outcome.container_seconds / 3600 / days
        lines.append(
            f"| {name} | {latencies} | {outcome.waited_for_start.mean():.1%} | {outcome.starts / days:.0f} | "
            f"{hours:.1f} | {hours * dollars_per_hour:.2f} |"
        )
    return "\n".join(lines)


def _said(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def report(options: argparse.Namespace) -> str:
    """The table, and under it the traffic and the times it was made with. Raises ValueError."""
    if options.days < 1 or options.worker_types < 1:
        raise ValueError(f"{options.days} days, {options.worker_types} types of worker: both must be 1 or more")
    service = linear_service(options.one_rate, options.full_rate, options.full)
    times = arrivals(Traffic(bursts=options.bursts), options.seed, options.days)
    outcomes = {
        name: Simulation(times.tolist(), policy, service, start).run()
        for name, (policy, start) in policies(options).items()
    }
    return "\n".join(
        [
            table(outcomes, options.days, options.dollars_per_hour),
            "",
            f"{len(times):,} requests in {options.days} days, {options.bursts} bursts a day, up to "
            f"{np.bincount(times.astype(int)).max()} requests in a second (seed {options.seed}). A call takes "
            f"{1e3 * service(1):.1f} ms for one text and {1e3 * service(options.full):.0f} ms for {options.full}; a "
            f"container starts in {options.start_seconds:g} s, where nothing else is said, and costs "
            f"${options.dollars_per_hour:.3f} an hour. The first on each of {options.worker_types} types of worker "
            f"writes a snapshot in {options.snapshot_seconds:g} s more.",
        ]
    )


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--days", type=int, default=2, help="of the same kind, no two alike")
    found.add_argument("--bursts", type=int, default=Traffic.bursts, help="a day")
    found.add_argument("--one-rate", type=float, default=ONE_CLIENT_RATE, help="requests/s of a container, one client")
    found.add_argument("--full-rate", type=float, default=FULL_RATE, help="and with --full clients")
    found.add_argument("--full", type=int, default=FULL)
    found.add_argument("--start-seconds", type=float, default=BOOT_SECONDS + PROCESS_START_SECONDS)
    found.add_argument("--worker-types", type=int, default=WORKER_TYPES, help="each with a snapshot of its own")
    found.add_argument("--snapshot-seconds", type=float, default=SNAPSHOT_SECONDS, help="to write one down")
    found.add_argument("--dollars-per-hour", type=float, default=container_dollars())
    return found


def main() -> None:
    tell(parser(), report)


if __name__ == "__main__":
    main()
