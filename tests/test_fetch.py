"""Where a model's files come from: fetched once, whole, and every failure in words."""

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from embedding.model import ModelUnavailable
from embedding.model.fetch.weights import check, fetch
from tests.cli import run
from tests.fake_hub import COMMIT, MODEL, Fault, Hub, fake_hub

MODEL_REQUEST = f"/api/models/{MODEL}"
WEIGHTS = f"GET /{MODEL}/resolve/{COMMIT}/model.safetensors"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hub home"


def download(hub: Hub, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("download", "--model", MODEL, HF_ENDPOINT=hub.url, HF_HOME=str(home), ENGINE="torch", **environment)


def requests_of_model(hub: Hub) -> list[str]:
    return [request for request in hub.requests if MODEL in request]


def assert_fails(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr
    (message,) = done.stderr.strip().splitlines()
    for word in (*words, "--demo"):
        assert word in message


def test_a_model_is_fetched_once_and_whole(tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        first = download(hub, home)
        asked = len(requests_of_model(hub))
        second = download(hub, home)

        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert asked > 0
        assert len(requests_of_model(hub)) == asked
    folder = Path(second.stdout.strip())
    for path in folder.rglob("*.safetensors"):
        assert path.read_bytes() == (tiny_gemma / path.relative_to(folder)).read_bytes()


def test_offline_nothing_is_asked_and_the_cache_serves(tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        absent = download(hub, home, HF_HUB_OFFLINE="1")
        download(hub, home)
        hub.requests.clear()
        present = download(hub, home, HF_HUB_OFFLINE="1")

    assert_fails(absent, MODEL, "HF_HUB_OFFLINE", str(home))
    assert present.returncode == 0
    assert hub.requests == []


def test_only_needed_files_are_fetched(tiny_gemma: Path, tmp_path: Path, home: Path) -> None:
    shutil.copytree(tiny_gemma, tmp_path / "model")
    extras = ["pytorch_model.bin", "modeling.py", "onnx/model.onnx", "onnx/config.json", "README.md", "tf_model.h5"]
    for name in extras:
        (tmp_path / "model" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "model" / name).write_text("unneeded")

    with fake_hub(tmp_path / "model") as hub:
        done = download(hub, home)

    assert done.returncode == 0, done.stderr
    assert not [request for request in hub.requests if any(name in request for name in extras)]


def test_the_token_goes_to_the_hub_and_to_no_log(tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma, token="hf_good") as hub:
        done = download(hub, home, HF_TOKEN="hf_good", LOG_LEVEL="DEBUG")

    assert done.returncode == 0, done.stderr
    assert "hf_good" in hub.sent_tokens
    assert "hf_good" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "fault",
    [
        Fault(MODEL_REQUEST, status=500, times=1),
        Fault(MODEL_REQUEST, status=429, times=1),
        Fault(WEIGHTS, status=503, times=1),
        Fault(WEIGHTS, cut=True, times=1),
    ],
    ids=["500", "429", "503 in a file", "cut"],
)
def test_what_passes_is_tried_again(fault: Fault, tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma, fault) as hub:
        done = download(hub, home)

    assert done.returncode == 0, done.stderr
    weights = Path(done.stdout.strip().splitlines()[-1]) / "model.safetensors"
    assert weights.read_bytes() == (tiny_gemma / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("fault", "token", "words"),
    [
        (Fault(MODEL_REQUEST, status=404, code="RepoNotFound"), "", ["not on", "MODEL_ID"]),
        (Fault(MODEL_REQUEST, status=401), "", ["private", "set HF_TOKEN"]),
        (
            Fault(MODEL_REQUEST, status=401, message="Invalid credentials in Authorization header"),
            "hf_bad",
            ["does not accept HF_TOKEN"],
        ),
        (Fault(MODEL_REQUEST, status=403), "hf_weak", ["HF_TOKEN may not read"]),
        (Fault(MODEL_REQUEST, status=403), "", ["private", "set HF_TOKEN"]),
        (Fault("/resolve/", status=403, code="GatedRepo"), "", ["gated", "terms", "set HF_TOKEN"]),
        (Fault("/resolve/", status=403, code="GatedRepo"), "hf_weak", ["gated", "account behind HF_TOKEN"]),
        (Fault(MODEL_REQUEST, status=404, code="RevisionNotFound"), "", ["revision 'main'", "MODEL_REVISION"]),
    ],
    ids=["missing", "private", "bad token", "weak token", "no token", "gated, no token", "gated", "revision"],
)
def test_what_does_not_pass_ends_at_once_and_says_what_to_do(
    fault: Fault, token: str, words: list[str], tiny_gemma: Path, home: Path
) -> None:
    with fake_hub(tiny_gemma, fault) as hub:
        done = download(hub, home, HF_TOKEN=token)

    assert_fails(done, MODEL, *words)
    assert "Trying again" not in done.stdout


@pytest.mark.parametrize("status", [500])
def test_a_hub_that_stays_down_ends_start_up_after_a_few_tries(status: int, tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma, Fault(MODEL_REQUEST, status=status)) as hub:
        done = download(hub, home)

    assert_fails(done, str(status))
    assert done.stdout.count("Trying again") == 3


def test_no_network_ends_start_up_after_a_few_tries(tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        pass

    done = download(hub, home)

    assert_fails(done, hub.url, "network")


def test_half_a_file_is_never_taken_for_a_whole_one(tiny_gemma: Path, home: Path) -> None:
    with fake_hub(tiny_gemma, Fault(WEIGHTS, status=404, code="EntryNotFound")) as hub:
        failed = download(hub, home)
        hub.faults.clear()
        mended = download(hub, home)

    assert failed.returncode == 1
    assert mended.returncode == 0, mended.stderr
    weights = Path(mended.stdout.strip().splitlines()[-1]) / "model.safetensors"
    assert weights.read_bytes() == (tiny_gemma / "model.safetensors").read_bytes()


def test_a_full_disk_is_named(tiny_gemma: Path, home: Path) -> None:
    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with fake_hub(tiny_gemma) as hub:
        done = run(
            "download",
            "--model",
            MODEL,
            preexec=small_files_only,
            ENGINE="torch",
            HF_ENDPOINT=hub.url,
            HF_HOME=str(home),
        )

    assert_fails(done, "no room", "HF_HOME")


def test_an_unwritable_cache_is_named(tiny_gemma: Path) -> None:
    with fake_hub(tiny_gemma) as hub:
        done = download(hub, Path("/dev/null/home"))

    assert_fails(done, "/dev/null/home", "HF_HOME")


@pytest.mark.parametrize("name", ["/no/such/folder", "./missing", "~/no-such-folder-here", "a/b/c"])
def test_a_missing_folder_is_named(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="there is no folder"):
        fetch(name)


@pytest.mark.parametrize("name", ["two words", "owner/na me", "a--b/c..d", ""])
def test_a_name_that_no_hub_has_is_refused(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailable, match=r"neither a folder nor a hub id|no SentenceTransformer"):
        fetch(name)


def _no_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()


def _broken_modules(folder: Path) -> None:
    (folder / "modules.json").write_text("{")


def _foreign_code(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "modeling_custom.CustomTransformer"
    (folder / "modules.json").write_text(json.dumps(modules))


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _lost_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_an_index_that_was_left_beside_the_whole_weights_does_not_count(tiny_gemma: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_gemma, tmp_path / "model"))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    check(folder)


def _unreadable(folder: Path) -> None:
    (folder / "model.safetensors").chmod(0)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_no_modules, "no modules.json"),
        (_broken_modules, "can't be read"),
        (_foreign_code, "code of its own"),
        (_no_weights, "no weights"),
        (_pickled_weights, "pickled"),
        pytest.param(
            _unreadable, "may not read: model.safetensors", marks=pytest.mark.skipif(not os.getuid(), reason="root may")
        ),
        (_lost_shard, "lacks model-00002-of-00002.safetensors"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(damage, words: str, tiny_gemma: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_gemma, tmp_path / "model"))
    damage(folder)

    with pytest.raises(ModelUnavailable, match=words):
        check(folder)
