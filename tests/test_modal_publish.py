"""Finished vectors on their way to a bucket or the hub: all there at the end, once, and nobody else's file touched."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("modal")

from embedding.corpus import Job, Model
from embedding.corpus.read.columns import Columns
from embedding.on_modal import publish as publishing
from embedding.on_modal.jobs import JobError
from embedding.on_modal.publish import DataSet, check, place_of, publish

ONE, TWO, OTHER = (f"shards/00000{n}-{n:016x}.parquet" for n in (0, 1, 2))
MODEL = Model("me/model", "abc", "onnx", "float32", 96, 256, "title: none | text: ", 8, 1.0)


def write(folder: Path, *shards: str, input: str = "papers.jsonl", fidelity: float = 1.0) -> Path:
    """A finished job of these shards."""
    model = Model(**{**asdict(MODEL), "fidelity": fidelity})
    job = asdict(Job(input, model, Columns(text="text"), 256, 32, "float32", 1_000_000))
    (folder / "shards").mkdir(parents=True)
    (folder / "job.json").write_text(json.dumps(job))
    for shard in shards:
        (folder / shard).write_text(f"vectors of {shard}")
    (folder / "shards" / ".half.tmp").write_text("half")
    (folder / "manifest.json").write_text(json.dumps({"shards": shards}))
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_bucket_gets_the_files_once_and_keeps_what_is_its_owners(tmp_path: Path) -> None:
    done, bucket = write(tmp_path / "done", ONE), tmp_path / "bucket"
    (bucket / "mine").mkdir(parents=True)
    (bucket / "mine" / "notes.txt").write_text("keep me")
    place = place_of("bucket://mine", bucket, None)

    first, again = publish(place, done), publish(place, done)

    assert (first, again) == ("3 files copied to bucket://mine.", "0 files copied to bucket://mine.")
    assert files(bucket / "mine") == ["job.json", "manifest.json", "notes.txt", ONE]


def test_a_file_of_an_earlier_run_goes_or_its_rows_would_be_found_twice(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    place = place_of("bucket://mine", bucket, None)
    publish(place, write(tmp_path / "before", ONE, TWO))
    (bucket / "mine" / "shards" / "notes.txt").write_text("keep me")

    publish(place, write(tmp_path / "now", ONE, OTHER, fidelity=0.9999))

    assert files(bucket / "mine") == ["job.json", "manifest.json", ONE, OTHER, "shards/notes.txt"]


def test_the_manifest_is_there_only_while_all_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = tmp_path / "bucket"
    place = place_of("bucket://mine", bucket, None)
    publish(place, write(tmp_path / "before", ONE))
    copies: list[str] = []

    def copy(source: Path, target: Path) -> None:
        assert not (bucket / "mine" / "manifest.json").exists()
        copies.append(target.name)
        real(source, target)

    real = shutil.copyfile
    monkeypatch.setattr(publishing.shutil, "copyfile", copy)
    publish(place, write(tmp_path / "now", ONE, TWO))

    assert copies == [Path(TWO).name, "manifest.json"]


@pytest.mark.parametrize("there", ["manifest.json", "job.json", "another job"])
def test_the_files_of_anything_else_are_not_replaced(tmp_path: Path, there: str) -> None:
    done, bucket = write(tmp_path / "done", ONE), tmp_path / "bucket"
    if there == "another job":
        write(bucket / "mine", TWO, input="patents.jsonl")
    else:
        (bucket / "mine").mkdir(parents=True)
        (bucket / "mine" / there).write_text('{"of": "someone"}')
    before = files(bucket)

    for attempt in (check, publish):
        with pytest.raises(JobError, match=r"bucket://mine holds files of another job, such as .*not replaced"):
            attempt(place_of("bucket://mine", bucket, None), done)

    assert files(bucket) == before


class Hub:
    """Stands in for HfApi: the names that are there, and what is asked of it."""

    def __init__(self, there: Path | None, error: Exception | None = None) -> None:
        self.there, self.error, self.uploads = there, error, list[dict[str, Any]]()
        self.deleted: list[str] = []

    def create_repo(self, name: str, **_: Any) -> None:
        if self.error:
            raise self.error

    def list_repo_files(self, name: str, **_: Any) -> list[str]:
        return [".gitattributes", *(files(self.there) if self.there else [])]

    def hf_hub_download(self, name: str, file: str, **_: Any) -> str:
        assert self.there
        return str(self.there / file)

    def upload_folder(self, **options: Any) -> None:
        self.uploads.append(options)

    def delete_files(self, name: str, names: list[str], **_: Any) -> None:
        self.deleted += names

    def file_exists(self, *_: Any, **__: Any) -> bool:
        return True


def test_a_data_set_gets_what_a_bucket_gets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(write(tmp_path / "before", ONE, TWO))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token: hub)

    told = publish(place_of("hf://datasets/me/papers", None, "hf_token"), write(tmp_path / "now", ONE, OTHER))

    assert told == "Pushed to hf://datasets/me/papers."
    (upload,) = hub.uploads
    assert upload["repo_id"] == "me/papers"
    assert hub.deleted == [TWO]


def test_a_data_set_of_another_job_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(write(tmp_path / "before", ONE, input="patents.jsonl"))
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token: hub)

    with pytest.raises(JobError, match="files of another job"):
        publish(DataSet("hf://datasets/me/papers", "hf_token"), write(tmp_path / "now", ONE))

    assert not hub.uploads


def test_a_token_that_may_not_write_is_told_before_anything_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    refused = HfHubHTTPError.__new__(HfHubHTTPError)
    refused.response = SimpleNamespace(status_code=403)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token: Hub(None, refused))

    with pytest.raises(JobError, match=r"the hub answers 403\. It takes an HF_TOKEN that may write there"):
        check(DataSet("hf://datasets/me/papers", "hf_token"), write(tmp_path / "now", ONE))
