"""Prepared models beside the hub's cache: found there, or made once in a process of its own."""

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from embedding.model.errors import ModelUnavailable, UnsupportedModel
from embedding.model.fetch.manifest import FORMAT, PRECISIONS, is_prepared
from embedding.model.progress import Report, to_nobody

logger = logging.getLogger(__name__)

UNSUPPORTED = 3  # the exit status of embedding.model.prepare for a model it does not know
SAID = re.compile(r"preparing +(\d+)%: (.*)")  # a line of its progress


def find_or_prepare(
    source: Path, name: str, revision: str = "main", precision: str = "auto", report: Report = to_nobody
) -> Path:
    """The prepared folder of the SentenceTransformer in `source`, made now if it isn't there yet.

    `precision` int8 or float32 is content with a folder of that alone. Making it needs torch, and gigabytes for
    minutes, so it happens in a process that ends; this one stays small. The folder is then found again by `name` and
    `revision`.

    Raises UnsupportedModel where the model can't be prepared, and ModelUnavailable where that went wrong.
    """
    for kind in _kinds(precision):
        if is_prepared(folder := _place(source, name, kind)):
            with suppress(OSError):  # a cache that is only read is as good
                _name(folder, name, revision, kind)
            return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not is_prepared(folder):  # another process may have made it meanwhile
                _prepare(source, folder, name, kind, report)
            _name(folder, name, revision, kind)
    except OSError as error:
        raise ModelUnavailable(f"{folder.parent} can't be written to ({error.strerror}). Set HF_HOME.") from None
    return folder


def find_prepared(name: str, revision: str = "main", precision: str = "auto") -> Path | None:
    """A folder that `find_or_prepare` made for the hub's model of this name, for when its weights are there no more.

    `precision` auto is content with any.
    """
    for kind in _kinds(precision) if precision in PRECISIONS else ["auto", *PRECISIONS]:
        try:
            folder = cache_folder() / _entry(name, revision, kind).read_text()
        except OSError:
            continue
        if is_prepared(folder):
            return folder
    return None


def _kinds(precision: str) -> list[str]:
    """The kinds of folder that have `precision`, the one to make for it last."""
    return ["auto", precision] if precision in PRECISIONS else ["auto"]


def _name(folder: Path, name: str, revision: str, kind: str) -> None:
    entry = _entry(name, revision, kind)
    if not entry.exists() or entry.read_text() != folder.name:  # a branch moves
        entry.write_text(folder.name)


def _entry(name: str, revision: str, precision: str) -> Path:
    """The file that names the folder of a model and revision: what the hub's cache calls a ref."""
    digest = hashlib.sha256("\0".join((_version(), name, revision, precision)).encode()).hexdigest()
    return cache_folder() / f"{digest[:32]}.ref"


def _prepare(source: Path, folder: Path, name: str, precision: str, report: Report) -> None:
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
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


def cache_folder() -> Path:
    """Where prepared models are kept: beside the hub's cache, where HF_HOME puts it."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HOME") or default).expanduser() / "embedding"


def _version() -> str:
    return f"{FORMAT} {version('onnxruntime')}"


def _place(source: Path, name: str, precision: str) -> Path:
    """A folder for what this very model makes: another version of it, of the format or of the runtime is another."""
    digest = hashlib.sha256(f"{_version()} {precision}".encode())
    for path in sorted(
        path for path in source.rglob("*") if path.suffix in (".json", ".safetensors") and path.is_file()
    ):
        digest.update(f"{path.relative_to(source).as_posix()} {_identity(path)}\n".encode())
    label = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[-80:].strip("-.")
    return cache_folder() / f"{label}-{digest.hexdigest()[:16]}"


def _identity(path: Path) -> str:
    """What changes with a file's content: in the hub's cache the name of the blob it links to, else size and date."""
    if path.is_symlink():
        return path.readlink().name
    status = path.stat()
    return f"{status.st_size} {int(status.st_mtime)}"  # whole seconds: an image's layers keep no more
