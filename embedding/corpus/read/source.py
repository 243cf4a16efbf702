"""Where the rows come from: the files that an address names, on this machine or beyond, all of one format."""

import glob
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from huggingface_hub import errors as hub

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.columns import Columns
from embedding.corpus.read.content import BUFFER, COMPRESSIONS, File, Reading
from embedding.corpus.read.formats import FORMATS, Format, check_format, format_of, known
from embedding.corpus.read.remote import explained, file_system, shown
from embedding.corpus.read.rows import Document, Reject, check
from embedding.settings import CorpusSettings

MAGIC = "*?["
STANDARD_INPUT = "-"
ARCHIVE, LANCE = ".zip", ".lance"
# The two by which a folder is known to be an output of this command.
JOB, SHARDS = "job.json", "shards"
# What stands beside data and is none.
DOCUMENTATION = ("readme", "license", "licence", "notice", "citation", "changelog")
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
SHOWN = 5
HEADS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"{": ".jsonl", b"[": ".json"}
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}


class Disk:
    """This machine's files. fsspec's own local file system changes some names."""

    def open(self, path: str, _mode: str = "rb") -> BinaryIO:
        return Path(path).open("rb")


@dataclass
class Source:
    """The files of one input, all of one format, in the order in which they are read."""

    name: str
    """The input as it is known to a job: its address, or the last part of its path."""
    format: Format
    files: list[File]
    local: bool = True
    token: str | None = field(default=None, repr=False)
    skipped: list[str] = field(default_factory=list)
    """What was found and is not read, in words."""

    def rows(self, columns: Columns, limit: int | None = None) -> Iterator[tuple[int, Document | Reject]]:
        """Every row up to `limit`, and the number of its file. Raises CorpusError where a file can't be read."""
        row = 0
        for file in self.files:
            file.position = 0
        for index, file in enumerate(self.files):
            with self.explained(file):
                for record in self.format.records(file, columns.named):
                    if row == limit:
                        return
                    yield index, check(row, record, columns)
                    row += 1
            file.position = file.size

    def explained(self, file: File) -> Any:
        """Turns what reading `file` raises into a CorpusError that names it."""
        return explained(file.name, self.token, remote=not self.local)

    @property
    def fraction(self) -> float:
        """How much of the input has been read, 0 to 1."""
        size = sum(file.size for file in self.files)
        return min(1.0, sum(file.position for file in self.files) / size) if size else 1.0


@dataclass
class _Found:
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


def find_source(addresses: str | Sequence[str], token: str | None = None, settings: CorpusSettings | None = None) -> Source:
    """Find the files that `addresses` name; `token` is a Hugging Face token, for an address under hf://.

    Raises CorpusError.
    """
    addresses = [addresses] if isinstance(addresses, str) else list(addresses)
    reading = reading_of(settings or CorpusSettings.read())
    found = _Found()
    local = True
    common = _common_folder(addresses) if len(addresses) > 1 else None
    for address in addresses:
        if not address.strip():
            raise CorpusError("INPUT is empty. Name a file or a folder; the current folder is '.'.")
        if address == STANDARD_INPUT:
            found.files.append(_standard_input(reading))
        elif "://" in address and not address.startswith("file://"):
            local = False
            _find_remote(address, token, reading, found)
        else:
            _find_local(_path(address), common, reading, found)
    shown_as = ", ".join(shown(address) if "://" in address else address for address in addresses)
    if not found.files:
        others = f" It holds {_listed(found.skipped)}." if found.skipped else ""
        raise CorpusError(f"there is no {shown_as}, or no file of a known kind in it: {known()}.{others}")
    key = _one_format(found, shown_as)
    return Source(_name(addresses), FORMATS[key], found.files, local, token, found.skipped)


def reading_of(settings: CorpusSettings) -> Reading:
    """How `settings` say that files are to be read. Raises CorpusError where they can't be."""
    return Reading(
        input_format=check_format(settings.input_format),
        encoding=settings.encoding,
        delimiter=settings.delimiter,
        quote=settings.quote,
        no_header=settings.no_header,
    )


def _name(addresses: Sequence[str]) -> str:
    """What a job knows the input by. Several have that of the folder that all are in, so that more may be added."""
    addresses = [address for address in addresses if address != STANDARD_INPUT]
    if not addresses:
        return STANDARD_INPUT
    if len(addresses) > 1:
        return readable(f"{(_common_folder(addresses) or PurePath(shown(addresses[0]))).name}/…")
    (address,) = addresses
    remote = "://" in address and not address.startswith("file://")
    return readable(shown(address) if remote else PurePath(_path(address)).name or "/")


def readable(name: str) -> str:
    """A name of a file as it can be written; bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _path(address: str) -> str:
    if address.startswith("file://"):
        address = unquote(urlsplit(address).path)
    try:
        return os.path.abspath(Path(address).expanduser())  # noqa: PTH100  # which resolves '..' and no links
    except RuntimeError:
        raise CorpusError(f"there is no {address}: no such user has a home folder here.") from None


def _common_folder(addresses: Sequence[str]) -> PurePath | None:
    """The folder that several inputs are in, as far as they are on this machine."""
    paths = [_path(address) for address in addresses if "://" not in address or address.startswith("file://")]
    return PurePath(os.path.commonpath([str(PurePath(path).parent) for path in paths])) if paths else None


def _find_local(path: str, common: PurePath | None, reading: Reading, found: _Found) -> None:
    """Take what `path` names; its files are known by their paths below it, or below `common` where it is one of more."""
    with explained(path):
        if Path(path).exists():
            whole_folder = Path(path).is_dir() and not path.lower().endswith(LANCE)
            _take(path, common or (PurePath(path) if whole_folder else PurePath(path).parent), reading, found)
        elif archive := _archive_in(path):
            member = str(PurePath(path).relative_to(archive))
            _take_members(Disk(), str(archive), archive.name, reading, found, member)
        elif any(character in path for character in MAGIC):
            root = PurePath(path)
            while any(character in str(root) for character in MAGIC):
                root = root.parent
            for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207  # which takes a path that is whole
                if not _is_in_output(PurePath(match), root, found):
                    _take(match, root, reading, found, certain=False)


def _take(path: str, root: PurePath, reading: Reading, found: _Found, *, certain: bool = True) -> None:
    """Take the file at `path`, or those of the folder; they are known by their paths below `root`."""
    if Path(path).is_dir() and not path.lower().endswith(LANCE):
        for inner in _walk(path, root, found):
            _take_file(inner, root, reading, found, certain=False)
    else:
        _take_file(path, root, reading, found, certain=certain)


def _take_file(path: str, root: PurePath, reading: Reading, found: _Found, *, certain: bool) -> None:
    name = readable(str(PurePath(path).relative_to(root)))
    if path.lower().endswith(ARCHIVE):
        _take_members(Disk(), path, name, reading, found)
        return
    size = Path(path).stat().st_size
    found.add(File(Disk(), path, name, size, reading), os.path.realpath(path), certain=certain)


def _walk(folder: str, root: PurePath, found: _Found) -> Iterator[str]:
    """The files of a folder by name, links followed, but for hidden ones and for outputs of this command."""
    been: set[str] = set()

    def walk(folder: str) -> Iterator[str]:
        been.add(os.path.realpath(folder))
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith((".", "_")):
                continue
            if not entry.is_dir():
                if entry.is_file():
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


def _is_in_output(path: PurePath, root: PurePath, found: _Found) -> bool:
    """Whether a path that a pattern matches lies in an output of this command below `root`."""
    for folder in (path, *path.parents):
        if folder == root:
            return False
        if _is_output(Path(folder)):
            _skip_output(folder, root, found)
            return True
    return False


def _skip_output(folder: PurePath, root: PurePath, found: _Found) -> None:
    words = f"{readable(str(folder.relative_to(root)))} (vectors that this command made)"
    if words not in found.skipped:
        found.skipped.append(words)


def _archive_in(path: str) -> Path | None:
    """The zip archive that a path leads into."""
    return next((parent for parent in Path(path).parents if parent.name.lower().endswith(ARCHIVE) and parent.is_file()), None)


def _take_members(system: Any, path: str, name: str, reading: Reading, found: _Found, wanted: str = "") -> None:
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


def _find_remote(address: str, token: str | None, reading: Reading, found: _Found) -> None:
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
                _take_members(system, each, inner, reading, found)
            elif not _hidden(inner) or certain:
                found.add(File(system, each, inner, size, reading), each, certain=certain)


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


def _standard_input(reading: Reading) -> File:
    """What comes in by standard input, in a temporary file, since it is read more than once."""
    copy = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  # it ends with the process
    size = 0
    while block := sys.stdin.buffer.read(BUFFER):
        size += copy.write(block)
    system = _Copy(copy)
    head = system.open("").read(8)
    compression = next((ending for start, ending in COMPRESSED.items() if head.startswith(start)), "")
    file = File(system, "", "standard input", size, reading, named_as=f"stdin{compression}")
    with explained(file.name), file.open() as content:
        head = content.read(BUFFER).removeprefix(b"\xef\xbb\xbf").lstrip()
    ending = f".{reading.input_format}" if reading.input_format else next(
        (ending for start, ending in HEADS.items() if head.startswith(start)), None
    )
    if size == 0:
        raise CorpusError("nothing came in by standard input.")
    if ending is None:
        raise CorpusError(f"the format of standard input can't be told. Name it: --input-format {'|'.join(FORMATS)}.")
    return replace(file, named_as=f"stdin{ending}{compression}")


class _Copy:
    """A temporary file in the place of a file system."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def open(self, _path: str, _mode: str = "rb") -> BinaryIO:
        self._file.seek(0)
        return os.fdopen(os.dup(self._file.fileno()), "rb")


def _one_format(found: _Found, address: str) -> str:
    """The key of the format that all files have, once what only describes the others is left out. Raises CorpusError."""
    formats = {id(file): file.reading.input_format or format_of(file.suffix) for file in found.files}
    for file in found.files:
        if formats[id(file)] is None:
            raise CorpusError(f"{file.name} is of no known kind. Known are {known()}. Or name it: --input-format.")
    if len(set(formats.values())) > 1:
        for leave_out in (_is_description, lambda file: formats[id(file)] == "md"):
            kept = [file for file in found.files if not leave_out(file)]
            if kept and len(set(formats.values())) > 1:
                found.skipped += [file.name for file in found.files if file not in kept]
                found.files = kept
                formats = {id(file): formats[id(file)] for file in kept}
    keys = sorted({str(key) for key in formats.values()})
    if set(keys) == {"json", "jsonl"}:
        keys = ["json"]
    if len(keys) > 1:
        first = min(file.name for file in found.files)
        one = f"{address}/*{''.join(PurePosixPath(first).suffixes[-1:])}"
        names = ", ".join(FORMATS[key].name for key in keys)
        raise CorpusError(f"{address} holds several kinds of files ({names}). Name those of one: '{one}'.")
    return keys[0]


def _is_description(file: File) -> bool:
    name = PurePosixPath(file.name.lower()).name
    return name in DESCRIPTIONS or name.split(".")[0] in DOCUMENTATION


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


__all__ = ["COMPRESSIONS", "Source", "find_source", "readable", "reading_of"]
