"""`pip install .`: all that the package needs is in it, and the client is to be had alone."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cli import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", str(ROOT), "--wheel-dir", str(folder))
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", str(wheel), "--target", str(folder))
    return folder


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-deps", "--no-index"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def run(*command: str, installed: Path) -> str:
    """What a command prints, run with the installed package and away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        command, cwd=installed, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def pins(*files: str) -> dict[str, Requirement]:
    lines = [line for file in files for line in (ROOT / file).read_text().splitlines()]
    return named(line for line in lines if line and not line.startswith(("#", "-r")))


def named(lines: Iterable[str]) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, lines)}


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embedding").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("embedding/")}

    assert packed == files
    assert "embedding/py.typed" in packed


def test_the_command_is_installed(installed: Path) -> None:
    assert "prepare" in run(sys.executable, str(installed / "bin/embedding"), "--help", installed=installed)


def test_the_page_is_found_where_it_is_installed(installed: Path) -> None:
    code = "from embedding.api.page import HERE, page_router; page_router(); print(HERE)"

    assert run(sys.executable, "-c", code, installed=installed).startswith(str(installed))


def test_the_command_says_what_to_install_where_there_is_the_client_alone(installed: Path) -> None:
    code = """
import sys
sys.modules |= dict.fromkeys(["pydantic", "pydantic_settings", "fastapi"])  # to import them fails
import runpy
runpy.run_module("embedding", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=installed, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 1
    assert re.fullmatch(r"error: pydantic\w* is not installed\..* its extra \[serve\].*\n", done.stderr)


def test_the_client_needs_nothing_of_the_service(installed: Path) -> None:
    absent = (named(EXTRAS["serve"] + EXTRAS["all"][1:]).keys() | {"onnxruntime"}) - named(EXTRAS["client"]).keys()
    code = f"""
import sys
sys.modules |= dict.fromkeys({sorted(name.replace("-", "_") for name in absent)})  # to import them fails
from embedding.client import AsyncEmbeddingClient, EmbeddingClient
print(EmbeddingClient("http://127.0.0.1:1", "token"), AsyncEmbeddingClient.__module__)
"""

    assert "EmbeddingClient('http://127.0.0.1:1')" in run(sys.executable, "-c", code, installed=installed)
    assert named(EXTRAS["client"]).keys() == {"httpx", "numpy"}


@pytest.mark.parametrize(("extra", "file"), [("serve", "embedding/requirements-demo.txt"), ("all", "requirements.txt")])
def test_what_a_home_installs_is_what_an_extra_asks_for(extra: str, file: str) -> None:
    asked, installed = named(EXTRAS["serve"]), pins("embedding/requirements.txt", file)
    if extra == "serve":
        asked = named(EXTRAS["client"]) | asked  # the demo is to be used, too
    if extra == "all":
        assert EXTRAS["all"][0] == "embedding[client,serve]"
        asked |= named(EXTRAS["all"][1:])

    assert asked.keys() == installed.keys()
    for name, pin in installed.items():
        (version,) = (part.version for part in pin.specifier)
        assert version in asked[name].specifier, name


def test_the_same_is_pinned_wherever_it_is_named() -> None:
    files = ("requirements.txt", "embedding/requirements-demo.txt", "tests/requirements.txt")
    lines = [str(pin) for file in files for pin in pins(file).values()]

    assert len({line.split("==")[0] for line in lines}) == len(set(lines))
