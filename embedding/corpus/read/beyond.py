"""Finds the files of an address beyond this machine."""

import os
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import errors as hub

from embedding.corpus.read.content import Copy, File, Reading
from embedding.corpus.read.found import ARCHIVE, MAGIC, Found, take_members
from embedding.corpus.read.remote import explained, file_system, shown

TABLES = (".parquet", ".arrow", ".feather", ".ipc")
"""Endings of files that are not read from their beginning to their end."""
END = 1 << 12


def find_remote(address: str, token: str | None, reading: Reading, found: Found) -> None:
    system, path = file_system(address, token)
    name = shown(address)
    with explained(name, token, remote=True):
        for each, size, certain in _listing(system, path):
            below = PurePosixPath(urlsplit(each).path if "://" in each else each)
            base = PurePosixPath(urlsplit(path).path if "://" in path else path.rstrip("/"))
            inner = str(below.relative_to(base)) if below != base and below.is_relative_to(base) else below.name
            if certain and str(inner) == below.name and name.startswith("hf://"):
                inner = name
            if inner.lower().endswith(ARCHIVE):
                take_members(_seekable(system, each), each, inner, reading, found)
            elif not _hidden(inner) or certain:
                holder = _seekable(system, each) if inner.lower().endswith(TABLES) else system
                found.add(File(holder, each, inner, size, reading), each, certain=certain)


def _seekable(system: Any, path: str) -> Any:
    """`system`, or where its server gives files from their beginnings only, a copy of this one."""
    if "http" not in system.protocol:
        return system
    try:
        with system.open(path, "rb", block_size=END) as content:
            content.seek(-1, os.SEEK_END)
            content.read(1)
            return system
    except ValueError:  # by which fsspec says so
        with system.open(path, "rb", block_size=0) as content:
            return Copy(content)


def _listing(system: Any, path: str) -> Iterable[tuple[str, int, bool]]:
    """The files that a path names in a file system: path, bytes, and whether it is named itself."""
    try:
        info = system.info(path)
    except (FileNotFoundError, NotADirectoryError, hub.EntryNotFoundError):
        info = None
    if info and info["type"] == "file":
        yield path, int(info["size"] or 0), True
        return
    if info:
        found = system.find(path, detail=True)
    else:
        found = system.glob(path, detail=True) if any(character in path for character in MAGIC) else {}
    for name, of in sorted(found.items()):
        if of["type"] == "file":
            yield name, int(of["size"] or 0), False


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
