"""PRECISION=auto is decided once for a processor, a runtime and a number of threads."""

import json
from pathlib import Path

import pytest

from embedding.model import precision
from embedding.model.fetch.manifest import Manifest, read_manifest
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.precision import Trials, choose_precision


@pytest.fixture
def manifest(prepared_demo: Path) -> Manifest:
    return read_manifest(prepared_demo)


def decide(folder: Path, manifest: Manifest, *, threads: int = 2, float32: float = 0.002) -> tuple[str, list[str]]:
    """The choice, and the precisions that were measured for it."""
    measured = []

    def seconds(name: str) -> float:
        measured.append(name)
        return {"int8": 0.001, "float32": float32}[name]

    return choose_precision("auto", manifest, seconds, Trials(folder, manifest, threads)).precision, measured


def test_a_second_start_chooses_what_the_first_chose_without_a_trial(tmp_path: Path, manifest: Manifest) -> None:
    assert decide(tmp_path / "model", manifest) == ("int8", ["int8", "float32"])
    assert decide(tmp_path / "model", manifest, float32=0.0011) == ("int8", [])


def test_another_processor_or_number_of_threads_is_measured_too(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(tmp_path / "model", manifest)

    assert decide(tmp_path / "model", manifest, threads=1, float32=0.0011) == ("float32", ["int8", "float32"])
    monkeypatch.setattr(precision, "processor", lambda: "another")
    assert decide(tmp_path / "model", manifest, float32=0.0011) == ("float32", ["int8", "float32"])
    monkeypatch.undo()
    assert decide(tmp_path / "model", manifest) == ("int8", [])


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"x": 1}', "null", "\x00"])
def test_a_damaged_memory_is_measured_again(tmp_path: Path, manifest: Manifest, damage: str) -> None:
    decide(tmp_path / "model", manifest)
    (memory,) = tmp_path.iterdir()
    memory.write_text(damage)

    assert decide(tmp_path / "model", manifest) == ("int8", ["int8", "float32"])
    assert decide(tmp_path / "model", manifest) == ("int8", [])


@pytest.mark.parametrize("seconds", [{"int8": 0.001}, {"int8": 0, "float32": 1}, {"int8": "x", "float32": 1}, 7])
def test_a_memory_of_something_else_is_measured_again(tmp_path: Path, manifest: Manifest, seconds: object) -> None:
    decide(tmp_path / "model", manifest)
    (memory,) = tmp_path.iterdir()
    told = json.loads(memory.read_text())
    memory.write_text(json.dumps({key: {"seconds": seconds} for key in told}))

    assert decide(tmp_path / "model", manifest) == ("int8", ["int8", "float32"])


def test_a_folder_that_cannot_be_written_beside_is_measured_at_every_start(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "a file").touch()

    for _ in range(2):
        assert decide(tmp_path / "a file" / "model", manifest) == ("int8", ["int8", "float32"])


def test_the_engine_says_why_and_leaves_the_folder_as_it_is(prepared_demo: Path) -> None:
    before = sorted(path.name for path in prepared_demo.iterdir())
    first, second = (OnnxEngine(prepared_demo).info for _ in range(2))

    assert first.precision == second.precision
    assert "one layer took, at an earlier start, int8" in (second.precision_reason or "")
    assert OnnxEngine(prepared_demo, "int8").info.precision_reason == "PRECISION=int8"
    assert sorted(path.name for path in prepared_demo.iterdir()) == before
