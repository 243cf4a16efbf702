"""Writes the artifact: graphs, embedding table, tokenizer, manifest; whole or not at all."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from embedding.atomic import whole_folder
from embedding.model.engine import Task
from embedding.model.errors import InvalidArtifact, ModelUnavailable, UnsupportedModel
from embedding.model.fetch.content import content_digest, snapshot_commit
from embedding.model.fetch.manifest import (
    CALIBRATION,
    FORMAT,
    MANIFEST,
    MEND,
    PRECISIONS,
    TOKENIZER,
    Fidelity,
    Manifest,
    describe_file,
    is_prepared,
    prepared_files,
    write_manifest,
)
from embedding.model.fetch.recordings import find_recording
from embedding.model.matryoshka import matryoshka_dimensions
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.prepare import fidelity
from embedding.model.prepare.build import build, dimension, encoder_of, first_layer
from embedding.model.prepare.calibrate import calibrate
from embedding.model.prepare.checkpoint import Checkpoint
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.linear import Float32, Int8
from embedding.model.prepare.original import LoadedModel, Original, TaskText
from embedding.model.prepare.recorded import RecordedModel
from embedding.model.prepare.tokens import check_tokens, text_of
from embedding.model.progress import Report, to_nobody
from embedding.model.table import Table, write, write_quantized
from embedding.model.tokenizer import Tokenizer, load_tokenizers

# Tokens of the longest text that is compared: more take the reference minutes, and more memory than there may be.
LONG_TEXT = 2048


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
    original: Original | None = None,
) -> Manifest:
    """Prepares the SentenceTransformer in `source` as the folder `output`.

    Replaces, at once, a whole prepared model that was there; anything else is left alone, with ModelUnavailable.

    `precision` int8 or float32 makes that alone, in less room; any other, both. `original` is asked in place of what
    SentenceTransformer loads, or of a recording.

    Returns the manifest, which says of each precision how near its vectors are and whether it is offered. Raises
    UnsupportedModel where the model, or each of its precisions, isn't fit to be served so; OSError where the disk is
    full. Then, or when interrupted, `output` is as it was.
    """
    output = output.parent.resolve() / output.name
    with whole_folder(output, partial(refuse_to_replace, output, source)) as folder:
        commit = snapshot_commit(source) or revision
        wanted = [precision] if precision in PRECISIONS else PRECISIONS
        report("loading the model", 0.0)
        if is_prepared(source):
            raise ModelUnavailable(f"{source} is prepared already. Name the model that it was made of.")
        content = content_digest(source)
        original = original or _open(source, content)
        try:
            checkpoint = original.checkpoint
            manifest = _write_tokenizer(folder, original, source_id or str(source), commit, content)
            tokenizers = load_tokenizers(folder, manifest)
            check_tokens(original, tokenizers)
            _write_graphs(folder, checkpoint, tokenizers, wanted, report)
        except (KeyError, AttributeError) as error:
            raise UnsupportedModel(f"the model lacks what the onnx engine looks for: {error!r}") from error
        texts = fidelity.alternating(fidelity.sentences()[1]) + _long_texts(tokenizers)
        report(f"reference: {len(texts)} texts by SentenceTransformer", 0.6)
        expected = original.vectors(texts)
        np.save(folder / CALIBRATION, expected)
        manifest = _check(folder, manifest, texts, expected, wanted, report)
        if content_digest(source) != content:
            raise ModelUnavailable(f"{source} changed while it was prepared. Try again once it is whole.")
        write_manifest(manifest, folder)
    return manifest


def _open(source: Path, content: str) -> Original:
    recording = find_recording(content)
    return RecordedModel(source, recording) if recording else LoadedModel(source)


def _long_texts(tokenizers: Mapping[Task, Tokenizer]) -> list[TaskText]:
    """A text longer than the model reads, for each limit; of a model that reads books, a long text."""
    texts: dict[int, TaskText] = {}
    for task, tokenizer in tokenizers.items():
        limit = tokenizer.max_tokens or 0
        texts[limit] = task, text_of(tokenizer, int(1.5 * limit) if limit <= LONG_TEXT else LONG_TEXT)
    return list(texts.values())


def refuse_to_replace(output: Path, source: Path | None = None) -> None:
    """Raise ModelUnavailable unless `output` is free, an empty folder, or a whole prepared model and nothing else.

    The prepared model may be of an older format. One of a newer format is not replaced: this version can't read it.
    """
    another = "Choose another --output"
    if output.is_symlink():
        raise ModelUnavailable(f"{output} is a link. {another}, or name the folder that it leads to.")
    if not output.exists():
        return
    if not output.is_dir():
        raise ModelUnavailable(f"{output} exists and is no folder. {another}.")
    if source is not None and any(output.samefile(path) for path in (source.resolve(), *source.resolve().parents)):
        raise ModelUnavailable(f"{output} holds the model itself. {another}.")
    if output.is_mount():
        raise ModelUnavailable(f"{output} is where a disk is mounted, which nothing can replace. {another}, inside it.")
    there = {path.name for path in output.iterdir()} - {".DS_Store"}  # which macOS puts into any folder
    if not there:
        return
    try:
        ours = prepared_files(output)
    except InvalidArtifact as error:
        reason = str(error).removesuffix(MEND).strip()
        raise ModelUnavailable(f"{output} is not replaced: {reason} {another}, or move that folder away.") from None
    if foreign := sorted(there - ours):
        held = ", ".join(foreign[:5])
        raise ModelUnavailable(f"{output} is not replaced: it also holds {held}. {another}, or move them away.")


def _write_tokenizer(folder: Path, original: Original, source_id: str, revision: str | None, content: str) -> Manifest:
    """Writes the tokenizer as the model has it once loaded, and returns the manifest."""
    checkpoint = original.checkpoint
    backend = deepcopy(checkpoint.backend_tokenizer)
    backend.no_truncation()
    backend.no_padding()
    backend.save(str(folder / TOKENIZER), pretty=False)
    return Manifest(
        format=FORMAT,
        source=source_id,
        revision=revision,
        content=content,
        dimension=dimension(checkpoint),
        matryoshka_dimensions=matryoshka_dimensions(checkpoint.config.model_type, dimension(checkpoint)),
        tokenizer=checkpoint.tokenizer,
        pooling=checkpoint.pooling,
        normalizes=checkpoint.normalize and not checkpoint.truncate_dim,
        prompts={name: prompt or "" for name, prompt in checkpoint.prompts.items()},
        fidelity={},
        tools=original.tools,
        files={},
    )


def _write_graphs(
    folder: Path, checkpoint: Checkpoint, tokenizers: Mapping[Task, Tokenizer], wanted: Sequence[str], report: Report
) -> None:
    """Writes graphs and tables; float32 in any case, for int8 is calibrated on it."""
    report("float32", 0.05)
    graph = Graph()
    layers = Float32(graph)
    build(folder / "float32.onnx", checkpoint, graph, layers)
    inputs = layers.inputs
    graph = Graph()
    layers = Float32(graph)  # lets go of the first graph's weights
    build(folder / "float32.trial.onnx", first_layer(checkpoint), graph, layers)
    table = encoder_of(checkpoint).embedding_table(checkpoint)
    write(folder, "float32", table)
    if "int8" in wanted:
        write_quantized(folder, "int8", table)
        del table
        _write_int8(folder, checkpoint, tokenizers, inputs, report)


def _write_int8(
    folder: Path,
    checkpoint: Checkpoint,
    tokenizers: Mapping[Task, Tokenizer],
    inputs: Mapping[str, str],
    report: Report,
) -> None:
    report("int8: calibration", 0.1)
    tokens = [tokenizers[task].tokenize([text])[0] for task, text in fidelity.calibration_texts()]
    ids = [text.ids for text in tokens if text.ids]
    seen = calibrate(folder / "float32.onnx", inputs, Table(folder, "float32"), ids)
    report("int8: quantization", 0.2)
    graph = Graph()
    whole = Int8(graph, seen)
    build(folder / "int8.onnx", checkpoint, graph, whole)
    graph = Graph()
    build(folder / "int8.trial.onnx", first_layer(checkpoint), graph, Int8(graph, seen))
    report(f"int8: {len(whole.sites_in_16_bits)} of {len(seen)} linear layers need 16-bit inputs", 0.6)


def _check(
    folder: Path,
    manifest: Manifest,
    texts: Sequence[TaskText],
    expected: np.ndarray,
    wanted: Sequence[str],
    report: Report,
) -> Manifest:
    """Compares each precision with the expected vectors; keeps the files of those offered."""
    reports: dict[str, Fidelity] = {}
    for precision in wanted:
        trial = replace(manifest, fidelity={precision: Fidelity(1, 1, 1, 1, 0, offered=True)})
        reports[precision] = fidelity.check(OnnxEngine(folder, precision, manifest=trial), texts, expected)
        report(f"{precision}: {_summary(reports[precision])}", 0.9)
    kept = [precision for precision in wanted if reports[precision].offered]
    if not kept:
        raise UnsupportedModel("; ".join(f"{precision}: {found.reason}" for precision, found in reports.items()))
    for path in folder.iterdir():
        precision, _, part = path.name.partition(".")
        if precision in PRECISIONS and (precision not in kept or (len(kept) == 1 and part.startswith("trial."))):
            path.unlink()
    files = {path.name: describe_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    return replace(manifest, fidelity=reports, files=files)


def _summary(report: Fidelity) -> str:
    numbers = f"cosine mean {report.mean:.5f}, 1% {report.p1:.5f}, least {report.minimum:.5f}"
    verdict = "" if report.offered else f"; not offered: {report.reason}"
    return f"{numbers}, neighbours {report.neighbours:.0%}{verdict}"
