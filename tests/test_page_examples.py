"""What the page offers to copy works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.browser import url, visiting
from tests.live import TOKEN

pytestmark = pytest.mark.browser


def run(*command: str) -> Any:
    environment = {**os.environ, "auth_token": TOKEN}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("choice", ["query", "sentences", "documents"])
def test_what_is_copied_runs(choice: str, demo: httpx.Client, browser: Browser, tmp_path: Path) -> None:
    copied = {}
    with visiting(browser, url(demo), permissions=["clipboard-read", "clipboard-write"]) as visit:
        visit.open()
        visit.page.fill("#query", "it's a “query” with $HOME, \\n and `ticks`")
        visit.page.fill("#documents", "Don't panic\n\nLösung: \U0001f9ed\tend")
        visit.page.check(f"[name=request][value={choice}]")
        for language in ("curl", "python", "javascript"):
            visit.page.click(f".snippet:has(#code-{language}) button")
            visit.page.wait_for_selector(f".snippet:has(#code-{language}) button:has-text('Copied')")
            copied[language] = visit.page.evaluate("navigator.clipboard.readText()")
            assert copied[language] == visit.page.text_content(f"#code-{language}")
        texts = {
            "query": visit.page.input_value("#query"),
            "sentences": visit.page.input_value("#sentences").splitlines(),
            "documents": visit.page.input_value("#documents").split("\n\n"),
        }[choice]
    expected = demo.post(
        "/predict", json={"query": texts, "task": "document" if choice == "documents" else "query"}
    ).json()
    (tmp_path / "example.mjs").write_text(copied["javascript"])

    answers = [run("bash", "-c", copied["curl"]), run(sys.executable, "-c", copied["python"])]
    if shutil.which("node"):
        answers.append(run("node", str(tmp_path / "example.mjs")))

    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert all(TOKEN not in code for code in copied.values())


def test_a_request_has_no_more_texts_than_the_server_takes(demo: httpx.Client, browser: Browser) -> None:
    limit = demo.get("/info").json()["max_client_batch_size"]
    with visiting(browser, url(demo)) as visit:
        visit.open()
        visit.page.check("[name=request][value=documents]")
        visit.page.fill("#documents", "\n".join(f"document {n}" for n in range(limit + 1)))

        code = visit.page.text_content("#code-curl") or ""
        assert f'"document {limit - 1}"' in code
        assert f'"document {limit}"' not in code
        assert visit.page.inner_text("#part-note").startswith(f"The first {limit} of ")
