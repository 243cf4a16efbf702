"""Files that are there whole or not at all, and a folder that one job has to itself."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from embedding.corpus.errors import CorpusError

UNFINISHED = ".tmp"


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the name `path` once it is on the disk. Raises CorpusError where it can't be."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    try:
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
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
    """Make `folder`, and keep other processes of this machine from running a job into it.

    Raises CorpusError where one does, or the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"another process is writing to {folder}. Wait until it ends.") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def clear_unfinished(folder: Path) -> None:
    """Remove what a killed run left half written."""
    for path in folder.glob(f".*{UNFINISHED}"):
        with suppress(FileNotFoundError):
            path.unlink()
