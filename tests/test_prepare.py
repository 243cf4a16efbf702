"""What prepare writes, what it refuses, and that it leaves nothing half done."""

import json
import resource
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedding.model import ModelUnavailable
from embedding.model.encoder import OnnxEncoder
from embedding.model.errors import InvalidArtifact, UnsupportedModel
from embedding.model.fetch.manifest import read_manifest, verify
from embedding.model.fetch.recordings import RECORDINGS
from embedding.model.load import load_engine
from embedding.model.onnx_engine import OnnxEngine
from embedding.model.prepare import fidelity, prepare, tokens
from embedding.model.prepare.original import LoadedModel
from embedding.model.prepare.quantize import quantize
from embedding.model.prepare.recorded import RecordedModel
from embedding.settings import Settings
from tests.cli import run, running
from tests.live import live


@pytest.mark.parametrize("model", ["prepared_gemma", "prepared_demo"])
def test_both_precisions_pass_the_check(model: str, request: pytest.FixtureRequest) -> None:
    manifest = read_manifest(request.getfixturevalue(model))

    assert manifest.precisions == ["int8", "float32"]
    assert manifest.fidelity["float32"].minimum > 1 - 1e-5
    assert manifest.fidelity["int8"].mean > 0.9985
    assert manifest.fidelity["int8"].minimum > 0.99


def test_sentences_it_did_not_see_are_as_near(demo_model: Path, prepared_demo: Path) -> None:
    text = "the red old cold river house bank reads sells paints slowly again under over near who why 7 of"
    words = np.array(text.split())
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(500)]

    asked = fidelity.alternating(texts)
    expected = LoadedModel(demo_model).vectors(asked)
    report = fidelity.check(OnnxEngine(prepared_demo, "int8"), asked, expected)

    assert report.mean > 0.9985
    assert report.minimum > 0.99


def test_what_was_recorded_is_what_sentence_transformer_says(demo_model: Path) -> None:
    recorded, loaded = RecordedModel(demo_model, RECORDINGS / "all-minilm-l6-v2.json"), LoadedModel(demo_model)
    texts = fidelity.alternating(fidelity.sentences()[1])[::8]

    np.testing.assert_allclose(recorded.vectors(texts), loaded.vectors(texts), atol=1e-6)
    for text in tokens.ODD_TEXTS.values():
        assert recorded.token_ids("query", text) == loaded.token_ids("query", text)


def test_a_folder_made_on_the_command_line_is_served_without_the_model(tiny_gemma: Path, tmp_path: Path) -> None:
    made = run("prepare", "--model", str(tiny_gemma), "--output", str(tmp_path / "made"))
    assert made.returncode == 0, made.stderr
    assert "cosine mean" in made.stdout

    with live(model_id=str(tmp_path / "made"), precision="float32") as client:
        served = client.post("/predict", json={"query": "lattice"}).json()

    expected = SentenceTransformer(str(tiny_gemma), device="cpu").encode_query("lattice")
    np.testing.assert_allclose(served, expected, atol=1e-5)


def test_the_start_up_line_says_engine_precision_threads_and_fidelity(prepared_demo: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--model", str(prepared_demo), "--precision", "int8", auth_token="t") as server:
        said = server.wait_for("Ready")

    for word in ("onnx", "cpu", "int8", "threads", "fidelity 0.999"):
        assert word in said


def test_info_says_what_computes_the_vectors(prepared_gemma: Path) -> None:
    with live(model_id=str(prepared_gemma), precision="int8") as client:
        info = client.get("/info").json()

    assert (info["engine"], info["device"], info["precision"], info["dimension"]) == ("onnx", "cpu", "int8", 96)
    assert 0.9985 < info["fidelity"] <= 1
    assert info["threads"] >= 1
    assert info["max_input_length"] == 192


def test_int8_over_http_is_near_and_the_same_beside_any_neighbours(prepared_gemma: Path, gemma: httpx.Client) -> None:
    texts = [f"text {i} " * (i + 1) for i in range(16)]
    with live(model_id=str(prepared_gemma), precision="int8") as client:
        together = np.array(client.post("/predict", json={"query": texts}).json())
        alone = np.array([client.post("/predict", json={"query": text}).json() for text in texts])
    reference = np.array(gemma.post("/predict", json={"query": texts}).json())

    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert (together * reference).sum(axis=1).min() > 0.99


def test_the_manifest_knows_its_files(prepared_demo: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prepared_demo, tmp_path / "copy"))
    verify(copy)

    with (copy / "int8.weights").open("r+b") as file:
        file.write(b"\x01\x02\x03")
    with pytest.raises(InvalidArtifact, match=r"int8\.weights changed"):
        verify(copy)

    (copy / "tokenizer.json").unlink()
    with pytest.raises(InvalidArtifact, match=r"lacks tokenizer\.json"):
        load_engine(Settings.read(model_id=str(copy)))


def test_the_manifest_says_where_the_model_came_from(tiny_gemma: Path, prepared_gemma: Path) -> None:
    manifest = read_manifest(prepared_gemma)

    assert (manifest.source, manifest.revision) == (str(tiny_gemma), None)
    assert (manifest.dimension, manifest.max_tokens, manifest.pooling) == (96, 192, "mean")
    assert {"onnx", "onnxruntime", "torch"} <= set(manifest.tools)


def test_a_full_disk_leaves_nothing_and_is_named(demo_model: Path, tmp_path: Path) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = run("prepare", "--model", str(demo_model), "--output", str(tmp_path / "out"), preexec=small_files_only)

    assert done.returncode == 1
    assert str(tmp_path / "out") in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_precision_below_the_bar_is_not_offered(
    tiny_gemma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "MEAN_BAR", 0.99999)

    manifest = prepare(tiny_gemma, tmp_path / "model")

    assert manifest.precisions == ["float32"]
    assert "the bar is 0.99999" in manifest.fidelity["int8"].reason
    assert not list((tmp_path / "model").glob("int8*"))
    assert OnnxEncoder(tmp_path / "model").precision == "float32"
    with pytest.raises(ModelUnavailable, match=r"'int8' is not offered: .* the bar is"):
        load_engine(Settings.read(model_id=str(tmp_path / "model"), precision="int8"))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"model_type": "t5"}, "a t5 encoder"),
        ("config.json", {"hidden_act": "relu"}, "activation relu"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, r"pooling \('max', 'mean'\)"),
        ("1_Pooling/config.json", {"include_prompt": False}, "leaves the prompt out"),
        ("config.json", {"is_decoder": True}, "decoder"),
    ],
)
def test_what_is_not_supported_is_said(
    demo_model: Path, tmp_path: Path, file: str, change: dict[str, object], message: str
) -> None:
    copy = Path(shutil.copytree(demo_model, tmp_path / "copy"))
    config = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(config | change))

    with pytest.raises(UnsupportedModel, match=message):
        prepare(copy, tmp_path / "model")

    assert not (tmp_path / "model").exists()


def test_a_normalization_that_is_not_last_is_refused(tiny_gemma: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_gemma, tmp_path / "copy"))
    modules = json.loads((copy / "modules.json").read_text())
    (copy / "modules.json").write_text(json.dumps(modules[:2] + modules[-1:] + modules[2:-1]))

    with pytest.raises(UnsupportedModel, match="Normalize before"):
        prepare(copy, tmp_path / "model")


def test_what_the_onnx_engine_lacks_is_served_by_torch(demo_model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(demo_model, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))

    engine = load_engine(Settings.read(model_id=str(copy)))

    assert engine.info.engine == "torch"
    with pytest.raises(UnsupportedModel, match="activation relu"):
        load_engine(Settings.read(model_id=str(copy), engine="onnx"))


def test_neighbouring_integers_never_saturate_sixteen_bits() -> None:
    rng = np.random.default_rng(0)
    inputs, weight = rng.standard_normal((400, 64)), rng.standard_normal((64, 32)).astype(np.float32)

    integers, scales = quantize(weight, (inputs.T @ inputs).astype(np.float32))

    assert np.abs(integers[::2].astype(int) + integers[1::2]).max() <= 128
    error = np.linalg.norm(inputs @ (integers * scales - weight)) / np.linalg.norm(inputs @ weight)
    assert error < 0.02
