"""The lines of docs/modal.md, as far as they can be run without an account."""

import ast
import inspect
import re
import shlex
import subprocess
import sys

import pytest

from embedding.on_modal.choices import known
from tests.cli import ROOT
from tests.test_readme import PAGES, blocks

modal = pytest.importorskip("modal")

SECTION = PAGES["docs/modal.md"]
COMMANDS = sorted(
    {line for block in blocks("sh") for line in block.splitlines() if line.startswith("modal ")}
    | {"modal volume rm", "modal workspace proxy-tokens create", "modal app stop embedding"}
)


@pytest.mark.parametrize("line", [line for line in COMMANDS if "modal setup" not in line])
def test_modals_command_line_has_this_command_and_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    options = {word for word in words if word.startswith("--")} if "run" not in words else {"--detach"}
    while words:
        told = subprocess.run(
            [sys.executable, "-m", "modal", *words, "--help"], capture_output=True, text=True, timeout=60, check=False
        )
        if told.returncode == 0 and "Usage: modal " + " ".join(words) in told.stdout.replace("python -m ", ""):
            break
        words.pop()

    assert words, line
    assert all(option in told.stdout for option in options), told.stdout


def test_the_job_has_the_options_of_the_page() -> None:
    import modal_app

    parameters = set(inspect.signature(modal_app.main.info.raw_f).parameters)

    for option in re.findall(
        r"`--([a-z-]+)[` ]", SECTION[SECTION.index("## Whole corpora") : SECTION.index("## Operate")]
    ):
        assert option in ("detach", "force") or option.replace("-", "_") in parameters, option


def test_each_variable_of_a_deploy_is_explained() -> None:
    rows = [line for line in (SECTION + PAGES["docs/options.md"]).splitlines() if line.startswith("|")]
    explained = set(re.findall(r"`([A-Z_]+)`", "\n".join(rows)))

    assert set(known()) <= explained
    assert re.fullmatch(r"\d+\.\d+\.\d+", modal.__version__)
    assert f"pip install modal=={modal.__version__}" in SECTION
    assert f"modal=={modal.__version__}\n" in (ROOT / "tests/requirements.txt").read_text()


def test_the_python_lines_name_what_the_app_has() -> None:
    import modal_app

    calls = [block for block in blocks("python") if "import modal" in block]
    found = {
        node.args[1].value: node.args[0].value
        for block in calls
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_name"
    }

    assert found == {"Embedding": "embedding", "embed_corpus": "embedding"}
    assert modal_app.app.name == "embedding"
    assert all(hasattr(modal_app, name) for name in found)


def test_the_scheduled_function_is_declared_as_printed() -> None:
    (block,) = [block for block in blocks("python") if "modal.Cron" in block]
    namespace: dict[str, object] = {"__name__": "nightly"}
    source = block.replace("@nightly.function(", "@nightly.function(serialized=True, ")

    exec(compile(source, "nightly.py", "exec"), namespace)

    assert isinstance(namespace["embed_papers"], modal.Function)
