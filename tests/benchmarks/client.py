"""Texts a second through the client beside the engine's own: `python -m tests.benchmarks.client MODEL [--texts 10000]`.

The engine's own: the same texts in memory, sorted by length, tokenized and embedded in large calls. The server is a
process of its own, and idle meanwhile. Both take turns, a part of the texts at a time, and each vector that comes over
HTTP is compared with the engine's for the same text.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from embedding.client import EmbeddingClient
from embedding.client.answers import Vectors
from embedding.model import Engine, load_engine
from embedding.settings import Settings
from tests.benchmarks.__main__ import machine
from tests.benchmarks.engines import WORDS
from tests.benchmarks.http import TOKEN, serve_line, serving

PARTS = 10
CALL_TEXTS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a SentenceTransformer")
    parser.add_argument("--texts", type=int, default=10_000, help="how many are made, no two alike")
    parser.add_argument("--longest", type=int, default=120, metavar="WORDS", help="of them, from 5 up")
    parser.add_argument("--concurrency", type=int, default=4, help="requests that the client keeps in flight")
    options = parser.parse_args()
    engine = load_engine(Settings.read(model_id=str(options.model), precision="float32"))
    texts = make_texts(options.texts, options.longest)
    print(f"{len(texts):,} texts of 5 to {options.longest} words, {engine.info.model} in float32 on {machine()}")
    rates, farthest = [], 0.0
    with (
        serving(serve_line(options.model, "onnx", "float32")) as port,
        EmbeddingClient(f"http://127.0.0.1:{port}", TOKEN, concurrency=options.concurrency) as client,
    ):
        for number in range(PARTS):
            part = texts[number::PARTS]
            own_seconds, own = timed(lambda part=part: embed_alone(engine, part))
            seconds, served = timed(lambda part=part: client.embed_documents(part))
            farthest = max(farthest, float(np.abs(own - served).max()))
            rates.append((len(part) / own_seconds, len(part) / seconds))
            print(f"  engine {rates[-1][0]:,.0f} texts/s, client {rates[-1][1]:,.0f}, {own_seconds / seconds:.3f}")
    ratio = median(served / own for own, served in rates)
    print(f"median: {ratio:.3f} of the engine's own texts/s; no number is farther off than {farthest:.1e}")
    if farthest > 1e-5:
        raise SystemExit("error: a vector is not its text's")


def make_texts(count: int, longest: int) -> list[str]:
    rng = np.random.default_rng(6)
    return [f"{number} {' '.join(rng.choice(WORDS, rng.integers(5, longest + 1)))}" for number in range(count)]


def timed(work: Callable[[], Vectors]) -> tuple[float, Vectors]:
    start = time.perf_counter()
    vectors = work()
    return time.perf_counter() - start, vectors


def embed_alone(engine: Engine, texts: list[str]) -> Vectors:
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    vectors = np.empty((len(texts), engine.info.dimension), np.float32)
    for start in range(0, len(order), CALL_TEXTS):
        call = order[start : start + CALL_TEXTS]
        vectors[call] = engine.embed(engine.tokenize([texts[index] for index in call], "document"))
    return vectors


if __name__ == "__main__":
    main()
