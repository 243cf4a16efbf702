"""The documentation at /docs: in the page's look, with the token of the tab, each example ready to send."""

import json
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser import WIDE, url, visiting
from tests.live import TOKEN

pytestmark = pytest.mark.browser

COLOURS = "[document.body, document.querySelector('.opblock')].map((e) => getComputedStyle(e).backgroundColor)"
RESPONSE = ".live-responses-table tbody .response-col_status"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_looks_like_the_page_and_takes_its_token(scheme: Any, demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, color_scheme=scheme) as visit:
        visit.come()
        page = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        visit.page.click(".contents a[href=docs]")
        visit.page.wait_for_selector(".opblock")
        body, card = visit.page.evaluate(COLOURS)
        visit.page.click("[id$=predict_post] .opblock-summary-control")
        example = visit.page.input_value("[id$=predict_post] textarea")
        visit.page.click("[id$=predict_post] .execute")
        status = visit.page.inner_text(f"[id$=predict_post] {RESPONSE}")
        visit.assert_accessible()
        for width in (390, 1280):
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.shoot(f"docs-{scheme}-{width}")
            visit.assert_fits()

        assert body == page
        assert card == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 28, 27)")
        assert "carry the token" in visit.page.inner_text("#token-note")
        assert json.loads(example)["query"] == "What is machine learning?"
        assert status.startswith("200")
        visit.page.click("text=← Embedding service")
        visit.page.wait_for_selector("#search")


def test_without_the_page_s_token_one_can_be_put_in(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.goto(f"{visit.url}docs")
        visit.page.click(".auth-wrapper .authorize")
        visit.page.fill("input[aria-label='auth-bearer-value']", TOKEN)
        visit.page.click(".auth-container:has(input[aria-label='auth-bearer-value']) .authorize")
        visit.page.click(".btn-done")
        visit.page.click("[id$=info_get] .opblock-summary-control")
        visit.page.click("[id$=info_get] .execute")

        assert visit.page.inner_text(f"[id$=info_get] {RESPONSE}").startswith("200")
        assert "Most endpoints need the token" in visit.page.inner_text("#token-note")


def test_every_endpoint_says_in_a_sentence_what_it_does(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.goto(f"{visit.url}docs")
        visit.page.wait_for_selector(".opblock")

        sentences = visit.texts(".opblock-summary-description")
        assert len(sentences) == visit.page.locator(".opblock").count() > 5
        for sentence in sentences:
            assert len(sentence.split()) > 2, sentence
