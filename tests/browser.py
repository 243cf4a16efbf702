"""A real Chromium that visits the page, and notes whatever should not happen on the way."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.cli import ROOT
from tests.live import TOKEN

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS") or ROOT / ".artifacts" / "screenshots")
PATIENCE_MS = 90_000
TYPING_MS = 550  # longer than the page waits for the next key
WIDE: Any = {"width": 1280, "height": 900}
GRAVE = ("serious", "critical")


def url(server: httpx.Client) -> str:
    return str(server.base_url).rstrip("/") + "/"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser named by CHROMIUM, or the system's own; skips where there is none."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium: install it, or name its path by CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page of the server at `url` in a browser of its own."""

    url: str
    context: BrowserContext
    page: Page
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, faults of the page, and requests to another host."""

    def give_token(self, token: str = TOKEN) -> None:
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")

    def open(self) -> None:
        """Come as a visitor without a token, and see the recorded example."""
        self.page.goto(self.url)
        self.page.wait_for_selector("[data-state=ready]")
        self.settle()

    def come(self, *views: str) -> None:
        """Come as a visitor with the token, and see the samples in all `views`, or some, by the server."""
        self.page.goto(self.url)
        self.give_token()
        self.page.wait_for_selector("#token-said:not(:empty)")
        self.settle(*views)

    def settle(self, *views: str) -> None:
        """Wait until what the views show is of what is in their fields."""
        self.page.wait_for_timeout(TYPING_MS)
        for view in views or ("search", "compare"):
            self.page.wait_for_selector(f"#{view}[aria-busy=false]:not(.stale)")

    def ask(self, query: str) -> None:
        self.page.fill("#query", query)
        self.settle("search")

    def search_in(self, documents: str) -> None:
        self.page.fill("#documents", documents)
        self.settle("search")

    def say(self, sentences: str) -> None:
        self.page.fill("#sentences", sentences)
        self.settle("compare")

    def map_is_laid_out(self, room: str = "#documents-map") -> None:
        self.page.wait_for_selector(f"{room}[data-settled=true]")

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def facts(self, place: str) -> dict[str, str]:
        """The terms and descriptions of a list, shown or not."""
        terms, values = self.page.locator(f"{place} dt"), self.page.locator(f"{place} dd")
        return dict(zip(terms.all_text_contents(), values.all_text_contents(), strict=True))

    def wait_for(self, count: int, selector: str) -> None:
        expect(self.page.locator(selector)).to_have_count(count, timeout=PATIENCE_MS)

    def sent(self) -> list[Any]:
        """The bodies of the requests for vectors so far."""
        return [request.post_data_json for request in self.requests if request.url.endswith("/predict")]

    def shoot(self, name: str, view: str | None = None) -> None:
        """Keep a picture of the whole page, or of one view."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.evaluate("document.querySelector('.contents')?.style.setProperty('position', 'static')")
        if view:
            self.page.locator(view).screenshot(path=path)
        else:
            self.page.screenshot(path=path, full_page=True)

    def assert_accessible(self) -> None:
        found = Axe().run(self.page).response["violations"]
        grave = [f"{v['id']}: {[n['html'] for n in v['nodes']]}" for v in found if v["impact"] in GRAVE]
        assert not grave, grave

    def assert_fits(self) -> None:
        """Nothing sticks out to the side."""
        wide, shown = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= shown


@contextmanager
def visiting(browser: Browser, url: str, *, refusals: bool = False, **options: Any) -> Iterator[Visit]:
    """A visit with the context's `options`, in which nothing is complained of; with `refusals`, requests may fail."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(url, context, context.new_page())
    visit.page.on("request", lambda request: visit.requests.append(request))  # a built-in method won't do
    visit.page.on("console", lambda m: m.type in ("error", "warning") and visit.complaints.append(m.text))
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        yield visit
    finally:
        context.close()
    complaints = [text for text in visit.complaints if not (refusals and text.startswith("Failed to load resource"))]
    assert not complaints
    assert [r.url for r in visit.requests if not r.url.startswith((url, "data:"))] == []
