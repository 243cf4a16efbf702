"""Prepared models beside the hub's cache: found there, or made once in a process of its own."""

import hashlib
import logging
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from embedding.atomic import remove_folder, whole_file
from embedding.model.errors import InvalidArtifact, ModelUnavailable, UnsupportedModel
from embedding.model.fetch.cache import cache_folder
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.manifest import FORMAT, PRECISIONS, read_manifest
from embedding.model.progress import Report, to_nobody

logger = logging.getLogger(__name__)

UNSUPPORTED = 3  # the exit status of embedding.model.prepare for a model it does not know
SAID = re.compile(r"preparing +(\d+)%: (.*)")  # a line of its progress
REFUSED = ".refused"  # beside a folder's place: why the model can't be prepared there


def find_or_prepare(
    source: Path, name: str, revision: str = "main", precision: str = "auto", report: Report = to_nobody
) -> Path:
    """The prepared folder of the SentenceTransformer in `source`, made now if it isn't there yet.

    A folder that has `precision` int8 or float32 alone is enough where that is wanted. Preparing needs torch, and
    gigabytes for minutes, so it happens in a process that ends; this one stays small. `find_prepared` then finds the
    folder by `name` and `revision`.

    Raises UnsupportedModel where the model can't be prepared, at once where that is known from an earlier try, and
    ModelUnavailable where preparing went wrong.
    """
    for kind in _kinds(precision):
        folder = _prepared_path(source, name, kind)
        if _is_whole(folder):
            with suppress(OSError):  # a cache that is only read is as good
                _write_ref(folder, name, revision, kind)
            return folder
    if reason := _remembered_refusal(folder):
        raise UnsupportedModel(reason)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not _is_whole(folder):  # another process may have made it meanwhile
                if folder.exists():
                    logger.warning("%s is damaged, and is prepared again", folder)
                    remove_folder(folder)
                _prepare(source, folder, name, kind, report)
            _write_ref(folder, name, revision, kind)
    except UnsupportedModel as refusal:
        _remember_refusal(folder, str(refusal))
        raise
    except OSError as error:
        raise ModelUnavailable(f"{folder.parent} can't be written to ({error.strerror}). Set HF_HOME.") from None
    return folder


def find_prepared(name: str, revision: str = "main", precision: str = "auto") -> Path | None:
    """A folder that `find_or_prepare` made for the hub's model of this name, for when its weights are there no more.

    `precision` auto is content with any.
    """
    for kind in _kinds(precision) if precision in PRECISIONS else ["auto", *PRECISIONS]:
        try:
            folder = cache_folder() / _ref_path(name, revision, kind).read_text()
        except OSError:
            continue
        if _is_whole(folder):
            return folder
    return None


def _kinds(precision: str) -> list[str]:
    """The kinds of folder that have `precision`, the one to make for it last."""
    return ["auto", precision] if precision in PRECISIONS else ["auto"]


def _write_ref(folder: Path, name: str, revision: str, kind: str) -> None:
    entry = _ref_path(name, revision, kind)
    if not entry.exists() or entry.read_text() != folder.name:  # a branch moves
        entry.write_text(folder.name)


def _ref_path(name: str, revision: str, precision: str) -> Path:
    """The file that names the folder of a model and revision: what the hub's cache calls a ref."""
    digest = hashlib.sha256("\0".join((_version(), name, revision, precision)).encode()).hexdigest()
    return cache_folder() / f"{digest[:32]}.ref"


def _prepare(source: Path, folder: Path, name: str, precision: str, report: Report) -> None:
    logger.info("preparing %s for the onnx engine, once; a large model takes minutes", name)
    command = [sys.executable, "-m", "embedding.model.prepare", str(source), str(folder), name, precision]
    # The child ends when its standard input does, so it never outlives this process.
    # A session of its own, so that Ctrl-C here is not a failure there.
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            if said := SAID.fullmatch(line.strip()):
                report(f"preparing the model: {said[2]}", int(said[1]) / 100)
        child.wait()
        errors.seek(0)
        *_, reason = errors.read().strip().splitlines() or [f"ended with status {child.returncode}"]
    if child.returncode < 0:
        reason = (
            f"it was killed (signal {-child.returncode}), perhaps for want of memory; a larger machine can prepare it"
        )
    if child.returncode == UNSUPPORTED:
        raise UnsupportedModel(f"{name} can't be prepared for the onnx engine: {reason}.")
    if child.returncode:
        raise ModelUnavailable(f"{name} could not be prepared in {folder.parent}: {reason}.")


def _version() -> str:
    return f"{FORMAT} {version('onnxruntime')}"


def _prepared_path(source: Path, name: str, precision: str) -> Path:
    """The folder for what this very model makes: other files, another format or another runtime have another.

    Raises ModelUnavailable where the model can't be read.
    """
    digest = hashlib.sha256(f"{_version()} {precision} {content_digest(source)}".encode()).hexdigest()
    label = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[-80:].strip("-.")
    return cache_folder() / f"{label}-{digest[:16]}"


def _is_whole(folder: Path) -> bool:
    """Whether the cache has the prepared model, with all of its files in their sizes."""
    try:
        read_manifest(folder)
    except InvalidArtifact:
        return False
    return True


def _remembered_refusal(folder: Path) -> str | None:
    try:
        return folder.with_name(f"{folder.name}{REFUSED}").read_text("utf-8")
    except OSError:
        return None


def _remember_refusal(folder: Path, reason: str) -> None:
    with suppress(OSError), whole_file(folder.with_name(f"{folder.name}{REFUSED}")) as file:
        file.write(reason.encode())
