"""The CPU engine: a prepared folder on ONNX Runtime. Needs numpy, onnxruntime and tokenizers; never torch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedding.model.encoder import OnnxEncoder
from embedding.model.engine import EngineInfo, Task, Token, TokenizedText, least_limit
from embedding.model.errors import NO_SPANS, Unsupported
from embedding.model.fetch.manifest import CALIBRATION, Manifest, read_manifest
from embedding.model.tokenizer import load_tokenizers

BATCH_TOKENS = 512
# They share the threads and so gain nothing together, but a short text need not wait for a long one to end.
PARALLEL_CALLS = 2


class OnnxEngine:
    """A prepared model. `precision` "auto" takes float32, unless one that passed the check is clearly faster here.

    Raises InvalidArtifact for a folder that isn't whole and UnknownPrecision for a precision that isn't offered.
    """

    def __init__(
        self, folder: Path, precision: str = "auto", threads: int | None = None, manifest: Manifest | None = None
    ) -> None:
        manifest = manifest or read_manifest(folder)
        with ThreadPoolExecutor(1) as beside:
            # The graph's load leaves Python's lock alone, so the tokenizer's file is read meanwhile.
            encoder = beside.submit(OnnxEncoder, folder, precision, threads, manifest)
            self._tokenizers = load_tokenizers(folder, manifest)
            self._encoder = encoder.result()
        self.batch_tokens = BATCH_TOKENS
        self.parallel_calls = PARALLEL_CALLS
        self.prompts = manifest.prompts
        self.calibration: NDArray[np.float32] = np.load(folder / CALIBRATION, allow_pickle=False)
        limits = {task: settings.max_tokens for task, settings in manifest.tokenizer.items()}
        self.info = EngineInfo(
            model=manifest.source,
            engine="onnx",
            device="cpu",
            precision=self._encoder.precision,
            precision_reason=self._encoder.precision_reason,
            threads=self._encoder.threads,
            dimension=manifest.dimension,
            matryoshka_dimensions=manifest.matryoshka_dimensions,
            revision=manifest.revision or manifest.content[:40],
            max_tokens=least_limit(limits),
            task_max_tokens=limits,
            fidelity=manifest.fidelity[self._encoder.precision].mean,
            normalizes=manifest.normalizes,
            pooling=manifest.pooling,
        )

    def tokenize(self, texts: Sequence[str], task: Task, prompt: str | None = None) -> list[TokenizedText]:
        return self._tokenizers[task].tokenize(texts, prompt)

    def token_starts(self, text: str) -> list[int]:
        return self._tokenizers["document"].token_starts(text)

    def tokens(self, text: str, task: Task, prompt: str = "", special: bool = True) -> list[Token]:
        return self._tokenizers[task].tokens(text, prompt, special)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return self._tokenizers["document"].decode(ids, skip_special)

    def embed_tokens(self, text: TokenizedText) -> NDArray[np.float32]:
        return self._encoder.embed_tokens(text.ids)

    def embed_spans(self, text: TokenizedText, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        if self.info.pooling != "mean":
            raise Unsupported(NO_SPANS)
        vectors, lengths = self._encoder.embed_spans(text.ids, spans)
        return vectors if text.normalize else vectors * lengths

    def embed(self, batch: Sequence[TokenizedText]) -> NDArray[np.float32]:
        vectors, lengths = self._encoder.embed_with_lengths([text.ids for text in batch])
        raw = [not text.normalize for text in batch]
        vectors[raw] *= lengths[raw]
        return vectors
