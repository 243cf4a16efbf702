"""What docs/api.md prints works as printed."""

import os
import re
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.cli import ROOT
from tests.live import TOKEN

PAGE = (ROOT / "docs/api.md").read_text()
EXAMPLES = [block for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "curl" in block]


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.splitlines()[-1][:60] for example in EXAMPLES])
def test_the_curl_lines_are_answered(gemma: httpx.Client, example: str, tmp_path: Path) -> None:
    environment = {**os.environ, "EMBEDDING_URL": str(gemma.base_url).rstrip("/"), "auth_token": TOKEN}
    strict = 'set -e\ncurl() { command curl --silent --show-error --fail-with-body "$@"; }\n'

    done = subprocess.run(
        ["bash", "-c", strict + example],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for file in tmp_path.glob("*.npy"):
        assert np.load(file).shape[0] == 2


def test_every_endpoint_is_on_the_page(gemma: httpx.Client) -> None:
    for path in gemma.get("/openapi.json").json()["paths"]:
        assert path.partition("/{")[0] in PAGE


def test_every_field_is_on_the_page(gemma: httpx.Client) -> None:
    schemas = gemma.get("/openapi.json").json()["components"]["schemas"]

    for name in ("PredictRequest", "EmbeddingsRequest", "CohereEmbedRequest", "EmbedRequest", "OllamaEmbedRequest"):
        assert [field for field in schemas[name]["properties"] if f"`{field}`" not in PAGE] == []
