"""What the README prints works as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from embedding.settings import DEFAULT_MODEL, CorpusSettings, Settings
from tests.cli import ROOT
from tests.live import TOKEN

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shell_block(words: str) -> str:
    (block,) = [block for block in blocks("sh") if words in block]
    return block


def run(*command: str, server: httpx.Client) -> str:
    environment = {**os.environ, "EMBEDDING_URL": str(server.base_url).rstrip("/"), "auth_token": TOKEN}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_curl_line_answers_a_vector(demo: httpx.Client) -> None:
    lines = re.sub(r"^export .*\n", "", shell_block("EMBEDDING_URL/predict"))

    assert re.fullmatch(r"\[-?0\.\d+(,-?[\de.-]+){383}\]", run("bash", "-c", lines, server=demo))


def test_the_python_example_runs(demo: httpx.Client) -> None:
    (example,) = [block for block in blocks("python") if "httpx" in block and "duckdb" not in block]

    assert run(sys.executable, "-c", example, server=demo) == "2 vectors of 384\n"


def test_the_client_s_example_runs(demo: httpx.Client) -> None:
    (example,) = [block for block in blocks("python") if "EmbeddingClient" in block]

    assert run(sys.executable, "-c", example, server=demo) == "2 vectors of 384\nbest: 0\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_javascript_example_runs(demo: httpx.Client, tmp_path: Path) -> None:
    (example,) = blocks("javascript")
    (tmp_path / "example.mjs").write_text(example)

    assert run("node", str(tmp_path / "example.mjs"), server=demo) == "a vector of 384\n"


def test_every_option_is_listed_with_its_default_and_meaning() -> None:
    rows = {row[0].lower(): row for row in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)}

    for name, field in (Settings.model_fields | CorpusSettings.model_fields).items():
        _, default, meaning = rows[name]
        assert meaning == field.description
        if name not in ("auth_token", "hf_token"):
            assert default == f"`{field.default}`"


def test_the_tests_are_run_as_ci_runs_them() -> None:
    assert "pytest" in shell_block("tests/requirements.txt")
    assert "README.md" in (ROOT / ".ci/run").read_text()


def test_the_front_matter_makes_a_space() -> None:
    from huggingface_hub import SpaceCardData
    from huggingface_hub.repocard import RepoCard

    card = RepoCard.load(ROOT / "README.md").data.to_dict()
    space = SpaceCardData(**card)

    assert (space.sdk, space.app_port, space.models) == ("docker", 7860, [DEFAULT_MODEL])
    assert len(card["short_description"]) <= 60
