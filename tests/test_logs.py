"""Logs say what the server does, and never a text or a token."""

import json
from pathlib import Path

import httpx

from tests.cli import running

TOKEN = "sesame-token-0123"
WORDS = ["walrusoctave", "quokkafugue", "tapirsonata"]


def test_no_text_and_no_token_reaches_a_log(tiny_gemma: Path, tmp_path: Path) -> None:
    with running(
        tmp_path, "--model", str(tiny_gemma), auth_token=TOKEN, LOG_LEVEL="DEBUG", HF_TOKEN="hf_sesame"
    ) as server:
        server.wait_for("Ready")
        url, key = server.url, {"X-API-Key": TOKEN}
        requests = [
            ("/predict", {"query": WORDS}),
            ("/predict", {"query": WORDS[0], WORDS[1]: 1}),
            ("/predict", {"query": [WORDS[0] * 5000], "truncate": False}),
            (f"/predict?query={WORDS[0]}&token={TOKEN}", {"query": WORDS[1]}),
            (f"/{WORDS[2]}/{TOKEN}", {}),
        ]
        for path, body in requests:
            httpx.post(
                url + path, content=json.dumps(body), headers={"Content-Type": "application/json", **key}, timeout=30
            )
        httpx.post(f"{url}/predict", content=WORDS[0].encode(), headers=key)
        httpx.post(f"{url}/predict", headers={"Authorization": f"Bearer {TOKEN}-wrong"}, json={"query": WORDS[0]})
        log = server.output

    assert "POST /predict 200" in log
    assert "POST /predict 422" in log
    assert "3 texts" in log
    for secret in (*WORDS, TOKEN, "hf_sesame"):
        assert secret not in log
