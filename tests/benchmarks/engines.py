"""The engines called in this process: how long a call takes, and how near its vectors are."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
from sentence_transformers import SentenceTransformer

from embedding.model import Engine
from embedding.model.load import fetch_and_prepare, load_engine
from embedding.settings import Settings
from tests.benchmarks.table import Row

WORDS = (
    "granite harbour melody quartz ferment lantern vector turbine archive glacier tensor signal ledger cobalt".split()
)
SENTENCES = 500
LONG = (512, 2048)
CALLS = 4  # of one engine in a row; the first of them finds the caches full of another engine's weights


def speed_rows(model: Path, rounds: int) -> list[Row]:
    """Calls of each engine in turn, in every round anew, so that all see the same machine."""
    reference = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": "float32"})
    engines = {precision: _engine(model, precision) for precision in precisions(model)}
    (first, *_) = engines.values()
    limit = first.info.max_tokens or max(LONG)
    batches = {
        "22 tokens": ([_text_of(first, 22)], rounds),
        "111 tokens": ([_text_of(first, 111)], rounds),
        "32 × 22 tokens, a text": ([_text_of(first, 22, seed) for seed in range(32)], rounds),
        **{f"{n} tokens": ([_text_of(first, n)], max(1, rounds // 3)) for n in LONG if n <= limit},
    }
    calls: dict[str, Callable[[list[str]], object]] = {
        "reference": lambda texts: reference.encode_query(texts, show_progress_bar=False)
    }
    for precision, engine in engines.items():
        calls[precision] = lambda texts, engine=engine: engine.embed(engine.tokenize(texts, "query"))
    rows = []
    for what, (texts, turns) in batches.items():
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(turns):
            for name, call in calls.items():
                seconds[name] += _seconds(call, texts)[1:]
        for precision in engines:
            ours, theirs = (1e3 * median(seconds[name]) / len(texts) for name in (precision, "reference"))
            rows.append(Row(what, precision, ours, "ms", theirs))
    return rows


def _seconds(call: Callable[[list[str]], object], texts: list[str]) -> list[float]:
    marks = [time.perf_counter()]
    for _ in range(CALLS):
        call(texts)
        marks.append(time.perf_counter())
    return [end - start for start, end in pairwise(marks)]


def fidelity_rows(model: Path) -> list[Row]:
    """Cosine to the reference over made-up sentences, none of which `prepare` knows."""
    rng = np.random.default_rng(7)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(SENTENCES)]
    reference = SentenceTransformer(str(model), device="cpu", model_kwargs={"dtype": "float32"})
    expected = reference.encode_query(texts, show_progress_bar=False, normalize_embeddings=True)
    rows = []
    for precision in precisions(model):
        engine = _engine(model, precision)
        vectors = engine.embed(engine.tokenize(texts, "query"))
        cosines = (vectors * expected).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        rows.append(Row(f"cosine over {SENTENCES} sentences, mean", precision, float(cosines.mean()), "cosine"))
        rows.append(Row(f"cosine over {SENTENCES} sentences, least", precision, float(cosines.min()), "cosine"))
    return rows


def precisions(model: Path) -> list[str]:
    manifest = fetch_and_prepare(Settings.read(model_id=str(model))).manifest
    return manifest.precisions if manifest else []


def _engine(model: Path, precision: str) -> Engine:
    return load_engine(Settings.read(model_id=str(model), precision=precision))


def _text_of(engine: Engine, tokens: int, seed: int = 0) -> str:
    """Words that make a query of `tokens` tokens, prompt included, or a few fewer."""
    words = np.random.default_rng(seed).permutation(np.array(WORDS * (12 + tokens // len(WORDS)))).tolist()
    count = 1
    while engine.tokenize([" ".join(words[: count + 1])], "query")[0].total <= tokens:
        count += 1
    return " ".join(words[:count])
