"""Shortening on the page: what a search keeps with fewer numbers and fewer bits, and what that costs."""

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.browser import WIDE, url, visiting
from tests.test_page_compare import at_dimensions

pytestmark = pytest.mark.browser


def recall(full: np.ndarray, short: np.ndarray) -> float:
    """Of each row's ten nearest others in `full`, the mean share that is so in `short`."""

    def first(rows: np.ndarray) -> np.ndarray:
        scores = rows @ rows.T
        np.fill_diagonal(scores, -np.inf)
        return np.argsort(-scores, axis=1, kind="stable")[:, :10]

    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(first(full), first(short), strict=True)]))


def test_recall_and_bytes_follow_the_slider_and_the_format(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.route("**/status", at_dimensions(384, 256, 128))
        visit.come()
        documents = visit.page.input_value("#documents").split("\n\n")
        asked = len(visit.sent())
        whole = visit.facts("#shorten-facts")
        visit.page.press("#dimension-of-search", "Home")
        cut = visit.facts("#shorten-facts")
        visit.page.check("[name=dimension-of-search-format][value=binary]")
        binary = visit.facts("#shorten-facts")
        visit.shoot("shorten", "#shorten")
    vectors = np.array(demo.post("/predict", json={"query": documents, "task": "document"}).json())
    short = vectors[:, :128] / np.linalg.norm(vectors[:, :128], axis=1, keepdims=True)

    assert (whole["Matches kept"][:5], whole["A million vectors"][:6]) == ("100 %", "1.5 GB")
    assert cut["Matches kept"].startswith(f"{recall(vectors, short):.0%}".replace("%", " %"))
    assert cut["A million vectors"].startswith("0.5 GB3 times less than 1.5 GB")
    assert binary["Matches kept"].startswith(f"{recall(vectors, np.sign(short)):.0%}".replace("%", " %"))
    assert binary["A million vectors"].startswith("16 MB96 times less")
    assert len(visit.sent()) == asked


def test_every_choice_is_shown_and_can_be_taken(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        expect(visit.page.locator("#choices b", has_text="…")).to_have_count(0)
        cells = visit.texts("#choices button")
        visit.page.click("#choices [data-dimension='192'][data-format=int8]")

        assert len(cells) == 12
        assert cells[3].split("\n")[0].startswith("100 %")
        assert visit.page.locator("#choices [aria-pressed=true]").count() == 1
        assert visit.page.get_attribute("#dimension", "aria-valuetext") == "192 of 384 numbers"
        assert visit.page.is_checked("[name=dimension-format][value=int8]")
        assert 0 < int(visit.page.get_attribute("#ranks", "data-kept") or 0) <= 10


def test_a_model_not_trained_to_be_cut_may_be_cut_but_it_is_said(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.route("**/status", at_dimensions(384))
        visit.come()

        assert visit.texts("#shorten-cutter .ticks span") == ["48", "96", "192", "384"]
        assert "not trained to be cut" in visit.page.inner_text("#shorten-note")
        visit.page.unroute("**/status")
        visit.page.route("**/status", at_dimensions(384, 256))
        visit.page.reload()
        visit.settle()
        assert "not trained" not in visit.page.inner_text("#shorten-note")


def test_a_few_documents_are_too_few_for_a_recall_and_it_is_said(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.search_in("cats purr\nbread rises\nrain falls")

        assert visit.facts("#shorten-facts")["Matches kept"].startswith("–")
        assert "more than 11 documents" in visit.page.inner_text("#shorten-note")
