"""Where the rows come from: the files that an address names, on this machine or beyond, all of one format."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from embedding.corpus.errors import CorpusError
from embedding.corpus.read.beyond import find_remote
from embedding.corpus.read.columns import Columns
from embedding.corpus.read.content import File, Reading
from embedding.corpus.read.disk import find_local
from embedding.corpus.read.formats import FORMATS, Format, check_format, format_of, known
from embedding.corpus.read.found import Found, readable
from embedding.corpus.read.pipe import piped
from embedding.corpus.read.record import Record
from embedding.corpus.read.remote import explained, shown
from embedding.corpus.read.rows import Document, Reject, check
from embedding.settings import CorpusSettings

STANDARD_INPUT = "-"
# What stands beside data and is none.
DOCUMENTATION = ("readme", "license", "licence", "notice", "citation", "changelog")
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
SHOWN = 5


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
        for row, index, record in self.records(columns.named, limit):
            yield index, check(row, record, columns)

    def records(self, names: Sequence[str], limit: int | None = None) -> Iterator[tuple[int, int, Record]]:
        """The same, as the files have them, at least the columns that are named: each after its row's number."""
        left = limit if limit is not None else sys.maxsize
        numbers = count()
        for file in self.files:
            file.position = 0
        for index, file in enumerate(self.files):
            with self.explained(file):
                for record in self.format.records(file, names):
                    row = next(numbers)
                    if record.is_blank:
                        continue
                    if left == 0:
                        return
                    left -= 1
                    yield row, index, record
            file.position = file.size

    def explained(self, file: File) -> Any:
        """Turns what reading `file` raises into a CorpusError that names it."""
        return explained(file.name, self.token, remote=not self.local)

    @property
    def fraction(self) -> float:
        """How much of the input has been read, 0 to 1."""
        size = sum(file.size for file in self.files)
        return min(1.0, sum(file.position for file in self.files) / size) if size else 1.0


def find_source(
    addresses: str | Sequence[str], token: str | None = None, settings: CorpusSettings | None = None
) -> Source:
    """Find the files that `addresses` name; `token` is a Hugging Face token, for an address under hf://.

    Raises CorpusError.
    """
    addresses = [addresses] if isinstance(addresses, str) else list(addresses)
    reading = reading_of(settings or CorpusSettings.read())
    found = Found()
    local = True
    common = _common_folder(addresses) if len(addresses) > 1 else None
    for address in addresses:
        if not address.strip():
            raise CorpusError("INPUT is empty. Name a file or a folder; the current folder is '.'.")
        if address == STANDARD_INPUT:
            found.files.append(piped(sys.stdin.buffer, "standard input", reading))
        elif "://" in address and not address.startswith("file://"):
            local = False
            find_remote(address, token, reading, found)
        else:
            find_local(_path(address), common, reading, found)
    shown_as = ", ".join(shown(address) if "://" in address else address for address in addresses)
    if not found.files:
        others = f" It holds {_listed(found.skipped)}. If that is data, name its format: --input-format."
        raise CorpusError(
            f"there is no {shown_as}, or no file of a known kind in it: {known()}.{others if found.skipped else ''}"
        )
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


def _one_format(found: Found, address: str) -> str:
    """The key of the format that all files have, once what only describes the others is left out.

    Raises CorpusError.
    """
    for leave_out in (_is_description, lambda file: _format(file) == "md"):
        kept = [file for file in found.files if not leave_out(file)]
        if kept and len({_format(file) for file in found.files}) > 1:
            found.skipped += [file.name for file in found.files if file not in kept]
            found.files = kept
    keys = sorted({_format(file) for file in found.files})
    if set(keys) == {"json", "jsonl"}:
        keys = ["json"]
    if len(keys) > 1:
        first = min(file.name for file in found.files)
        one = f"{address}/*{''.join(PurePosixPath(first).suffixes[-1:])}"
        names = ", ".join(FORMATS[key].name for key in keys)
        raise CorpusError(f"{address} holds several kinds of files ({names}). Name those of one: '{one}'.")
    return keys[0]


def _format(file: File) -> str:
    key = file.reading.input_format or format_of(file.suffix)
    if key is None:
        raise CorpusError(f"{file.name} is of no known kind. Known are {known()}. Or name it: --input-format.")
    return key


def _is_description(file: File) -> bool:
    name = PurePosixPath(file.name.lower()).name
    return name in DESCRIPTIONS or name.split(".")[0] in DOCUMENTATION


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
