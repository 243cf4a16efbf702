"""EmbeddingGemma 2's shapes with random weights, and what the service makes of them.

The real weights can't be had without a network; exactness, speed and memory do not need trained ones.

usage: python -m tests.benchmarks.gemma2 make FOLDER [--outliers] [--tokenizer FOLDER]
       python -m tests.benchmarks.gemma2 measure FOLDER [--prepared FOLDER] [--tokens N …]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from embedding.model.encoder import OnnxEncoder
from embedding.model.fetch.manifest import read_manifest
from embedding.model.load import fetch_and_prepare
from embedding.settings import Settings
from tests.benchmarks.table import Row, as_text

LENGTHS = 5, 22, 600, 2048, 8192
ROUNDS = 3
NO_LIMIT = 10**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="write a stand-in: 5 GB of memory for a minute, 1.1 GB of disk")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--outliers", action="store_true", help="heavy-tailed channels as trained models have them")
    maker.add_argument("--tokenizer", type=Path, help="take that of this SentenceTransformer, as large as the real one")
    meter = commands.add_parser("measure", help="distance to SentenceTransformer, processor time, memory, by length")
    meter.add_argument("folder", type=Path)
    meter.add_argument("--prepared", type=Path, help="what prepare made of it; by default it is prepared now")
    meter.add_argument("--tokens", type=int, nargs="+", default=LENGTHS)
    options = parser.parse_args()
    if options.command == "make":
        print(make(options.folder, options.outliers, options.tokenizer))
    else:
        print(as_text(f"{options.folder}, by length", measure(options.folder, options.prepared, options.tokens)))


def make(folder: Path, outliers: bool = False, tokenizer_of: Path | None = None) -> Path:
    """The folder of the SentenceTransformer, in the layout of text alone."""
    import torch
    from transformers import EmbeddingGemma2TextConfig, EmbeddingGemma2TextModel, PreTrainedTokenizerFast

    from tests.tiny_gemma import tokenizer
    from tests.tiny_gemma2 import IMAGE, randomize, save

    torch.manual_seed(0)
    encoder = EmbeddingGemma2TextModel(EmbeddingGemma2TextConfig()).eval()
    randomize(encoder, outliers)
    words = PreTrainedTokenizerFast.from_pretrained(tokenizer_of) if tokenizer_of else tokenizer(IMAGE)
    words.model_max_length = NO_LIMIT  # as the real one's
    return save(encoder, words, folder)


def measure(folder: Path, prepared: Path | None, lengths: list[int]) -> list[Row]:
    """Seconds are the processor's, of all threads: a busy machine changes them less than those of the clock."""
    import torch
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
    prepared = prepared or fetch_and_prepare(Settings.read(model_id=str(folder))).folder
    encoders = {precision: OnnxEncoder(prepared, precision) for precision in read_manifest(prepared).precisions}
    vocabulary = reference[0].model.config.vocab_size
    rng = np.random.default_rng(0)

    def encode(ids: list[int]) -> np.ndarray:
        with torch.no_grad():
            features: dict[str, Any] = {"input_ids": torch.tensor([ids])}
            features["attention_mask"] = torch.ones_like(features["input_ids"])
            return np.asarray(reference(features)["sentence_embedding"])

    rows = []
    for length in lengths:
        ids = rng.integers(5, vocabulary, length).tolist()
        times: dict[str, list[float]] = {name: [] for name in ["reference", *encoders]}
        vectors: dict[str, np.ndarray] = {}
        for _ in range(1 if length > LENGTHS[2] else ROUNDS):
            vectors["reference"] = _timed(lambda ids=ids: encode(ids), times["reference"])
            for name, encoder in encoders.items():
                call = lambda ids=ids, encoder=encoder: encoder.embed([ids])  # noqa: E731
                vectors[name] = _timed(call, times[name])
        for name in encoders:
            what = f"{length} tokens"
            rows.append(Row(f"{what}, processor time", name, min(times[name]), "s", min(times["reference"])))
            cosine = float((vectors[name] * vectors["reference"]).sum())
            rows.append(Row(f"{what}, cosine", name, cosine, "cosine"))
            rows.append(Row(f"{what}, largest difference × 10⁶", name, 1e6 * _distance(vectors, name), ""))
    for name in encoders:
        rows.append(
            Row(f"{max(lengths)} tokens, memory at most", name, _peak_memory(prepared, name, max(lengths)), "MB")
        )
    return rows


def _timed(call: Callable[[], np.ndarray], times: list[float]) -> np.ndarray:
    start = time.process_time()
    vector = call()
    times.append(time.process_time() - start)
    return vector


def _distance(vectors: dict[str, np.ndarray], name: str) -> float:
    return float(np.abs(vectors[name] - vectors["reference"]).max())


def _peak_memory(folder: Path, precision: str, tokens: int) -> float:
    """Megabytes that a process held at most which embeds one text."""
    code = f"""
from pathlib import Path
from embedding.model.encoder import OnnxEncoder
OnnxEncoder(Path({str(folder)!r}), {precision!r}, threads=2).embed([[7] * {tokens}])
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-2]) / 1000


if __name__ == "__main__":
    main()
