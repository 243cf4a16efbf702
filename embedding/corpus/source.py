"""Where the rows come from: a file, a folder or a pattern of files, on this machine or in a dataset on the hub."""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from embedding.corpus.columns import Columns
from embedding.corpus.errors import CorpusError
from embedding.corpus.readers import KINDS, File, Kind
from embedding.corpus.rows import Fields

HUB = "hf://"
MAGIC = "*?["


@dataclass
class Source:
    """The files of one input, all of one kind, in the order of their names."""

    name: str
    """The input as it is known to a job: its address, or the last part of its path."""
    kind: Kind
    files: list[File]

    def types(self) -> Mapping[str, str]:
        """What the first file's columns hold, by name."""
        with _explained(self.files[0]):
            return self.kind.types(self.files[0])

    def rows(self, columns: Columns) -> Iterator[Fields]:
        """Every row. Raises CorpusError where a file can't be read."""
        for file in self.files:
            file.position = 0
        for file in self.files:
            with _explained(file):
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
    import fsspec

    remote = "://" in address
    with _explained(address):
        if address.startswith(HUB):
            from huggingface_hub import HfFileSystem

            system: Any = HfFileSystem(token=token or False, skip_instance_cache=True)
            path = address.removeprefix(HUB)
        elif remote:
            system, path = fsspec.core.url_to_fs(address)
        else:
            system, path = fsspec.filesystem("file"), str(Path(address).expanduser().absolute())
        paths = _paths(system, path)
    if not paths:
        raise CorpusError(f"there is no {address}, or no file of a known kind in it: {_known()}.")
    kinds = {kind.name: kind for kind in map(_kind, paths)}
    if len(kinds) > 1:
        raise CorpusError(
            f"{address} holds several kinds of files ({', '.join(kinds)}). Name those of one: '*.parquet'."
        )
    with _explained(address):
        files = [File(system, path, int(system.size(path) or 0)) for path in paths]
    return Source(address if remote else PurePosixPath(path).name, _kind(paths[0]), files)


def _paths(system: Any, path: str) -> list[str]:
    if system.isfile(path):
        return [path]
    if any(character in path for character in MAGIC):
        return sorted(found for found in system.glob(path) if system.isfile(found))
    if not system.isdir(path):
        return []
    return sorted(found for found in system.find(path) if _suffix(found) in KINDS and not _hidden(found, path))


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


class _explained:
    """Turns what a file system or a reader raises into a CorpusError that names the file."""

    def __init__(self, what: "File | str") -> None:
        self._what = what if isinstance(what, str) else what.path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
        from pyarrow import ArrowException

        match error:
            case GatedRepoError():
                reason = "is gated: accept its terms on the hub with the account of HF_TOKEN"
            case RepositoryNotFoundError():
                reason = "is not on the hub, or it is private: check the address, and HF_TOKEN"
            case HfHubHTTPError():
                reason = f"could not be fetched: the hub answered {error.response.status_code}"
            case FileNotFoundError():
                reason = "is not there"
            case OSError() if error.errno in (errno.EACCES, errno.EPERM):
                reason = "may not be read by this user"
            case OSError() | ArrowException() | EOFError():
                reason = f"can't be read ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
            case _:
                return
        raise CorpusError(f"{self._what} {reason}.") from None
