"""Finds the files of this machine: links are followed, and what this command wrote itself is left out."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from embedding.corpus.read.content import File, Reading
from embedding.corpus.read.found import ARCHIVE, LANCE, MAGIC, Disk, Found, readable, take_members
from embedding.corpus.read.pipe import piped
from embedding.corpus.read.remote import explained

# The two by which a folder is known to be an output of this command.
JOB, SHARDS = "job.json", "shards"


def find_local(path: str, common: PurePath | None, reading: Reading, found: Found) -> None:
    """Take what `path` names; its files are known by their paths below it, or below `common`, if that is given."""
    with explained(path):
        if Path(path).exists():
            whole_folder = Path(path).is_dir() and not path.lower().endswith(LANCE)
            _take(path, common or (PurePath(path) if whole_folder else PurePath(path).parent), reading, found)
        elif archive := _archive_in(path):
            member = str(PurePath(path).relative_to(archive))
            take_members(Disk(), str(archive), archive.name, reading, found, member)
        elif any(character in path for character in MAGIC):
            root = PurePath(path)
            while any(character in str(root) for character in MAGIC):
                root = root.parent
            for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207  # which takes a path that is whole
                if not _is_in_output(PurePath(match), root, found):
                    _take(match, root, reading, found, certain=False)


def _take(path: str, root: PurePath, reading: Reading, found: Found, *, certain: bool = True) -> None:
    """Take the file at `path`, or those of the folder; they are known by their paths below `root`."""
    if Path(path).is_dir() and not path.lower().endswith(LANCE):
        for inner in _walk(path, root, found):
            _take_file(inner, root, reading, found, certain=False)
    else:
        _take_file(path, root, reading, found, certain=certain)


def _take_file(path: str, root: PurePath, reading: Reading, found: Found, *, certain: bool) -> None:
    name = readable(str(PurePath(path).relative_to(root)))
    if path.lower().endswith(ARCHIVE):
        take_members(Disk(), path, name, reading, found)
        return
    if Path(path).is_fifo():  # such as a shell makes of <(zcat a.jsonl.gz)
        with Path(path).open("rb") as stream:
            found.files.append(piped(stream, path, reading))
        return
    size = Path(path).stat().st_size
    found.add(File(Disk(), path, name, size, reading), os.path.realpath(path), certain=certain)


def _walk(folder: str, root: PurePath, found: Found) -> Iterator[str]:
    """The files of a folder by name, links followed, but for hidden ones and for outputs of this command."""
    been: set[str] = set()

    def walk(folder: str) -> Iterator[str]:
        been.add(os.path.realpath(folder))
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith((".", "_")):
                continue
            if not Path(entry.path).is_dir():  # and not entry's own, which fails for a link that leads to itself
                if Path(entry.path).is_file():
                    yield entry.path
                else:
                    found.skipped.append(f"{readable(str(PurePath(entry.path).relative_to(root)))} (leads nowhere)")
            elif entry.name.lower().endswith(LANCE):
                yield entry.path
            elif _is_output(Path(entry.path)):
                _skip_output(PurePath(entry.path), root, found)
            elif os.path.realpath(entry.path) not in been:
                yield from walk(entry.path)

    return walk(folder)


def _is_output(folder: Path) -> bool:
    return (folder / JOB).is_file() and (folder / SHARDS).is_dir()


def _is_in_output(path: PurePath, root: PurePath, found: Found) -> bool:
    """Whether a path that a pattern matches lies in an output of this command below `root`."""
    for folder in (path, *path.parents):
        if folder == root:
            return False
        if _is_output(Path(folder)):
            _skip_output(folder, root, found)
            return True
    return False


def _skip_output(folder: PurePath, root: PurePath, found: Found) -> None:
    words = f"{readable(str(folder.relative_to(root)))} (vectors that this command made)"
    if words not in found.skipped:
        found.skipped.append(words)


def _archive_in(path: str) -> Path | None:
    """The zip archive that a path leads into."""
    return next(
        (parent for parent in Path(path).parents if parent.name.lower().endswith(ARCHIVE) and parent.is_file()), None
    )
