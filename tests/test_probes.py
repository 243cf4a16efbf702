"""Probes tell a platform whether to send requests here, and whether to start anew."""

import asyncio
from typing import Any

import httpx
import pytest

from embedding.api import create_app
from embedding.serving import Service
from embedding.settings import Settings
from tests.live import TOKEN


class Stub(Service):
    """A service in any state."""

    ready = live = True

    def __init__(self, ready: bool, live: bool) -> None:
        super().__init__(lambda report: pytest.fail("nothing is loaded here"))
        self.ready, self.live = ready, live


def probe(service: Service, draining: bool = False) -> dict[str, tuple[int, str]]:
    app = create_app(Settings.read(auth_token=TOKEN), service)
    if draining:
        app.state.drain.begin()

    async def ask() -> dict[str, tuple[int, str]]:
        answers: dict[str, Any] = {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
            for path in ("/health", "/readyz", "/livez"):
                answer = await client.get(path)
                answers[path] = (answer.status_code, answer.text)
        return answers

    return asyncio.run(ask())


OK, NOT_READY, NOT_LIVE = (200, "ok"), (503, "not ready"), (503, "not live")


@pytest.mark.parametrize(
    ("ready", "live", "draining", "readyz", "livez"),
    [
        (True, True, False, OK, OK),
        (False, True, False, NOT_READY, OK),
        (True, False, False, NOT_READY, NOT_LIVE),
        (True, True, True, NOT_READY, OK),
    ],
    ids=["ready", "loading", "hung", "stopping"],
)
def test_a_probe_says_what_to_do(ready: bool, live: bool, draining: bool, readyz: object, livez: object) -> None:
    answers = probe(Stub(ready, live), draining)

    assert answers == {"/health": readyz, "/readyz": readyz, "/livez": livez}
