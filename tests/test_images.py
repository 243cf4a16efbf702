"""What an image makes ready when it is built, and finds again when it runs, with the weights gone."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from embedding.model import __main__ as image
from embedding.model.errors import UnsupportedModel
from embedding.model.fetch import prepared
from embedding.model.fetch.content import content_digest
from embedding.model.fetch.manifest import read_manifest, write_manifest
from embedding.model.fetch.resolved import ResolvedModel
from embedding.settings import Settings
from tests.cli import ROOT
from tests.fake_hub import COMMIT, MODEL, fake_hub

VERSIONS = ("1" * 40, "2" * 40)  # as the hub's cache names its snapshots
LOAD = """
from embedding.model import ModelUnavailable, load
from embedding.settings import Settings
load.torch_is_installed = lambda: False
try:
    print(load.load_engine(Settings.read()).info)
except ModelUnavailable as error:
    print(error)
"""


def python(*arguments: str, **environment: str) -> str:
    """What a process of its own prints, at the end of which all went well."""
    given = {**os.environ, "MODEL_ID": MODEL, **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=given, capture_output=True, text=True, check=True
    ).stdout


def test_a_prepared_model_is_found_by_its_name_when_weights_and_torch_are_gone(
    tiny_gemma: Path, tmp_path: Path
) -> None:
    home = {"HF_HOME": str(tmp_path)}
    with fake_hub(tiny_gemma) as hub:
        built = python("-m", "embedding.model", ENGINE="onnx", HF_ENDPOINT=hub.url, **home)
    shutil.rmtree(tmp_path / "hub")
    folder = Path(built.splitlines()[-1])

    loaded = python("-c", LOAD, **home)
    others = [python("-c", LOAD, PRECISION="float32", **home), python("-c", LOAD, MODEL_REVISION=COMMIT, **home)]

    assert loaded.startswith("onnx on cpu, int8")
    assert read_manifest(folder).precisions == ["int8"]
    assert not [*folder.glob("float32*"), *folder.glob("*.trial.*")]
    assert re.search(r"downloaded \d+ % of", built)
    for said in (*others, python("-c", LOAD, ENGINE="torch", **home)):
        assert "no torch here" in said


def test_the_step_that_prepares_has_all_files_that_it_imports(tmp_path: Path) -> None:
    lines = re.findall(r"^COPY ((?:embedding/\S+ )+)embedding/", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(lines).split():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)

    code = "import embedding.model.__main__, embedding.model.prepare.__main__, embedding.model.torch_engine"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)


def test_a_name_leads_to_what_was_prepared_last(
    prepared_gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(source: Path, folder: Path, *_: object) -> None:
        shutil.copytree(prepared_gemma, folder)
        write_manifest(replace(read_manifest(folder), content=content_digest(source)), folder)

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(prepared, "_prepare", prepare)
    for version in VERSIONS:
        (tmp_path / version).mkdir()
        (tmp_path / version / "config.json").write_text(version)

    first, second = (prepared.find_or_prepare(tmp_path / version, MODEL) for version in VERSIONS)

    assert first.folder != second.folder
    assert prepared.find_prepared(MODEL) == second
    assert prepared.find_or_prepare(tmp_path / VERSIONS[0], MODEL) == first
    assert prepared.find_prepared(MODEL) == first


@pytest.mark.parametrize(("refused", "taken"), [((), "int8"), (("int8",), "float32")])
def test_an_image_holds_the_smallest_precision_that_is_near_enough(
    refused: tuple[str, ...], taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready(settings: Settings) -> ResolvedModel:
        if settings.precision in refused:
            raise UnsupportedModel("too far off")
        return ResolvedModel(MODEL, "main", Path(settings.precision))

    monkeypatch.setattr(image, "fetch_and_prepare", ready)

    assert image.prepare_smallest(Settings.read(engine="onnx")).folder == Path(taken)
    assert image.prepare_smallest(Settings.read(engine="onnx", precision="float32")).folder == Path("float32")
    assert image.prepare_smallest(Settings.read(engine="torch")).folder == Path("auto")


def test_an_image_whose_model_fits_no_precision_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def ready(settings: Settings) -> ResolvedModel:
        raise UnsupportedModel("a t5 encoder")

    monkeypatch.setattr(image, "fetch_and_prepare", ready)

    with pytest.raises(UnsupportedModel, match="t5"):
        image.prepare_smallest(Settings.read(engine="onnx"))
