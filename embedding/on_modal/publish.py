"""Finished vectors to where their reader has them: a folder of a bucket, or a data set of the hub.

Both may hold files already. Those of the same job are brought up to date; with those of anything else, nothing is done.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from embedding.corpus import SHARDS, CorpusError, recorded
from embedding.corpus.job import JOB
from embedding.corpus.read.rows import REJECTS
from embedding.corpus.run import MANIFEST, SHARD_NAME
from embedding.corpus.write.hub import push
from embedding.on_modal.jobs import BUCKET, HUB, JobError, files_in


class Place(Protocol):
    """Where finished files go; `address` is what its user calls it."""

    @property
    def address(self) -> str: ...

    def names(self) -> set[str]:
        """The files that are there, relative to it."""

    def job(self) -> bytes:
        """What its job.json holds."""

    def bring(self, folder: Path, names: list[str], stray: set[str]) -> str:
        """Copy the files `names` of `folder`, the last one last, and remove `stray`; what was done, in words."""


def place_of(to: str, bucket: Path | None, token: str | None) -> Place:
    """The place that a checked address names."""
    if to.startswith(BUCKET):
        assert bucket is not None
        return BucketFolder(to, bucket / to.removeprefix(BUCKET))
    return DataSet(to, token)


def check(place: Place, folder: Path) -> None:
    """Raise JobError where `place` can't be written to, or holds a file that is not of the job in `folder`."""
    ours = {name for name in place.names() if name in (JOB, MANIFEST, REJECTS) or name.startswith(f"{SHARDS}/")}
    if not ours or (JOB in ours and _same_job(place.job(), folder)):
        return
    raise JobError(
        f"--to {place.address} holds files of another job, such as {min(ours)}, and they are not replaced. Choose "
        "another --to, or remove them."
    )


def _same_job(there: bytes, folder: Path) -> bool:
    if (folder / JOB).read_bytes().startswith(there):
        return True  # also where the copy was cut short
    with tempfile.TemporaryDirectory() as copied, suppress(CorpusError):
        (Path(copied) / JOB).write_bytes(there)
        one, other = recorded(Path(copied)), recorded(folder)
        return bool(one and other and one.fingerprint == other.fingerprint)
    return False


def publish(place: Place, folder: Path) -> str:
    """Bring `place` up to date with the finished `folder`; what was done, in words. Raises JobError, as `check` does.

    Files of an earlier run of this job go, as they went from `folder`, or readers would find their rows twice. The
    manifest comes last, since it says that all is there.
    """
    check(place, folder)
    names = sorted(
        (file.relative_to(folder).as_posix() for file in files_in(folder)), key=lambda name: (name == MANIFEST, name)
    )
    stray = {name for name in place.names() - set(names) if _is_shard(name)}
    return place.bring(folder, names, stray)


def _is_shard(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder == SHARDS and SHARD_NAME.fullmatch(file) is not None


@dataclass(frozen=True)
class BucketFolder:
    """A folder of a bucket, mounted. Its file system knows no renaming, so the files are whole on a volume before."""

    address: str
    folder: Path

    def names(self) -> set[str]:
        return {file.relative_to(self.folder).as_posix() for file in files_in(self.folder)}

    def job(self) -> bytes:
        return (self.folder / JOB).read_bytes()

    def bring(self, folder: Path, names: list[str], stray: set[str]) -> str:
        changed = [name for name in names if not self._has(folder, name)]
        if changed or stray:
            (self.folder / MANIFEST).unlink(missing_ok=True)
        for name in sorted(stray):
            (self.folder / name).unlink()
        for name in changed:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
        return f"{len(changed)} files copied to {self.address}."

    def _has(self, folder: Path, name: str) -> bool:
        """Whether the file is there as it is here. A shard's name is of its contents, but it may be half there."""
        here, there = folder / name, self.folder / name
        with suppress(FileNotFoundError):
            if there.stat().st_size == here.stat().st_size:
                return _is_shard(name) or there.read_bytes() == here.read_bytes()
        return False


@dataclass(frozen=True)
class DataSet:
    """A data set of the hub, made where it is not there, and then private."""

    address: str
    token: str | None

    def names(self) -> set[str]:
        with self._explained() as hub:
            hub.create_repo(self._name, repo_type="dataset", private=True, exist_ok=True)
            return set(hub.list_repo_files(self._name, repo_type="dataset"))

    def job(self) -> bytes:
        with self._explained() as hub, tempfile.TemporaryDirectory() as folder:
            return Path(hub.hf_hub_download(self._name, JOB, repo_type="dataset", local_dir=folder)).read_bytes()

    def bring(self, folder: Path, names: list[str], stray: set[str]) -> str:
        if stray:
            with self._explained() as hub:
                hub.delete_files(
                    self._name, sorted(stray), repo_type="dataset", commit_message="Vectors of an earlier run"
                )
        return push(folder, self.address, self.token)

    @property
    def _name(self) -> str:
        return self.address.removeprefix(HUB)

    @contextmanager
    def _explained(self) -> Iterator[Any]:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            yield HfApi(token=self.token or False)
        except HFValidationError:
            raise JobError(f"--to {self.address} is no name of a data set.") from None
        except HfHubHTTPError as error:
            status = error.response.status_code
            if status >= 500 or status == 429:
                raise
            raise JobError(
                f"--to {self.address}: the hub answers {status}. It takes an HF_TOKEN that may write there, in the "
                "secret for the build."
            ) from None
