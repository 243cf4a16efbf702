"""Prepared models beside the hub's cache: found there, or made once in a process of its own."""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from embedding.model.errors import ModelUnavailable, UnsupportedModel
from embedding.model.manifest import FORMAT, is_prepared

logger = logging.getLogger(__name__)

UNSUPPORTED = 3  # the exit status of embedding.model.prepare for a model it does not know


def prepared(source: Path, name: str) -> Path:
    """The prepared folder of the SentenceTransformer in `source`, made now if it isn't there yet.

    Making it needs torch, and gigabytes for minutes, so it happens in a process that ends; this one stays small.

    Raises UnsupportedModel where the model can't be prepared, and ModelUnavailable where that went wrong.
    """
    folder = _place(source, name)
    if is_prepared(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not is_prepared(folder):  # another process may have made it meanwhile
                _prepare(source, folder, name)
    except OSError as error:
        raise ModelUnavailable(f"{folder.parent} can't be written to ({error.strerror}). Set HF_HOME.") from None
    return folder


def _prepare(source: Path, folder: Path, name: str) -> None:
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    logger.info("preparing %s for the onnx engine, once; a large model takes minutes", name)
    command = [sys.executable, "-m", "embedding.model.prepare", str(source), str(folder), name]
    # The child ends when its standard input does, so it never outlives this process.
    # A session of its own, so that Ctrl-C here is not a failure there.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stderr is not None
        *_, reason = child.stderr.read().strip().splitlines() or [f"ended with status {child.wait()}"]
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


def _place(source: Path, name: str) -> Path:
    """A folder for what this very model makes: another version of it, of the format or of the runtime is another."""
    digest = hashlib.sha256(f"{FORMAT} {version('onnxruntime')}".encode())
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
