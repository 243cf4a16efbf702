"""What an address names: its files, those of zip archives among them, and what is left out."""

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from zipfile import ZipFile

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.content import File, Reading
from embedding.corpus.read.formats import format_of
from embedding.corpus.read.remote import explained

ARCHIVE, LANCE = ".zip", ".lance"
MAGIC = "*?["


class Disk:
    """This machine's files. fsspec's own local file system changes some names."""

    def open(self, path: str, _mode: str = "rb") -> BinaryIO:
        return Path(path).open("rb")


@dataclass
class Found:
    """What addresses name: the files by name, and what is left out of them."""

    files: list[File] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def add(self, file: File, real: str, *, certain: bool) -> None:
        """Take a file, unless it was found before. One that is not `certain` may be of no format that is read."""
        if (real, file.member) in self.seen:
            self.skipped.append(f"{file.name} (the same file as another)")
            return
        if not certain and file.reading.input_format is None and format_of(file.suffix) is None:
            self.skipped.append(file.name)
            return
        self.seen.add((real, file.member))
        self.files.append(file)


def readable(name: str) -> str:
    """A name of a file as it can be written; bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def take_members(system: Any, path: str, name: str, reading: Reading, found: Found, wanted: str = "") -> None:
    """Take the files of a zip archive, those that `wanted` names or matches, if it is given."""
    with explained(name), system.open(path, "rb") as raw, ZipFile(raw) as archive:
        for member in sorted(archive.infolist(), key=lambda member: member.filename):
            parts = PurePosixPath(member.filename).parts
            if member.is_dir() or any(part.startswith((".", "_")) for part in parts):
                continue
            if wanted and not (fnmatchcase(member.filename, wanted) or member.filename.startswith(f"{wanted}/")):
                continue
            if member.flag_bits & 1:
                raise CorpusError(f"{name} is encrypted: decrypt it first.")
            inner = File(system, path, f"{name}/{member.filename}", member.file_size, reading, member.filename)
            found.add(inner, os.path.realpath(path), certain=wanted == member.filename)
