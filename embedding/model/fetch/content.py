"""What tells a model from every other: a digest of all its files' contents.

Dates and sizes don't: an editor, rsync or a link that leads elsewhere can leave them as they were. So each file is
read, once: its digest is remembered with what its file system changes whenever it changes (ctime, which no program can
set), and asked for again only when that differs. In the hub's cache a file's name is a digest already.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from embedding.atomic import whole_file
from embedding.model.errors import ModelUnavailable
from embedding.model.fetch.cache import cache_folder
from embedding.model.fetch.manifest import sha256
from embedding.model.fetch.weights import NEEDED, UNNEEDED

COMMIT = re.compile("[0-9a-f]{40}")
BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
# A file that changed so lately may change again within the tick of its file system's clock.
SETTLED_NS = 2_000_000_000

Stamp = list[int]
"""Size, modification time, change time (both in nanoseconds) and inode of a file."""


def snapshot_commit(folder: Path) -> str | None:
    """The commit of a snapshot, by which the hub's cache names its folder; None for a folder of the user's."""
    return folder.name if COMMIT.fullmatch(folder.name) else None


def content_digest(folder: Path) -> str:
    """A digest of the model's files and their names, in hexadecimal. Raises ModelUnavailable where one can't be read.

    Files are those that are fetched of a model, in all folders that are not hidden; links are followed.
    """
    memory = cache_folder() / f"{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]}.digests"
    known, seen, digests = _recall(memory), dict[str, tuple[Stamp, str]](), dict[str, str]()
    try:
        for path in model_files(folder):
            name = path.relative_to(folder).as_posix()
            digests[name] = _blob(path) or _digest(path, known.get(name), name, seen)
    except OSError as error:
        raise ModelUnavailable(f"{error.filename or folder} can't be read: {error.strerror}.") from None
    if seen != known:
        with suppress(OSError):  # a cache that is only read: the files are read again next time
            memory.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(memory) as file:
                file.write(json.dumps(seen).encode())
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def model_files(folder: Path) -> Iterator[Path]:
    """All files of a model."""
    inside = set[tuple[int, int]]()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in inside:  # a link to a folder that it is in
            folders.clear()
            continue
        inside.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(names)):
            name = path.relative_to(folder).as_posix()
            needed = any(fnmatch(name, pattern) for pattern in NEEDED)
            if needed and not any(fnmatch(name, pattern) for pattern in UNNEEDED) and path.is_file():
                yield path


def _blob(path: Path) -> str | None:
    """The name of the blob that a file of the hub's cache is a link to: a digest of its content, made by the hub."""
    if not path.is_symlink():
        return None
    target = Path(os.path.realpath(path))
    in_cache = target.parent.name == "blobs" and (target.parent.parent / "snapshots").is_dir()
    return target.name if in_cache and BLOB.fullmatch(target.name) else None


def _digest(path: Path, known: tuple[Stamp, str] | None, name: str, seen: dict[str, tuple[Stamp, str]]) -> str:
    """The digest of a file, read where it is not as `known`; put into `seen` where it may be known from now on."""
    stamp = _stamp(path)
    digest = known[1] if known and known[0] == stamp else sha256(path)
    if stamp == _stamp(path) and time.time_ns() - stamp[2] > SETTLED_NS:
        seen[name] = (stamp, digest)
    return digest


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _recall(memory: Path) -> Mapping[str, tuple[Stamp, str]]:
    try:
        return {name: (stamp, digest) for name, (stamp, digest) in json.loads(memory.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
