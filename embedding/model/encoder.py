"""Runs a prepared folder on the CPU: token ids in, vectors out, with numpy, onnxruntime and tokenizers alone."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort

from embedding.model.errors import UnknownToken
from embedding.model.fetch.manifest import Manifest, read_manifest
from embedding.model.machine import available_cores
from embedding.model.precision import AUTO, Trials, choose_precision
from embedding.model.ragged import Text, graph_inputs, group_by_length
from embedding.model.table import Table

TRIAL_TOKENS = 24
TRIAL_SECONDS = 0.2


class OnnxEncoder:
    """A prepared model. `precision` "auto" takes float32, unless one that passed the check is clearly faster here.

    Raises InvalidArtifact for a folder that isn't whole and UnknownPrecision for a precision not offered.
    """

    def __init__(
        self, folder: Path, precision: str = AUTO, threads: int | None = None, manifest: Manifest | None = None
    ) -> None:
        self.folder = folder
        self.manifest = manifest or read_manifest(folder)
        self.threads = threads or available_cores()
        self.dimension, self.max_tokens = self.manifest.dimension, self.manifest.max_tokens
        self.precision, self.precision_reason = choose_precision(
            precision, self.manifest, self._trial, Trials(folder, self.manifest, self.threads)
        )
        self._table = Table(folder, self.precision)
        self._session = _session(folder / f"{self.precision}.onnx", self.threads)

    def embed(self, batch: Sequence[Text]) -> np.ndarray:
        """Vectors (texts, dimension) in float32, for texts of 1 to `max_tokens` token ids.

        A text's vector does not depend on the texts beside it. Raises ValueError for a text of another length, and
        UnknownToken for one with an id outside the vocabulary.
        """
        return self.embed_with_lengths(batch)[0]

    def embed_with_lengths(self, batch: Sequence[Text]) -> tuple[np.ndarray, np.ndarray]:
        """The same, and the length (texts, 1) of each vector before the model normalised it; 1 where it does not."""
        self._check(batch)
        vectors = np.empty((len(batch), self.dimension), np.float32)
        lengths = np.empty((len(batch), 1), np.float32)
        for run in group_by_length([len(text) for text in batch]):
            vectors[run], lengths[run] = self._vectors(self._inputs([batch[i] for i in run]))
        return vectors, lengths

    def embed_spans(self, text: Text, spans: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """As `embed_with_lengths`, for spans of a text's tokens: read together, and each pooled apart by its mean.

        Late chunking: Günther et al. 2024, https://arxiv.org/abs/2409.04701.
        """
        self._check([text])
        weights = np.zeros((len(spans), len(text)), np.float32)
        for row, (begin, end) in zip(weights, spans, strict=True):
            row[begin:end] = 1 / (end - begin)
        return self._vectors(self._inputs([text]) | {"pooling_weights": weights})

    def embed_tokens(self, text: Text) -> np.ndarray:
        """The encoder's own vector of each token of a text, (tokens, hidden size) in float32. Raises as `embed`."""
        self._check([text])
        vectors: np.ndarray = self._session.run(["tokens"], self._inputs([text]))[0]
        return vectors

    def _trial(self, precision: str) -> float:
        """The median seconds of a short query through one layer, measured for a fraction of a second."""
        session, table = _session(self.folder / f"{precision}.trial.onnx", self.threads), Table(self.folder, precision)
        text = np.random.default_rng(0).integers(0, table.vocabulary_size, TRIAL_TOKENS).tolist()

        def run() -> None:
            session.run(["vectors"], graph_inputs(session, [text], table, self.manifest.pooling))

        run()
        seconds: list[float] = []
        end = time.perf_counter() + TRIAL_SECONDS
        while not seconds or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        return median(seconds)

    def _inputs(self, texts: Sequence[Text]) -> dict[str, np.ndarray]:
        return graph_inputs(self._session, texts, self._table, self.manifest.pooling)

    def _vectors(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The graph's vectors and lengths, as prepare/build.py describes them; without normalisation a length is 1."""
        if self.manifest.normalizes:
            vectors, lengths = self._session.run(["vectors", "lengths"], inputs)
            return vectors, lengths
        (vectors,) = self._session.run(["vectors"], inputs)
        return vectors, np.ones((len(vectors), 1), np.float32)

    def _check(self, batch: Sequence[Text]) -> None:
        for i, text in enumerate(batch):
            if not 0 < len(text) <= self.max_tokens:
                raise ValueError(f"text {i} has {len(text)} tokens, not 1 to {self.max_tokens}")
        if unknown := [
            i for i, text in enumerate(batch) if not 0 <= min(text) <= max(text) < self._table.vocabulary_size
        ]:
            raise UnknownToken(unknown)


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
