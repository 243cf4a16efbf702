"""Logs say what the server does, and never a text or a token."""

import asyncio
import json
import logging
from pathlib import Path

import httpx
import pytest

from embedding.api.edge.log import RequestLog
from embedding.api.errors import Errors
from embedding.telemetry.metrics import Metrics
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
    assert "texts=3" in log
    for secret in (*WORDS, TOKEN, "hf_sesame"):
        assert secret not in log


def test_a_failure_is_logged_by_its_place_and_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: object) -> None:
        raise ValueError(WORDS[0])

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=RequestLog(broken, Metrics(), Errors({}), []))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    with caplog.at_level(logging.DEBUG):
        answer = asyncio.run(ask())

    assert answer.status_code == 500
    assert "ValueError at" in caplog.text
    assert "test_logs.py" in caplog.text
    assert WORDS[0] not in caplog.text + answer.text
