"""A prepared folder is replaced whole or not at all, is never something else of its user's, and is never stale."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.atomic import whole_folder
from embedding.model import ModelUnavailable, load, load_engine, onnx_engine
from embedding.model import __main__ as image
from embedding.model.errors import InvalidArtifact, UnsupportedModel
from embedding.model.fetch import content, prepared
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.manifest import FORMAT, Manifest, is_prepared, read_manifest, verify, write_manifest
from embedding.model.fetch.resolved import ResolvedModel
from embedding.model.load import fetch_and_prepare
from embedding.model.prepare import prepare, refuse_to_replace
from embedding.model.tokenizer import load_tokenizers
from embedding.settings import Settings
from tests.cli import run, running
from tests.fake_hub import COMMIT, MODEL
from tests.zoo import Kind, write_kind


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of prepared models of this test's own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "embedding"


@pytest.fixture
def prepare_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare in this process, which has imported torch already."""

    def prepare_in_process(source: Path, folder: Path, name: str, precision: str, _report: object) -> None:
        prepare(source, folder, source_id=name, precision=precision)

    monkeypatch.setattr(prepared, "_prepare_in_subprocess", prepare_in_process)


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


def with_format(folder: Path, number: int) -> None:
    """Let a prepared model be of another format; older ones had no sizes."""
    fields = json.loads((folder / "manifest.json").read_text())
    if number < FORMAT:
        fields["files"] = {name: file["sha256"] for name, file in fields["files"].items()}
    (folder / "manifest.json").write_text(json.dumps(fields | {"format": number}))


def test_a_prepared_model_of_an_older_format_is_replaced_and_of_a_newer_one_is_not(copy: Path) -> None:
    with_format(copy, FORMAT - 1)
    refuse_to_replace(copy)
    with pytest.raises(InvalidArtifact, match=rf"has format {FORMAT - 1}, and this version reads {FORMAT}.*again"):
        read_manifest(copy)

    (copy / "tokenizer.json").write_text("mine")
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json changed since it was prepared"):
        refuse_to_replace(copy)


def test_a_prepared_model_of_a_newer_format_is_not_replaced(copy: Path) -> None:
    with_format(copy, FORMAT + 1)

    with pytest.raises(ModelUnavailable, match="newer than this version's"):
        refuse_to_replace(copy)


def test_what_macos_puts_into_a_folder_is_no_reason_to_refuse(copy: Path) -> None:
    (copy / ".DS_Store").write_bytes(b"")

    refuse_to_replace(copy)


def test_an_output_is_refused_before_the_model_is_fetched(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")

    done = run("prepare", "--model", "someone/else", "--output", str(copy), HF_ENDPOINT="http://127.0.0.1:9")

    assert done.returncode == 1
    assert "notes.txt" in done.stderr
    assert "downloading" not in done.stdout


def test_a_prepared_model_is_not_prepared_again(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is prepared already"):
        prepare(copy, tmp_path / "again")

    assert not (tmp_path / "again").exists()


def test_a_model_that_changes_while_it_is_prepared_is_told(small: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))

    def change(step: str, _fraction: float | None) -> None:
        if step.startswith("reference"):
            rewrite_quietly(source / "model.safetensors")

    with pytest.raises(ModelUnavailable, match="changed while it was prepared"):
        prepare(source, tmp_path / "made", precision="float32", report=change)

    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_that_is_replaced_while_it_loads_is_read_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_after_the_folder_is_replaced(folder: Path, manifest: Manifest) -> object:
        monkeypatch.setattr(onnx_engine, "load_tokenizers", load_tokenizers)
        with whole_folder(copy, lambda: None) as unfinished:
            shutil.copytree(copy, unfinished, dirs_exist_ok=True)
            write_manifest(replace(manifest, source="another"), unfinished)
        return load_tokenizers(folder, manifest)

    monkeypatch.setattr(onnx_engine, "load_tokenizers", load_after_the_folder_is_replaced)

    engine = load_engine(Settings.read(model_id=str(copy), precision="float32"))

    assert engine.info.model == "another"


@pytest.mark.usefixtures("prepare_here")
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


@pytest.mark.usefixtures("prepare_here")
def test_a_changed_model_is_served_as_it_is_now(small: Path, cache: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(small, tmp_path / "model"))
    settings = Settings.read(model_id=str(source), precision="float32")
    first = fetch_and_prepare(settings)
    rewrite_quietly(source / "model.safetensors")

    second = fetch_and_prepare(settings)

    assert second.folder != first.folder
    assert read_manifest(second.folder).content == content_digest(source)


@pytest.mark.usefixtures("prepare_here")
def test_a_damaged_folder_of_the_cache_is_prepared_again(small: Path, cache: Path) -> None:
    settings = Settings.read(model_id=str(small), precision="float32")
    folder = fetch_and_prepare(settings).folder
    os.truncate(folder / "float32.weights", 100)

    assert fetch_and_prepare(settings).folder == folder
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

    def try_again(*_: object) -> None:
        raise ModelUnavailable("it was tried again")

    monkeypatch.setattr(prepared, "_prepare_in_subprocess", try_again)
    with pytest.raises(UnsupportedModel, match="activation relu"):
        fetch_and_prepare(settings)
    engine = load_engine(settings.model_copy(update={"engine": "auto"}))
    assert engine.info.engine == "torch"

    with monkeypatch.context() as newer:
        newer.setattr(prepared, "_preparer", lambda: "a newer version")
        with pytest.raises(ModelUnavailable, match="it was tried again"):
            fetch_and_prepare(settings)

    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match="it was tried again"):
        fetch_and_prepare(settings)


def test_a_damaged_folder_without_its_weights_is_told(
    small: Path, cache: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Path(shutil.copytree(small, tmp_path / COMMIT))
    monkeypatch.setattr(prepared, "_prepare_in_subprocess", lambda _, folder, *__: shutil.copytree(made, folder))
    folder = prepared.find_or_prepare(snapshot, MODEL).folder
    os.truncate(folder / "float32.weights", 100)
    monkeypatch.setattr(load, "torch_is_installed", lambda: False)

    with pytest.raises(InvalidArtifact, match=r"float32\.weights has 100 bytes"):
        fetch_and_prepare(Settings.read(model_id=MODEL))


def test_an_image_is_not_built_of_a_damaged_folder_nor_without_what_serves_it(
    small: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil_by_a_byte(copy)
    monkeypatch.setenv("MODEL_ID", str(copy))
    assert image.main() == 1
    assert "float32.weights changed since it was prepared" in capsys.readouterr().err

    monkeypatch.setattr(image, "fetch_and_prepare", lambda _: ResolvedModel("a", "main", small))
    assert image.main() == 1
    assert "Set ENGINE=torch" in capsys.readouterr().err


def test_a_file_is_read_once_for_its_digest(small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED_NS", -1)
    first = content_digest(small)
    monkeypatch.setattr(content, "sha256", lambda path: pytest.fail(f"{path} was read again"))

    assert content_digest(small) == first


def test_a_file_of_the_hubs_cache_is_known_by_the_name_of_its_blob(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "sha256", lambda path: pytest.fail(f"{path} was read"))
    snapshot = tmp_path / "models--a--b" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    digests = []
    for blob in ("0" * 64, "1" * 64):
        (snapshot / "model.safetensors").unlink(missing_ok=True)
        (tmp_path / "models--a--b" / "blobs").mkdir(exist_ok=True)
        (tmp_path / "models--a--b" / "blobs" / blob).write_bytes(b"weights")
        (snapshot / "model.safetensors").symlink_to(Path("../../blobs", blob))
        digests.append(content_digest(snapshot))

    assert digests[0] != digests[1]
