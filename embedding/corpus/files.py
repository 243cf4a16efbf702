"""The files of a job's folder, with errors that say what to do, and a lock that gives the folder to one job."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from embedding import atomic
from embedding.corpus.errors import CorpusError


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the name `path` once it is on the disk. Raises CorpusError where it can't be."""
    try:
        with atomic.whole_file(path) as file:
            yield file
    except OSError as error:
        raise unwritable(path.parent, error) from None


def write_whole(path: Path, text: str) -> None:
    """Write `text`, unless that is what the file holds."""
    content = text.encode()
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    with whole(path) as file:
        file.write(content)


def unwritable(folder: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"{folder} can't be written to: {error.strerror or error}. The same command goes on once it can."
    )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from running a job into `folder`. Raises CorpusError where one does.

    The lock lies elsewhere: some file systems can't be brought up to date while a file of theirs is open.
    """
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    lock = FileLock(Path(tempfile.gettempdir()) / f"embedding-{digest}.lock", blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise CorpusError(f"another process is writing to {folder}. Wait until it ends.") from None
    except (OSError, NotImplementedError):
        pass  # a system without locks
    try:
        yield
    finally:
        lock.release()
