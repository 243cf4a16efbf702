"""Writes the artifact: graphs, embedding table, tokenizer, manifest; whole or not at all."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from embedding.model.encoder import OnnxEncoder
from embedding.model.errors import ModelUnavailable, UnsupportedModel
from embedding.model.fetch.manifest import (
    FORMAT,
    MANIFEST,
    PRECISIONS,
    TOKENIZER,
    Fidelity,
    Manifest,
    is_prepared,
    sha256,
    write_manifest,
)
from embedding.model.matryoshka import matryoshka_dimensions
from embedding.model.prepare import fidelity
from embedding.model.prepare.build import build, dimension, encoder_of, first_layer
from embedding.model.prepare.calibrate import calibrate
from embedding.model.prepare.checkpoint import Checkpoint, read_checkpoint
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Float32, Int8
from embedding.model.progress import Report, to_nobody
from embedding.model.table import Table, write, write_quantized
from embedding.model.tokenizer import load_tokenizer

COMMIT = re.compile("[0-9a-f]{40}")  # what the hub's cache names a snapshot's folder by
TOOLS = ("onnx", "onnxruntime", "tokenizers", "numpy", "sentence-transformers", "transformers", "torch")


def print_progress(step: str, fraction: float | None) -> None:
    """A `Report` for a terminal: the next step, and the fraction of the time that is behind (0 to 1)."""
    print(f"preparing {fraction or 0:4.0%}: {step}", flush=True)


def prepare(
    source: Path,
    output: Path,
    *,
    source_id: str | None = None,
    revision: str | None = None,
    precision: str = "auto",
    report: Report = to_nobody,
) -> Manifest:
    """Prepares the SentenceTransformer in `source` as the folder `output`, replacing what a run before left there.

    `precision` int8 or float32 makes that alone, in less room; any other, both.

    Returns the manifest, which says of each precision how near its vectors are and whether it is offered. Raises
    UnsupportedModel where the model, or each of its precisions, isn't fit to be served so; OSError where the disk is
    full. Then, or when interrupted, `output` is as it was.
    """
    output = output.resolve()
    _refuse_to_replace(output, source.resolve())
    with _whole_or_nothing(output) as folder:
        commit = source.name if COMMIT.fullmatch(source.name) else revision
        try:
            model = read_checkpoint(source)
            encoder_of(model)
            wanted = [precision] if precision in PRECISIONS else PRECISIONS
            manifest = _write(folder, model, source_id or str(source), commit, wanted, report)
        except (KeyError, AttributeError, FileNotFoundError) as error:
            raise UnsupportedModel(f"the model lacks what the onnx engine looks for: {error!r}") from error
        manifest = _check(folder, manifest, source, wanted, report)
        write_manifest(manifest, folder)
    return manifest


def _refuse_to_replace(output: Path, source: Path) -> None:
    """Raise ModelUnavailable where `output` is something that is not ours to delete."""
    if source.is_relative_to(output):
        raise ModelUnavailable(f"{output} holds the model itself. Choose another --output.")
    if output.exists() and not is_prepared(output) and (not output.is_dir() or any(output.iterdir())):
        raise ModelUnavailable(f"{output} exists and is no prepared model. Choose another --output.")


@contextmanager
def _whole_or_nothing(output: Path) -> Iterator[Path]:
    """A folder beside `output` that takes its name on success and is removed on failure."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    folder.chmod(0o755)  # mkdtemp keeps it to its maker, and an image's user is another
    try:
        yield folder
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    folder: Path, model: Checkpoint, source_id: str, revision: str | None, wanted: Sequence[str], report: Report
) -> Manifest:
    """Writes all files but the manifest; float32 in any case, for int8 is calibrated on it."""
    report("tokenizer and float32", 0.0)
    shutil.copyfile(model.folder / TOKENIZER, folder / TOKENIZER)
    manifest = Manifest(
        format=FORMAT,
        source=source_id,
        revision=revision,
        dimension=dimension(model),
        matryoshka_dimensions=matryoshka_dimensions(model.config["model_type"], dimension(model)),
        max_tokens=model.max_tokens,
        lowercase=model.lowercase,
        pooling=model.pooling,
        prompts=dict(model.prompts),
        fidelity={},
        tools={tool: version(tool) for tool in TOOLS},
        files={},
    )
    graph = Graph()
    plain = Float32(graph)
    build(folder / "float32.onnx", model, graph, plain)
    graph = Graph()
    build(folder / "float32.trial.onnx", first_layer(model), graph, Float32(graph))
    table = encoder_of(model).embedding_table(model)
    write(folder, "float32", table)
    if "int8" in wanted:
        write_quantized(folder, "int8", table)
        del table
        _write_int8(folder, model, manifest, plain.inputs, report)
    return manifest


def _write_int8(folder: Path, model: Checkpoint, manifest: Manifest, inputs: Mapping[str, str], report: Report) -> None:
    report("int8: calibration", 0.1)
    tokens = load_tokenizer(folder, manifest).tokenize(fidelity.sentences()[0], "query", prompt="")
    seen = calibrate(folder / "float32.onnx", inputs, Table(folder, "float32"), [text.ids for text in tokens])
    report("int8: quantization", 0.2)
    graph = Graph()
    whole = Int8(graph, seen)
    build(folder / "int8.onnx", model, graph, whole)
    graph = Graph()
    build(folder / "int8.trial.onnx", first_layer(model), graph, Int8(graph, seen))
    report(f"int8: {len(whole.fine)} of {len(seen)} linear layers need 16-bit inputs", 0.6)


def _check(folder: Path, manifest: Manifest, source: Path, wanted: Sequence[str], report: Report) -> Manifest:
    """Compares each precision with the reference; keeps the files of those offered."""
    texts = fidelity.sentences()[1]
    report(f"reference: {len(texts)} sentences by SentenceTransformer", 0.6)
    expected = fidelity.reference(source, texts)
    reports: dict[str, Fidelity] = {}
    for precision in wanted:
        trial = replace(manifest, fidelity={precision: Fidelity(1, 1, 1, 1, 0, offered=True)})
        reports[precision] = fidelity.check(OnnxEncoder(folder, precision, manifest=trial), texts, expected)
        report(f"{precision}: {_summary(reports[precision])}", 0.9)
    kept = [precision for precision in wanted if reports[precision].offered]
    if not kept:
        raise UnsupportedModel("; ".join(f"{precision}: {found.reason}" for precision, found in reports.items()))
    for path in folder.iterdir():
        precision, _, part = path.name.partition(".")
        if precision in PRECISIONS and (precision not in kept or (len(kept) == 1 and part.startswith("trial."))):
            path.unlink()
    files = {path.name: _settled(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    return replace(manifest, fidelity=reports, files=files)


def _settled(path: Path) -> str:
    """The file's digest, once the file is on the disk: the manifest, which vouches for it, is written after."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return sha256(path)


def _summary(report: Fidelity) -> str:
    numbers = f"cosine mean {report.mean:.5f}, 1% {report.p1:.5f}, least {report.minimum:.5f}"
    verdict = "" if report.offered else f"; not offered: {report.reason}"
    return f"{numbers}, neighbours {report.neighbours:.0%}{verdict}"
