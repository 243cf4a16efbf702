"""Files and folders are there whole or not at all, and nothing of anybody else's is touched."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedding import atomic
from tests.cli import ROOT

ANY = re.compile(".+")
TOKEN = "0123456789abcdef" * 2


def free() -> None:
    """Anything may be replaced."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str) -> None:
    with atomic.whole_file(path) as file:
        file.write(text.encode())


def fill(folder: Path, text: str) -> None:
    with atomic.whole_folder(folder, free) as unfinished:
        (unfinished / "a").write_text(text)
        (unfinished / "b").write_text(text)


@pytest.fixture(params=["at once", "in two steps"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that can let two folders change names, and one that can't."""
    if request.param == "in two steps":
        monkeypatch.setattr(atomic, "_exchange_at_once", lambda *_: False)
    return


def test_a_file_is_replaced_and_a_link_to_it_stays_one(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")
    (tmp_path / "link").symlink_to("file")

    write(tmp_path / "link", "new")

    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path) == {"file": b"new", "link": b"new"}


def test_a_file_that_could_not_be_written_is_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")

    def fail() -> None:
        with atomic.whole_file(tmp_path / "file") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert contents(tmp_path) == {"file": b"old"}


def test_files_and_folders_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file", "x")
        fill(tmp_path / "folder", "x")
    finally:
        os.umask(before)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_full_disk_leaves_the_old_file_and_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")
    fill(tmp_path / "folder", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path / "file", "x" * 10_000)
        with pytest.raises(OSError, match="File too large"):
            fill(tmp_path / "folder", "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert contents(tmp_path) == {"file": b"old", "folder/a": b"old", "folder/b": b"old"}


@pytest.mark.usefixtures("exchange")
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for number in range(3):
        with atomic.whole_folder(folder, free) as unfinished:
            (unfinished / "a").write_text(str(number))
            assert number == 0 or (folder / "a").read_text() == str(number - 1)

        assert (folder / "a").read_text() == str(number)
        assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("exchange")
def test_a_folder_keeps_its_rights_when_it_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o2770)
    fill(folder, "old")

    fill(folder, "new")

    assert folder.stat().st_mode & 0o7777 == 0o2770


@pytest.mark.usefixtures("exchange")
def test_a_file_that_comes_at_the_last_moment_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")

    def only_the_old() -> None:
        if (folder / "mine").exists():
            raise PermissionError("mine")

    def replace() -> None:
        with atomic.whole_folder(folder, only_the_old) as unfinished:
            (unfinished / "new").write_text("new")
            (folder / "mine").write_text("mine")

    with pytest.raises(PermissionError):
        replace()

    assert contents(tmp_path) == {"folder/old": b"old", "folder/mine": b"mine"}


@pytest.mark.usefixtures("exchange")
def test_a_file_that_comes_after_the_last_question_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder, "old")

    def put_a_file_once_asked() -> None:
        if (folder / "mine").exists():
            raise PermissionError("mine")
        if any(path.name == "new" for path in tmp_path.rglob("new")):
            (folder / "mine").write_text("mine")

    with pytest.raises(PermissionError), atomic.whole_folder(folder, put_a_file_once_asked) as unfinished:
        (unfinished / "new").write_text("new")

    assert contents(tmp_path) == {"folder/a": b"old", "folder/b": b"old", "folder/mine": b"mine"}


@pytest.mark.usefixtures("exchange")
def test_two_that_write_one_folder_at_once_both_come_through(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    fill(folder, "old")

    with atomic.whole_folder(folder, free) as first, atomic.whole_folder(folder, free) as second:
        (first / "a").write_text("first")
        (second / "a").write_text("second")

    assert contents(tmp_path) == {"folder/a": b"first"}


KILLED = """
import os, signal, sys
from pathlib import Path
from embedding import atomic

calls = 0

def killing(call, *given):
    global calls
    calls += 1
    if calls == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*given)

for name in ("fsync", "rename", "mkdir", "unlink", "rmdir"):
    setattr(os, name, lambda *given, call=getattr(os, name), **options: killing(lambda *g: call(*g, **options), *given))
at_once = atomic._exchange_at_once
atomic._exchange_at_once = lambda *given: killing(at_once, *given) if {can_exchange} else False

with atomic.whole_folder(Path({folder!r}), lambda: None) as unfinished:
    for name in "ab":
        (unfinished / name).write_text("new")
"""


@pytest.mark.parametrize("can_exchange", [True, False])
def test_killed_at_any_step_it_leaves_the_old_folder_or_the_new_one(tmp_path: Path, can_exchange: bool) -> None:
    folder = tmp_path / "folder"
    old, new = (dict.fromkeys(("folder/a", "folder/b"), text) for text in (b"old", b"new"))
    found, gone, number, status = [], 0, 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        number += 1
        fill(folder, "old")  # clears what the run before left, or puts it back
        assert contents(tmp_path) == old
        code = KILLED.format(number=number, folder=str(folder), can_exchange=can_exchange)
        status = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode
        if not folder.exists():
            gone += 1
            atomic.clear_unfinished(tmp_path, ANY)
        found.append({name: text for name, text in contents(tmp_path).items() if name.startswith("folder/")})

    assert status == 0
    assert number > 8
    assert gone == (0 if can_exchange else 1)
    assert all(each in (old, new) for each in found)
    assert old in found
    assert new in found


def test_only_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    users = [".folder.tmp", ".folder.backup", ".folder.1.tmp", f"folder.{TOKEN}.tmp", f".folder.{TOKEN}", ".notes.tmp"]
    for name in [*users, f".folder.{TOKEN}.tmp", f".other.{TOKEN}.tmp"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("x")

    atomic.clear_unfinished(tmp_path, re.compile("folder"))

    assert {path.name for path in tmp_path.iterdir()} == {*users, f".other.{TOKEN}.tmp"}


def test_what_is_being_written_is_not_cleared(tmp_path: Path) -> None:
    with atomic.whole_file(tmp_path / "file") as file, atomic.whole_folder(tmp_path / "folder", free) as folder:
        atomic.clear_unfinished(tmp_path, ANY)

        assert Path(file.name).exists()
        assert folder.exists()
