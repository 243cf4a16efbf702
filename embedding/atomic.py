"""Files and folders that are there whole or not at all, whatever ends the process that writes them.

Each is written beside its place under a name of its own, brought to the disk, and renamed. While it is written it is
locked, and a lock ends with its process: what has such a name and no lock was left by a killed run. Only that is ever
cleared. Needs a POSIX system (Linux, macOS).
"""

import ctypes
import errno
import fcntl
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

UNFINISHED, ASIDE = "tmp", "old"
LEFT_OVER = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{32}}\.(?P<kind>{UNFINISHED}|{ASIDE})")
HAS_FILES = (errno.ENOTEMPTY, errno.EEXIST)
WAIT = 0
CAN_NOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)

AT_THE_WORKING_FOLDER = {"linux": -100, "darwin": -2}  # AT_FDCWD
EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the name `path` once it is on the disk. On failure `path` is as it was.

    A link stays one: the file that it leads to is replaced. Raises OSError.
    """
    path = Path(os.path.realpath(path))
    file = _locked_file_beside(path)
    try:
        with file:
            with suppress(OSError):
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)  # as the file that it replaces, if there is one
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(file.name).unlink()
        raise
    sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path, may_replace: Callable[[], None]) -> Iterator[Path]:
    """A folder to put files in, which takes the place of the folder `path` once they are on the disk.

    At every moment `path` is the old folder or the new one (see `_exchange` for the file systems that can't do that).
    On failure it is as it was. `may_replace` raises where the folder that is there has to stay; it is asked before
    anything is written, and again before the replacing. Raises OSError.
    """
    may_replace()
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_unfinished(path.parent, re.compile(re.escape(path.name)))
    with _locked_folder_beside(path) as unfinished:
        yield unfinished
        with suppress(OSError):
            unfinished.chmod(path.stat().st_mode & 0o7777)  # as the folder that it replaces, if there is one
        for file in unfinished.iterdir():
            _sync(file)
        sync_folder(unfinished)
        _put_in_place(unfinished, path, may_replace)
        sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, under another name if possible, so that nobody finds half of it. Raises OSError."""
    unfinished = _beside(path, UNFINISHED)
    try:
        path.rename(unfinished)
    except OSError:
        shutil.rmtree(path)  # a container's file system can't rename a folder of its image
    else:
        shutil.rmtree(unfinished, ignore_errors=True)


def clear_unfinished(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what killed runs left of the files and folders of these `names`. What is being written stays."""
    for path in list(folder.iterdir()):
        if (left := LEFT_OVER.fullmatch(path.name)) and names.fullmatch(left["name"]):
            with suppress(OSError), _locked(path, os.O_NOFOLLOW) as abandoned:
                if abandoned and left["kind"] == ASIDE and not (folder / left["name"]).exists():
                    path.rename(folder / left["name"])  # killed between the two renames of `_exchange`
                elif abandoned and path.is_dir():
                    shutil.rmtree(path)
                elif abandoned:
                    path.unlink()


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system has a way to."""
    with suppress(PermissionError):
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CAN_NOT:
            raise
    finally:
        os.close(descriptor)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.{kind}")


def _lock(descriptor: int, wait: int) -> bool:
    """Whether this process has the lock now. Where the file system has no locks, it never has."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | wait)
    except OSError:
        return False
    return True


@contextmanager
def _locked(path: Path, flags: int = 0, wait: int = fcntl.LOCK_NB) -> Iterator[bool]:
    """Lock a file or folder that exists; whether that went well."""
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def _locked_file_beside(path: Path) -> BinaryIO:
    while True:
        file = _beside(path, UNFINISHED).open("xb")
        _lock(file.fileno(), WAIT)
        if Path(file.name).exists():  # or it was cleared before it was locked
            return file
        file.close()


@contextmanager
def _locked_folder_beside(path: Path) -> Iterator[Path]:
    """A new folder beside `path`. What has its name in the end is removed."""
    while True:
        folder = _beside(path, UNFINISHED)
        folder.mkdir()
        with ExitStack() as held:
            with suppress(FileNotFoundError):
                held.enter_context(_locked(folder, wait=WAIT))
            if folder.exists():
                try:
                    yield folder
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                return


def _put_in_place(new: Path, path: Path, may_replace: Callable[[], None]) -> None:
    """Rename the folder `new` to `path`; what was there is then at `new`."""
    while True:
        try:
            new.rename(path)  # onto nothing, or onto an empty folder
        except OSError as error:
            if error.errno not in HAS_FILES:
                raise
        else:
            return
        with suppress(FileNotFoundError), _locked(path):
            there = _names(path)
            may_replace()
            _exchange(new, path)
            if _names(new) == there:
                return
            _exchange(new, path)  # somebody put a file there at the last moment: ask again


def _exchange(new: Path, path: Path) -> None:
    """Let two folders change names.

    Linux and macOS do it at once on their usual file systems. Others (network shares, some sandboxes) can't: for an
    instant there is nothing at `path`, and where a run is killed in it, the next one puts the old folder back.
    """
    if _exchange_at_once(new, path):
        return
    aside = _beside(path, ASIDE)
    path.rename(aside)
    try:
        new.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    aside.rename(new)


def _exchange_at_once(one: Path, other: Path) -> bool:
    """Whether the system could."""
    name = {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform, "")
    rename = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if rename is None:
        return False
    here = AT_THE_WORKING_FOLDER[sys.platform]
    if rename(here, os.fsencode(one), here, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in CAN_NOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
