"""File systems beyond this machine, and what their errors, and those of files, mean."""

import csv
import errno
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from zipfile import BadZipFile

import fsspec
from huggingface_hub import HfFileSystem
from huggingface_hub import errors as hub
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # that of the client it has
from huggingface_hub.utils.logging import set_verbosity_error
from pyarrow import ArrowException

from embedding.corpus.errors import CorpusError

HUB = "hf"
# What a scheme's file system needs beside fsspec.
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
ACCEPTED = (
    "files, folders and patterns on this machine, - for standard input, hf://datasets/OWNER/NAME/PATH or "
    f"hf://buckets/OWNER/NAME/PATH, and {', '.join(f'{scheme}://' for scheme in PACKAGES)}"
)


def file_system(address: str, token: str | None) -> tuple[Any, str]:
    """The file system of a remote address, and the path that it has there. Raises CorpusError.

    An address is not to be repeated in a message, but for what `shown` leaves of it: a secret may stand in it.
    """
    scheme, _, path = address.partition("://")
    if scheme == HUB:
        return _hub(address, path, token), path
    if scheme not in PACKAGES:
        raise CorpusError(f"this INPUT can't be read. It may be {ACCEPTED}.")
    if "@" in urlsplit(address).netloc:
        raise CorpusError("this INPUT has a name or password in it: leave it out, and use the service's own settings.")
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError:
        raise CorpusError(
            f"{scheme}:// needs a package that is not installed: pip install {PACKAGES[scheme]}"
        ) from None
    return system, str(path)


def shown(address: str) -> str:
    """A remote address without what may be a secret in it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _hub(address: str, path: str, token: str | None) -> HfFileSystem:
    """The hub's file system, once it is known that the repository of `path` is there and may be read."""
    set_verbosity_error()  # type: ignore[no-untyped-call]  # what matters of its warnings is said here
    system = HfFileSystem(token=token or False, skip_instance_cache=True)
    malformed = CorpusError(f"this INPUT is no address of the hub. It may be {ACCEPTED}.")
    if ":" in path.split("/")[0] or "@" in path.split("/")[0]:
        raise malformed  # not to be repeated: what stands there may be a secret
    with explained(address, token):
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


@contextmanager
def explained(what: str, token: str | None = None, *, remote: bool = False) -> Iterator[None]:
    """Turns what a file system, the hub or a reader raises into a CorpusError that names `what`.

    Of the message only what kind it is: it may hold a part of a text, or of an address that holds a secret.
    """
    try:
        yield
    except CorpusError:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
        reason = _hub_reason(cause, token) or _file_reason(cause)
        if reason is None and remote:
            reason = f"could not be fetched ({type(cause).__name__}): check the network, and your credentials"
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
        case hub.RepositoryNotFoundError() | hub.BucketNotFoundError():
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


DAMAGED = (ArrowException, EOFError, zlib.error, lzma.LZMAError, BadZipFile, csv.Error, UnicodeError)


def _file_reason(error: BaseException) -> str | None:
    match error:
        case FileNotFoundError():
            return "is not there"
        case OSError() if error.errno in (errno.EACCES, errno.EPERM):
            return "may not be read by this user"
        case OSError() if error.errno and error.strerror:
            return f"can't be read: {error.strerror}"
        case OSError() | RuntimeError() | ArrowException() if "encrypt" in str(error).lower():
            return "is encrypted: decrypt it first"
        case OSError() if type(error).__module__ in ("builtins", "gzip"):
            return "can't be read: it is damaged, or not what its name says"
        case _ if isinstance(error, DAMAGED):
            return "can't be read: it is damaged, or not what its name says"
    return None
