"""Days of requests that come in bursts, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


DAY = 86_400.0


@dataclass(frozen=True)
class Traffic:
    """A Poisson process whose rate is itself drawn: a few requests all day, and bursts on top.

    Both follow the hour, from nothing at midnight to twice the mean at noon. A burst's length and its rate are
    exponential, so that some are many times the mean in both.
    """

    quiet_per_second: float = 0.03  # mean over the day
    bursts: int = 24
    burst_seconds: float = 60  # mean
    burst_per_second: float = 60  # mean


def arrivals(traffic: Traffic, seed: int, days: int = 1) -> Times:
    """The moments at which requests come in, in seconds from the first midnight, in order. No two days are alike."""
    rng = np.random.default_rng(seed)
    return np.concatenate([day * DAY + _day(traffic, rng) for day in range(days)])


def _day(traffic: Traffic, rng: np.random.Generator) -> Times:
    parts = [_moments(rng, rng.poisson(traffic.quiet_per_second * DAY))]
    for start in _moments(rng, traffic.bursts):
        length = rng.exponential(traffic.burst_seconds)
        count = rng.poisson(length * rng.exponential(traffic.burst_per_second))
        parts.append(start + length * rng.random(count))
    times = np.sort(np.concatenate(parts))
    return times[times < DAY]


def _moments(rng: np.random.Generator, count: int) -> Times:
    """`count` moments of a day with density 1 − cos, by rejection: (count,), in no order."""
    kept = np.empty(0)
    while len(kept) < count:
        tried = rng.random(2 * count + 16)
        density = (1 - np.cos(2 * np.pi * tried)) / 2
        kept = np.concatenate([kept, tried[rng.random(len(tried)) < density]])
    return DAY * kept[:count]
