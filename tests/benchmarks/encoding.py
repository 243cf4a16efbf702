"""What an answer's encoding costs: 1,000 vectors of 768 numbers, from the array to the body, beside float lists.

`python -m tests.benchmarks.encoding` prints a row for each: CPU milliseconds, the median of many turns, taken in turn
so that a neighbour slows all alike; how many times faster that is than float lists; and the body's size.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from embedding.api.protocols.encoding import BYTES, NPY, bytes_response, json_numbers, json_response
from embedding.model.vectors import OutputPrecision, ranges_of, round_to, unit

TEXTS, DIMENSION, TURNS = 1000, 768, 15
PRECISIONS: tuple[OutputPrecision, ...] = ("float32", "float16", "int8", "ubinary")


def encodings() -> dict[str, Callable[[], bytes]]:
    """From vectors to a body, by a name; float lists are the first."""
    vectors = unit(np.random.default_rng(0).standard_normal((TEXTS, DIMENSION), np.float32))
    ranges = ranges_of(vectors)

    def lists(precision: OutputPrecision) -> bytes:
        return json_response(json_numbers(round_to(vectors, precision, ranges)), {}).body

    def base64(precision: OutputPrecision) -> bytes:
        return json_response(json_numbers(round_to(vectors, precision, ranges), "base64"), {}).body

    def whole(precision: OutputPrecision, kind: str) -> bytes:
        return bytes_response(round_to(vectors, precision, ranges), kind, {}).body

    made: dict[str, Callable[[], bytes]] = {}
    for precision in PRECISIONS:
        made[f"{precision} lists"] = lambda precision=precision: lists(precision)
    for precision in PRECISIONS:
        made[f"{precision} base64"] = lambda precision=precision: base64(precision)
    for precision in PRECISIONS:
        made[f"{precision} npy"] = lambda precision=precision: whole(precision, NPY)
    made["float32 octet-stream"] = lambda: whole("float32", BYTES)
    return made


def measure(made: dict[str, Callable[[], bytes]], turns: int = TURNS) -> dict[str, float]:
    """The median CPU seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(turns):
        for name, encode in made.items():
            start = time.thread_time()
            encode()
            seconds[name].append(time.thread_time() - start)
    return {name: median(each) for name, each in seconds.items()}


def main() -> None:
    made = encodings()
    seconds = measure(made)
    lists = seconds["float32 lists"]
    print(f"{TEXTS} vectors of {DIMENSION} | CPU ms | faster than float lists | MB")
    for name, each in seconds.items():
        print(f"{name} | {1e3 * each:.2f} | {lists / each:.1f} | {len(made[name]()) / 1e6:.2f}")


if __name__ == "__main__":
    main()
