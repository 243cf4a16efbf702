"""A prepared folder is replaced whole or not at all, is never something else of its user's, and is never stale."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding import atomic
from embedding.model import ModelUnavailable, load_engine
from embedding.model.errors import InvalidArtifact, UnsupportedModel
from embedding.model.fetch import prepared
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.manifest import is_prepared, read_manifest, verify
from embedding.model.load import fetch_and_prepare
from embedding.model.prepare import prepare
from embedding.settings import Settings
from tests.cli import run, running
from tests.zoo import Kind, write_kind


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of prepared models of this test's own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "embedding"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is prepared in a moment."""
    folder = tmp_path_factory.mktemp("small")
    return write_kind(Kind("bert"), folder / "bases", folder / "model")


@pytest.fixture(scope="module")
def made(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "model"
    prepare(small, output)
    return output


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A prepared model to spoil."""
    return Path(shutil.copytree(made, tmp_path / "out" / "model"))


def spoil_nothing_of_ours(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"name": "a web app", "icons": []}))
    (folder / "index.html").write_text("mine")


def spoil_like_a_corpus(folder: Path) -> None:
    shutil.rmtree(folder)
    (folder / "shards").mkdir(parents=True)
    (folder / "shards" / "00000.parquet").write_bytes(b"vectors")
    (folder / "manifest.json").write_text(json.dumps({"model": {}, "vectors": {}, "format": 1}))


def spoil_with_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def spoil_with_a_folder(folder: Path) -> None:
    (folder / "experiments").mkdir()


def spoil_by_a_byte(folder: Path) -> None:
    with (folder / "float32.weights").open("r+b") as file:
        file.write(b"mine")


def spoil_by_a_missing_file(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def spoil_to_a_link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def spoil_to_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("mine")


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_nothing_of_ours,
        spoil_like_a_corpus,
        spoil_with_a_file,
        spoil_with_a_folder,
        spoil_by_a_byte,
        spoil_by_a_missing_file,
        spoil_to_a_link,
        spoil_to_a_file,
    ],
)
def test_only_a_whole_prepared_model_is_replaced(spoil, small: Path, copy: Path) -> None:  # type: ignore[no-untyped-def]
    spoil(copy)
    before = contents(copy.parent)

    with pytest.raises(ModelUnavailable, match="another --output"):
        prepare(small, copy)

    assert contents(copy.parent) == before


def test_the_model_itself_and_what_holds_it_are_not_replaced(small: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "a" / "model"))
    before = contents(tmp_path)

    for output in (source, source.parent, tmp_path, Path("/")):
        with pytest.raises(ModelUnavailable, match="another --output"):
            prepare(source, output)

    assert contents(tmp_path) == before


def test_a_whole_prepared_model_is_replaced(small: Path, copy: Path) -> None:
    inode = copy.stat().st_ino

    prepare(small, copy)

    verify(copy)
    assert copy.stat().st_ino != inode
    assert list(copy.parent.iterdir()) == [copy]


def test_an_empty_folder_is_taken(small: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()

    prepare(small, tmp_path / "new")

    verify(tmp_path / "new")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_what_was_there(stop: signal.Signals, tiny_gemma: Path, copy: Path) -> None:
    before = contents(copy)

    with running(copy.parent.parent, "prepare", "--model", str(tiny_gemma), "--output", str(copy)) as preparing:
        preparing.wait_for("calibration")
        preparing.process.send_signal(stop)
        assert preparing.process.wait(30) != 0

    assert contents(copy) == before
    if stop != signal.SIGKILL:
        assert list(copy.parent.iterdir()) == [copy]


def test_what_a_killed_run_left_is_cleared_and_nothing_else(small: Path, copy: Path) -> None:
    left = copy.with_name(f".{copy.name}.{'0' * 32}.tmp")
    mine = [copy.with_name(f".{copy.name}.backup"), copy.with_name(f".{copy.name}.tmp"), copy.with_name(".other")]
    for folder in (left, *mine):
        folder.mkdir()
        (folder / "float32.weights").write_text("half")

    prepare(small, copy)

    assert not left.exists()
    assert all((folder / "float32.weights").read_text() == "half" for folder in mine)


@pytest.fixture(params=["at once", "in two steps"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that can let two folders change names, and one that can't."""
    if request.param == "in two steps":
        monkeypatch.setattr(atomic, "_exchange_at_once", lambda *_: False)
    return


@pytest.mark.usefixtures("exchange")
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for number in range(3):
        with atomic.whole_folder(folder, lambda: None) as unfinished:
            (unfinished / "a").write_text(str(number))
            assert number == 0 or (folder / "a").read_text() == str(number - 1)

        assert (folder / "a").read_text() == str(number)
        assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("exchange")
def test_a_file_that_comes_at_the_last_moment_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")

    def only_the_old() -> None:
        if (folder / "mine").exists():
            raise PermissionError("mine")

    def replace() -> None:
        with atomic.whole_folder(folder, only_the_old) as unfinished:
            (unfinished / "new").write_text("new")
            (folder / "mine").write_text("mine")

    with pytest.raises(PermissionError):
        replace()

    assert contents(tmp_path) == {"folder/old": b"old", "folder/mine": b"mine"}


def test_a_stray_manifest_makes_no_prepared_model(small: Path, cache: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))
    (source / "manifest.json").write_text('{"format": 4, "name": "a web app"}')

    engine = load_engine(Settings.read(model_id=str(source)))

    assert not is_prepared(source)
    np.testing.assert_allclose(
        engine.embed(engine.tokenize(["a lattice"], "query"))[0],
        SentenceTransformer(str(source), device="cpu").encode_query("a lattice"),
        atol=2e-5,
    )


def rewrite_quietly(path: Path) -> None:
    """Change a file's content, and neither its size nor its dates."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-64:] = bytes(byte ^ 1 for byte in content[-64:])
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_file_changed_with_equal_size_and_date_is_another_model(small: Path, cache: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))
    before = content_digest(source)

    rewrite_quietly(source / "model.safetensors")

    assert content_digest(source) != before


def test_a_link_to_a_changed_file_is_another_model(small: Path, cache: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))
    weights = tmp_path / "weights"
    (source / "model.safetensors").rename(weights)
    (source / "model.safetensors").symlink_to(weights)
    before = content_digest(source)

    rewrite_quietly(weights)

    assert content_digest(source) != before


def test_a_copy_is_the_same_model(small: Path, cache: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(small, tmp_path / "copy", copy_function=shutil.copyfile))

    assert content_digest(copied) == content_digest(small)


def test_a_changed_model_is_served_as_it_is_now(small: Path, cache: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))
    settings = Settings.read(model_id=str(source), precision="float32")
    first = fetch_and_prepare(settings)
    rewrite_quietly(source / "model.safetensors")

    second = fetch_and_prepare(settings)

    assert second != first
    assert read_manifest(second).content == content_digest(source)


def test_a_damaged_folder_of_the_cache_is_prepared_again(small: Path, cache: Path) -> None:
    settings = Settings.read(model_id=str(small), precision="float32")
    folder = fetch_and_prepare(settings)
    os.truncate(folder / "float32.weights", 100)

    assert fetch_and_prepare(settings) == folder
    verify(folder)


def test_a_truncated_file_is_named_before_it_is_mapped(copy: Path) -> None:
    os.truncate(copy / "float32.weights", 100)

    with pytest.raises(InvalidArtifact, match=r"float32\.weights has 100 bytes, not \d+"):
        load_engine(Settings.read(model_id=str(copy)))


def test_a_refusal_is_remembered(
    demo_model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(shutil.copytree(demo_model, tmp_path / "model"))
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    settings = Settings.read(model_id=str(source), engine="onnx", precision="float32")
    with pytest.raises(UnsupportedModel, match="activation relu"):
        fetch_and_prepare(settings)
    tries: list[str] = []
    monkeypatch.setattr(prepared, "_prepare", lambda *_: tries.append("again"))

    with pytest.raises(UnsupportedModel, match="activation relu"):
        fetch_and_prepare(settings)
    assert not tries

    (source / "config.json").write_text(json.dumps(config))
    fetch_and_prepare(settings)
    assert tries == ["again"]


def test_prepare_refuses_on_the_command_line_in_one_line(small: Path, copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")

    done = run("prepare", "--model", str(small), "--output", str(copy))

    assert done.returncode == 1
    assert "notes.txt" in done.stderr
    assert "Traceback" not in done.stderr
