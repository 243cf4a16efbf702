"""Prepared models beside the hub's cache: found there, or made once in a process of its own."""

import hashlib
import json
import logging
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from embedding.atomic import clear_unfinished, remove_folder, whole_file
from embedding.model.errors import InvalidArtifact, ModelUnavailable, UnsupportedModel
from embedding.model.fetch.cache import cache_folder
from embedding.model.fetch.content import content_digest, snapshot_commit
from embedding.model.fetch.manifest import FORMAT, MEND, PRECISIONS, TOOLS
from embedding.model.fetch.resolved import ResolvedModel
from embedding.model.progress import Report, to_nobody

logger = logging.getLogger(__name__)

UNSUPPORTED = 3  # the exit status of embedding.model.prepare for a model it does not know
PROGRESS_LINE = re.compile(r"preparing +(\d+)%: (.*)")  # a line of its progress
ANY_NAME = re.compile(".+")


def find_or_prepare(
    source: Path, name: str, revision: str = "main", precision: str = "auto", report: Report = to_nobody
) -> ResolvedModel:
    """The prepared model of the SentenceTransformer in `source`, made now if it isn't there yet.

    A folder that has `precision` int8 or float32 alone is enough where that is wanted. Preparing may need torch, and
    gigabytes for minutes, so it happens in a process that ends; this one stays small. `find_prepared` then finds the
    folder by `name` and `revision`.

    Raises UnsupportedModel where the model can't be prepared, at once where that is known from an earlier try, and
    ModelUnavailable where preparing went wrong.
    """
    content = content_digest(source)
    for kind in _kinds(precision):
        folder = _prepared_path(content, name, kind)
        with suppress(InvalidArtifact):
            made = _find(folder, name, revision, content)
            with suppress(OSError):  # a cache that is only read is as good
                _write_ref(source, folder, name, revision, kind)
            return made
    if reason := _remembered_refusal(folder):
        raise UnsupportedModel(reason)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not _was_made_meanwhile(folder, content):
                _prepare(source, folder, name, kind, report)
            made = _find(folder, name, revision, content)
            _write_ref(source, folder, name, revision, kind)
    except OSError as error:
        raise ModelUnavailable(f"{folder.parent} can't be written to ({error.strerror}). Set HF_HOME.") from None
    return made


def find_prepared(name: str, revision: str = "main", precision: str = "auto") -> ResolvedModel | None:
    """What `find_or_prepare` made of the hub's model of this name, for when its weights are there no more.

    `precision` auto is content with any. Raises InvalidArtifact where there is one, and it is damaged.
    """
    damaged = None
    for kind in _kinds(precision) if precision in PRECISIONS else ["auto", *PRECISIONS]:
        try:
            folder = cache_folder() / _ref_path(name, revision, kind).read_text("utf-8")
        except OSError:
            continue
        try:
            return ResolvedModel.prepared(name, revision, folder)
        except InvalidArtifact as error:
            damaged = error if folder.exists() else damaged
    if damaged:
        raise damaged
    return None


def _kinds(precision: str) -> list[str]:
    """The kinds of folder that have `precision`, the one to make for it last."""
    return ["auto", precision] if precision in PRECISIONS else ["auto"]


def _write_ref(source: Path, folder: Path, name: str, revision: str, kind: str) -> None:
    if not snapshot_commit(source):
        return  # a folder of the user's: elsewhere, its name may be that of a model of the hub
    entry = _ref_path(name, revision, kind)
    if not entry.exists() or entry.read_text("utf-8") != folder.name:  # a branch moves
        with whole_file(entry) as file:
            file.write(folder.name.encode())


def _ref_path(name: str, revision: str, precision: str) -> Path:
    """The file that names the folder of a model and revision: what the hub's cache calls a ref."""
    digest = hashlib.sha256("\0".join((_version(), name, revision, precision)).encode()).hexdigest()
    return cache_folder() / f"{digest[:32]}.ref"


def _find(folder: Path, name: str, revision: str, content: str) -> ResolvedModel:
    """The prepared model in a folder of the cache. Raises InvalidArtifact where it is not all that it has to be."""
    found = ResolvedModel.prepared(name, revision, folder)
    if found.manifest is None or found.manifest.content != content:
        raise InvalidArtifact(f"{folder} was prepared of files that changed meanwhile. {MEND}")
    return found


def _was_made_meanwhile(folder: Path, content: str) -> bool:
    """Whether another process made the folder while this one waited for it. A damaged one is removed."""
    try:
        _find(folder, "", "", content)
    except InvalidArtifact as error:
        if folder.exists():
            logger.warning("%sIt is prepared again.", str(error).removesuffix(MEND))
            remove_folder(folder)
        return False
    return True


def _prepare(source: Path, folder: Path, name: str, precision: str, report: Report) -> None:
    clear_unfinished(folder.parent, ANY_NAME)  # a model that has changed since a run was killed has another name
    try:
        _prepare_in_subprocess(source, folder, name, precision, report)
    except UnsupportedModel as refusal:
        _remember_refusal(folder, str(refusal))
        raise


def _prepare_in_subprocess(source: Path, folder: Path, name: str, precision: str, report: Report) -> None:
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
            if said := PROGRESS_LINE.fullmatch(line.strip()):
                report(f"preparing the model: {said[2]}", int(said[1]) / 100)
        child.wait()
        errors.seek(0)
        *_, reason = errors.read().strip().rstrip(".").splitlines() or [f"ended with status {child.returncode}"]
    if child.returncode < 0:
        reason = (
            f"it was killed (signal {-child.returncode}), perhaps for want of memory; a larger machine can prepare it"
        )
    if child.returncode == UNSUPPORTED:
        raise UnsupportedModel(f"{name} can't be prepared for the onnx engine: {reason}.")
    if child.returncode:
        raise ModelUnavailable(f"{name} could not be prepared in {folder.parent}: {reason}.")


def _version_of(tool: str) -> str | None:
    try:
        return version(tool)
    except PackageNotFoundError:  # as torch is where a model was recorded
        return None


def _version() -> str:
    return f"{FORMAT} {version('onnxruntime')}"


def _prepared_path(content: str, name: str, precision: str) -> Path:
    """The folder for what a model of this content makes: another format or another runtime have another."""
    digest = hashlib.sha256(f"{_version()} {precision} {content}".encode()).hexdigest()
    label = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[-80:].strip("-.")
    return cache_folder() / f"{label}-{digest[:16]}"


def _remembered_refusal(folder: Path) -> str | None:
    """Why this model can't be prepared, where this very program found that out."""
    try:
        refusal = json.loads(_refusal_path(folder).read_bytes())
        return str(refusal["reason"]) if refusal["by"] == _preparer() else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _remember_refusal(folder: Path, reason: str) -> None:
    with suppress(OSError), whole_file(_refusal_path(folder)) as file:
        file.write(json.dumps({"by": _preparer(), "reason": reason}).encode())


def _refusal_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.refused")


def _preparer() -> str:
    """A digest of all that decides whether a model can be prepared: this room's code, and the versions of its tools."""
    room = Path(__file__).parent.parent
    digest = hashlib.sha256(json.dumps([_version_of(tool) for tool in TOOLS]).encode())
    for path in sorted(path for path in room.rglob("*") if path.suffix in (".py", ".txt", ".json", ".npz")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
