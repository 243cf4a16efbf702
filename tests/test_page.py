"""The page as a visitor with the token sees and uses it, in a real browser."""

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Route

from tests.browser import WIDE, Visit, url, visiting
from tests.live import TOKEN

COMPRESSED_BYTES = 60_000
FOCUS_SHOWN = """
() => { const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== "none" || style.boxShadow !== "none" }
"""


def at_dimensions(*dimensions: int) -> Callable[[Route], None]:
    """A state in which the model was trained for `dimensions`."""

    def changed(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "matryoshka_dimensions": dimensions})

    return changed


def facts(visit: Visit, place: str) -> dict[str, str]:
    terms, values = visit.page.locator(f"{place} dt"), visit.page.locator(f"{place} dd")
    return dict(zip(terms.all_inner_texts(), values.all_inner_texts(), strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_it_fits_and_is_accessible(scheme: Any, width: int, demo: httpx.Client, browser: Browser) -> None:
    size: Any = {"width": width, "height": 900}
    with visiting(browser, url(demo), viewport=size, color_scheme=scheme) as visit:
        visit.page.goto(visit.url)
        visit.page.wait_for_selector("[data-state=ready]")
        visit.shoot(f"first-{scheme}-{width}")
        visit.assert_accessible()
        visit.assert_fits()
        visit.compare()
        visit.load_abstracts()
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.hover("[data-at='0,1']")
        visit.shoot(f"all-{scheme}-{width}")

        visit.assert_accessible()
        visit.assert_fits()


def test_a_first_visitor_sees_what_it_is_how_it_is_and_what_to_do(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.goto(visit.url)
        visit.page.wait_for_selector("[data-state=ready]")

        told = facts(visit, "#state-facts")
        assert visit.page.inner_text("#state-words") == "Ready"
        assert told["Vector"] == "384 numbers"
        assert told["Reads up to"] == "256 tokens"
        assert (told["Engine"], told["Precision"]) == ("onnx on cpu", "float32")
        assert told["Fidelity"].startswith("1.0000")
        assert "auth_token" in visit.page.inner_text("#token-hint")
        assert len(visit.page.input_value("#sentences").splitlines()) == 8
        visit.page.click("#compare-notice button")
        assert visit.page.evaluate("document.activeElement.id") == "token"
        assert visit.sent() == []
        for region in visit.page.locator("[role=status], [role=alert]").all():
            assert region.evaluate("(e) => getComputedStyle(e).display") != "none", "it would not be read out"


def test_the_token_is_kept_for_the_tab_only(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.reload()
        visit.page.wait_for_selector("#map svg")
        elsewhere = visit.context.new_page()
        elsewhere.goto(visit.url)

        assert visit.page.input_value("#token") == TOKEN
        assert elsewhere.input_value("#token") == ""
        assert visit.page.evaluate("localStorage.length + document.cookie.length") == 0
        assert all(TOKEN not in request.url for request in visit.requests)
        visit.page.click("#token-forget")
        visit.page.reload()
        assert visit.page.input_value("#token") == ""


def test_where_storage_is_denied_the_token_lasts_as_long_as_the_page(demo: httpx.Client, browser: Browser) -> None:
    denied = "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no') } })"
    with visiting(browser, url(demo)) as visit:
        visit.context.add_init_script(denied)

        visit.compare()

        assert visit.page.locator(".heat tbody tr").count() == 8


def test_sentences_are_compared_by_the_cosines_of_their_vectors(demo: httpx.Client, browser: Browser) -> None:
    texts = ["a cat naps", "a kitten sleeps", "rates went up"]
    vectors = np.array(demo.post("/predict", json={"query": texts, "task": "document"}).json())
    cosines = vectors @ vectors.T
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.compare()
        visit.page.check("[name=task][value=document]")
        visit.page.fill("#sentences", "\n\n".join(texts) + "\n")
        visit.wait_for(3, ".heat tbody tr")
        visit.page.focus("[data-at='0,1']")

        assert visit.page.inner_text("#heat-readout").startswith(f"{cosines[0, 1]:.3f} between “a cat naps”")
        rows = visit.page.locator("#pairs tbody tr").all_inner_texts()
        assert rows[0].split("\t") == ["1 and 2", f"{cosines[0, 1]:.3f}"]
        assert len(rows) == 3
        assert "1 is nearest to 2" in (visit.page.get_attribute("#map svg", "aria-label") or "")
        assert visit.sent()[-1] == {"query": texts, "task": "document"}


def test_one_sentence_alone_leaves_no_old_picture(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.fill("#sentences", "alone")
        visit.page.wait_for_selector("#compare-notice:has-text('Two sentences are needed')")

        assert "Each sentence against each other" in visit.page.inner_text("#heat")
        assert visit.page.is_hidden("#compare-bottom")
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.fill("#sentences", "alone\nno more")
        visit.wait_for(2, ".heat tbody tr")


def test_the_slider_cuts_the_vectors_and_says_what_is_lost_and_saved(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.route("**/status", at_dimensions(384, 256, 128))
        visit.compare()
        before = visit.page.inner_text("#heat")
        asked = len(visit.sent())
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.press("#dimension", "ArrowLeft")

        held = facts(visit, "#dimension-facts")
        assert (held["Kept"], held["Saved"]) == ("128 of 384", "67 %")
        assert held["A million vectors"] == "0.5 GB instead of 1.5"
        assert 0 < float(held["Largest change"]) < 0.5
        assert visit.page.get_attribute("#dimension", "aria-valuetext") == "128 of 384 numbers"
        assert visit.page.inner_text("#heat") != before
        assert visit.page.locator("#pairs thead th").all_inner_texts() == ["Pair", "Cosine", "Change"]
        assert "not trained" not in visit.page.inner_text("#dimension-note")
        assert len(visit.sent()) == asked
        visit.page.press("#dimension", "End")
        assert visit.page.inner_text("#heat") == before


def test_a_model_not_trained_to_be_cut_may_be_cut_but_it_is_said(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.route("**/status", at_dimensions(384))
        visit.compare()

        assert visit.page.locator("#dimension-ticks span").all_inner_texts() == ["48", "96", "192", "384"]
        assert "not trained to be cut" in visit.page.inner_text("#dimension-note")


def test_search_ranks_the_abstracts_as_one_types(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.compare()
        visit.load_abstracts()
        asked = len(visit.sent())
        visit.page.fill("#query", "healing of skin in fish")
        visit.page.wait_for_selector("#results li:first-child:has-text('zebrafish')")

        assert "30 documents ranked in" in visit.page.inner_text("#search-summary")
        assert visit.sent()[asked:] == [{"query": ["healing of skin in fish"], "task": "query"}]
        scores = [float(text.split()[-1]) for text in visit.page.locator("#results .score").all_text_contents()]
        assert scores == sorted(scores, reverse=True)
        visit.page.click("#results-more")
        assert visit.page.locator("#results li").count() == 30


def test_pasted_documents_are_split_and_embedded_in_batches(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.fill("#query", "number 64")
        visit.page.fill("#documents", "\n".join(f"document number {n}" for n in range(70)))
        visit.page.wait_for_selector("#results li:first-child:has-text('number 64')")

        batches = [body["query"] for body in visit.sent() if body["task"] == "document"]
        # Where typing aborts a request, the same batch is sent again.
        assert [len(batch) for batch in dict.fromkeys(map(tuple, batches))] == [32, 32, 6]
        visit.page.fill("#documents", "A title\nand a text\n\nAnother\n\n")
        visit.wait_for(2, "#results li")
        assert visit.sent()[-1] == {"query": ["A title\nand a text", "Another"], "task": "document"}


def test_loading_the_abstracts_can_be_undone(demo: httpx.Client, browser: Browser) -> None:
    held: list[Route] = []
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.fill("#documents", "what the visitor pasted")
        visit.load_abstracts()
        visit.page.wait_for_selector("#results-more")
        visit.page.focus("#documents")
        visit.page.keyboard.press("ControlOrMeta+z")
        assert visit.page.input_value("#documents") == "what the visitor pasted"

        visit.page.route("**/page/abstracts.json", lambda route: held.append(route))
        with visit.page.expect_request("**/page/abstracts.json"):
            visit.page.click("#load-abstracts")
        visit.page.fill("#documents", "something else")
        with visit.page.expect_response("**/page/abstracts.json"):
            held[0].continue_()
        visit.page.wait_for_timeout(200)
        assert visit.page.input_value("#documents") == "something else"


def test_documents_beyond_the_most_are_left_out_and_it_is_said(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.route("**/predict", lambda r: r.fulfill(json=[[1.0] * 384] * len(r.request.post_data_json["query"])))
        visit.compare()
        visit.page.fill("#documents", "\n".join(f"document {n}" for n in range(1001)))
        visit.page.wait_for_selector("#search-notice:has-text('Only the first 1,000 documents')")

        assert "1,000 documents ranked" in visit.page.inner_text("#search-summary")


def test_the_bar_goes_with_the_documents_it_is_for(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.route("**/predict", lambda _: None)  # never answered
        visit.page.fill("#documents", "cats purr\nbread rises")
        visit.page.wait_for_selector("#documents-progress")
        visit.page.fill("#documents", "")

        visit.page.wait_for_selector("#documents-progress", state="hidden")
        visit.page.fill("#documents", "cats purr")
        visit.page.wait_for_selector("#documents-progress")
        visit.page.click("#token-forget")
        visit.page.wait_for_selector("#documents-progress", state="hidden")


def test_a_stale_answer_never_overwrites_a_newer_one(demo: httpx.Client, browser: Browser) -> None:
    held: list[Route] = []
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.page.fill("#documents", "cats purr\nbread rises")
        visit.page.wait_for_selector("#results li")
        visit.page.route(
            "**/predict",
            lambda route: held.append(route) if "stale" in (route.request.post_data or "") else route.continue_(),
        )
        with visit.page.expect_request(lambda request: "stale" in (request.post_data or "")):
            visit.page.fill("#query", "stale: bread")
        visit.page.fill("#query", "a cat")
        visit.page.wait_for_selector("#results li:first-child:has-text('cats purr')")
        for route in held:
            route.fulfill(json=[[1.0] * 384])
        visit.page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")

        assert visit.page.inner_text("#results li:first-child p") == "cats purr"


def test_all_of_it_is_done_by_keyboard(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.goto(visit.url)
        visit.page.wait_for_selector("[data-state=ready]")
        keyboard = visit.page.keyboard

        def tab_to(selector: str) -> None:
            for _ in range(60):
                keyboard.press("Tab")
                if visit.page.evaluate("(s) => document.activeElement.matches(s)", selector):
                    assert visit.page.evaluate(FOCUS_SHOWN), f"{selector} does not show that it has the focus"
                    return
            raise AssertionError(f"{selector} can't be reached")

        tab_to(".skip")
        tab_to("#token")
        keyboard.type(TOKEN)
        keyboard.press("Enter")
        visit.page.wait_for_selector("#map svg")
        tab_to("#dimension")
        keyboard.press("ArrowLeft")
        tab_to("[data-at='0,0']")
        keyboard.press("ArrowRight")
        keyboard.press("ArrowDown")
        keyboard.press("ArrowDown")
        assert "Heavy rain" in visit.page.inner_text("#heat-readout")
        tab_to("#pairs")
        tab_to("#load-abstracts")
        keyboard.press("Space")
        visit.page.wait_for_selector("#results li")
        tab_to("#query")
        tab_to("[name=request]")
        keyboard.press("ArrowRight")
        assert "windowsill" in visit.page.inner_text("#code-curl")
        tab_to(".snippet button")


def test_it_works_below_a_prefix(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.route(
            "**/some/prefix/**", lambda r: r.fulfill(response=r.fetch(url=r.request.url.replace("/some/prefix", "")))
        )
        visit.url += "some/prefix/"

        visit.compare()
        visit.load_abstracts()

        assert all(r.url.startswith((visit.url, "data:")) for r in visit.requests)
        assert f"{visit.url}predict" in visit.page.inner_text("#code-curl")


def test_it_is_light_to_load(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.compare()
        visit.load_abstracts()
        files = [r for r in visit.requests if r.method == "GET" and not r.url.endswith("/status")]
        size = sum(r.sizes()["responseBodySize"] + r.sizes()["responseHeadersSize"] for r in files)
        paint = visit.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")

    assert size < COMPRESSED_BYTES
    print(f"{len(files)} files, {size} bytes with headers; first paint after {paint:.0f} ms")
