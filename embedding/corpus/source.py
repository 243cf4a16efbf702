"""Where the rows come from: a file, a folder or a pattern of files, on this machine or in a dataset on the hub."""

import csv
import errno
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from huggingface_hub import HfFileSystem
from huggingface_hub import errors as hub
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of the client it has
from huggingface_hub.utils.logging import set_verbosity_error
from pyarrow import ArrowException

from embedding.corpus.columns import Columns, choose
from embedding.corpus.errors import CorpusError
from embedding.corpus.readers import KINDS, File, Kind
from embedding.corpus.rows import Fields
from embedding.settings import CorpusSettings

ACCEPTED = "a file, a folder or a pattern of files on this machine, or hf://datasets/OWNER/NAME/PATH"
HUB = "hf://"
MAGIC = "*?["


@dataclass
class Source:
    """The files of one input, all of one kind, in the order of their names."""

    name: str
    """The input as it is known to a job: its address, or the last part of its path."""
    kind: Kind
    files: list[File]
    token: str | None = field(default=None, repr=False)

    @cached_property
    def types(self) -> Mapping[str, str]:
        """What the first file's columns hold, by name. Raises CorpusError where it can't be read."""
        with _explained(self.files[0].path, self.token):
            return self.kind.types(self.files[0])

    def columns(self, settings: CorpusSettings) -> Columns:
        """The columns to read. Raises CorpusError where they can't be told."""
        return choose(self.types, settings) if self.types else Columns(text=None)

    def rows(self, columns: Columns) -> Iterator[Fields]:
        """Every row. Raises CorpusError where a file can't be read."""
        for file in self.files:
            file.position = 0
        for file in self.files:
            with _explained(file.path, self.token):
                yield from self.kind.rows(file, columns)
            file.position = file.size

    @property
    def fraction(self) -> float:
        """How much of the input has been read, 0 to 1."""
        size = sum(file.size for file in self.files)
        return min(1.0, sum(file.position for file in self.files) / size) if size else 1.0


def open_source(address: str, token: str | None = None) -> Source:
    """Find the files that `address` names; `token` is a Hugging Face token, for an address under hf://.

    Raises CorpusError.
    """
    remote = address.startswith(HUB)
    if "://" in address and not remote:
        raise CorpusError(f"this INPUT can't be read. It may be {ACCEPTED}.")
    if remote:
        system, path = _hub(address, token), address.removeprefix(HUB)
    else:
        system, path = fsspec.filesystem("file"), _absolute(address)
    with _explained(address, token):
        sizes = _found(system, path)
    if not sizes:
        raise CorpusError(f"there is no {address}, or no file of a known kind in it: {_known()}.")
    kinds = {kind.name: kind for kind in map(_kind, sizes)}
    if len(kinds) > 1:
        one = f"{address}/*{PurePosixPath(min(sizes)).suffix}"
        raise CorpusError(f"{address} holds several kinds of files ({', '.join(kinds)}). Name those of one: '{one}'.")
    (kind,) = kinds.values()
    files = [File(system, path, size) for path, size in sorted(sizes.items())]
    return Source(address if remote else PurePosixPath(path).name, kind, files, token)


def _hub(address: str, token: str | None) -> HfFileSystem:
    """The hub's file system, once it is known that the repository of `address` is there and may be read."""
    set_verbosity_error()  # type: ignore[no-untyped-call]  # what matters of its warnings is said here
    system = HfFileSystem(token=token or False, skip_instance_cache=True)
    path = address.removeprefix(HUB)
    malformed = CorpusError(f"this INPUT is no address of the hub. It may be {ACCEPTED}.")
    if ":" in path.split("/")[0] or "@" in path.split("/")[0]:
        raise malformed  # not to be repeated: what stands there may be a secret
    with _explained(address, token):
        try:
            system.resolve_path(path)
        except hub.HfHubHTTPError:
            raise
        except (ValueError, NotImplementedError):
            raise malformed from None
        except FileNotFoundError as error:
            if isinstance(error.__cause__, hub.HFValidationError):
                raise malformed from None
            raise
    return system


def _absolute(address: str) -> str:
    try:
        return str(Path(address).expanduser().absolute())
    except RuntimeError:
        raise CorpusError(f"there is no {address}: no such user has a home folder here.") from None


def _found(system: Any, path: str) -> dict[str, int]:
    """The files that `path` names, and their sizes in bytes."""
    try:
        info = system.info(path)
    except (FileNotFoundError, NotADirectoryError, hub.EntryNotFoundError):
        info = None
    if info and info["type"] == "file":
        found = {path: info}
    elif info and info["type"] == "directory":
        found = system.find(path, detail=True)
        found = {name: of for name, of in found.items() if _suffix(name) in KINDS and not _hidden(name, path)}
    else:
        found = system.glob(path, detail=True) if any(character in path for character in MAGIC) else {}
    return {name: int(of["size"] or 0) for name, of in found.items() if of["type"] == "file"}


def _hidden(found: str, folder: str) -> bool:
    parts = PurePosixPath(found).parts[len(PurePosixPath(folder).parts) :]
    return any(part.startswith((".", "_")) for part in parts)


def _kind(path: str) -> Kind:
    try:
        return KINDS[_suffix(path)]
    except KeyError:
        raise CorpusError(f"{path} is of no known kind. Known are {_known()}; .gz too, but for Parquet.") from None


def _suffix(path: str) -> str:
    return PurePosixPath(path.lower().removesuffix(".gz")).suffix


def _known() -> str:
    return ", ".join(KINDS)


@contextmanager
def _explained(what: str, token: str | None = None) -> Iterator[None]:
    """Turns what a file system, the hub or a reader raises into a CorpusError that names `what`.

    Of the message only what kind it is: it may hold a part of a text, or of an address that holds a secret.
    """
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
        reason = _hub_reason(cause, token) or _file_reason(cause)
        if reason is None:
            raise
        raise CorpusError(f"{what} {reason}.") from None


def _hub_reason(error: BaseException, token: str | None) -> str | None:
    match error:
        case hub.GatedRepoError():
            return "is gated: accept its terms on the hub with the account of HF_TOKEN"
        case hub.RevisionNotFoundError():
            return "is not on the hub in this revision"
        case hub.EntryNotFoundError():
            return "is not there"
        case hub.RepositoryNotFoundError():
            return "is not on the hub, or it is private: check the address, and HF_TOKEN"
        case hub.HfHubHTTPError() if error.response.status_code == 401 and token:
            return "can't be fetched: the hub does not accept HF_TOKEN. Set it to a valid token"
        case hub.HfHubHTTPError() if error.response.status_code in (401, 403):
            return f"may not be read {'with this HF_TOKEN' if token else 'without HF_TOKEN'}"
        case hub.HfHubHTTPError():
            return f"could not be fetched: the hub answered {error.response.status_code}"
        case hub.OfflineModeIsEnabled():
            return "can't be fetched: HF_HUB_OFFLINE is set"
        case HTTPError():
            return f"could not be fetched ({type(error).__name__}): check the network. The same command goes on"
    return None


def _file_reason(error: BaseException) -> str | None:
    match error:
        case FileNotFoundError():
            return "is not there"
        case OSError() if error.errno in (errno.EACCES, errno.EPERM):
            return "may not be read by this user"
        case OSError() if error.strerror:
            return f"can't be read: {error.strerror}"
        case OSError() | ArrowException() | EOFError() | zlib.error() | csv.Error() | UnicodeError():
            return "can't be read: it is damaged, or not what its name says"
    return None
