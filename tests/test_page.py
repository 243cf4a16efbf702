"""The page as a visitor sees and uses it, in a real browser: at first sight, by keyboard, on paper, light to load."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser import WIDE, Visit, url, visiting
from tests.live import TOKEN

pytestmark = pytest.mark.browser

COMPRESSED_BYTES = 80_000
FOCUS_SHOWN = """
() => { const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== "none" || style.boxShadow !== "none" }
"""
NOTICES = "[...document.querySelectorAll('.notice')].map((e) => e.getBoundingClientRect().height)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_accessible(scheme: Any, demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, color_scheme=scheme, reduced_motion="reduce") as visit:

        def look(what: str, width: int, *, closely: bool) -> None:
            visit.page.set_viewport_size({"width": width, "height": 900})
            visit.shoot(f"{what}-{scheme}-{width}")
            visit.assert_fits()
            if closely:
                visit.assert_accessible()

        visit.open()
        visit.map_is_laid_out()
        look("first", 390, closely=False)
        look("first", 1280, closely=True)
        visit.come()
        visit.page.click("#state-details summary")
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.hover("[data-at='0,1']")
        for width in (320, 390, 768, 1280, 1920):
            look("all", width, closely=width in (320, 1280))


def test_a_first_visitor_sees_what_it_is_how_it_is_and_what_to_do(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.open()

        told = visit.facts("#state-facts")
        assert visit.page.inner_text("#state-words") == "Ready"
        assert told["A vector has"] == "384 numbers"
        assert told["It reads"].startswith("256 tokensabout 190 English words")
        assert told["Computed by"].startswith("onnx on cpu")
        assert told["Fidelity"].startswith("1.0000")
        assert "auth_token" in visit.page.inner_text("#token-hint")
        assert len(visit.page.input_value("#sentences").splitlines()) == 8
        visit.page.click("#to-token")
        assert visit.page.evaluate("document.activeElement.id") == "token"
        assert visit.sent() == []
        for region in visit.page.locator("[role=status], [role=alert]").all():
            assert region.evaluate("(e) => getComputedStyle(e).display") != "none", "it would not be read out"


def test_the_demo_model_has_its_name_and_says_what_it_cannot_do(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.open()

        assert visit.page.inner_text("#model-name") == "all-MiniLM-L6-v2"
        note = visit.page.inner_text("#model-note")
        assert "only English" in note
        assert "not trained to be cut" in note


def test_where_all_is_well_no_empty_notice_takes_room(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()

        assert visit.texts(".notice") == ["", ""]
        assert max(visit.page.evaluate(NOTICES)) <= 1


def test_the_contents_mark_the_section_that_is_read(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.open()
        for name in ("compare", "shorten", "speed", "use", "search"):
            visit.page.click(f".contents a[href='#{name}']")
            visit.page.wait_for_selector(f".contents a[href='#{name}'][aria-current]")

            assert visit.page.locator(".contents [aria-current]").count() == 1


def test_a_reload_keeps_what_was_typed_and_chosen(demo: httpx.Client, browser: Browser) -> None:
    typed = {"#sentences": "one\ntwo", "#documents": "a document\nanother one", "#query": "what I was about to ask"}
    with visiting(browser, url(demo)) as visit:
        visit.come()
        for field, text in typed.items():
            visit.page.fill(field, text)
        visit.page.check("[name=task][value=document]")
        visit.page.check("[name=dimension-format][value=int8]")
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.reload()
        visit.settle()

        assert {field: visit.page.input_value(field) for field in typed} == typed
        assert visit.page.is_checked("[name=task][value=document]")
        assert visit.page.is_checked("[name=dimension-format][value=int8]")
        assert visit.page.get_attribute("#dimension", "aria-valuetext") == "192 of 384 numbers"
        assert visit.page.evaluate("localStorage.length + document.cookie.length") == 0


def test_it_prints_what_was_found_without_what_only_a_screen_has(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.come()
        visit.map_is_laid_out()
        visit.page.emulate_media(media="print")
        visit.shoot("print")

        for part in (".contents", "#token-form", ".chips", ".map-tools", ".snippet button"):
            assert not visit.page.locator(part).first.is_visible(), part
        assert visit.page.is_visible(".heat")
        assert visit.page.is_visible("#results li")
        assert visit.page.evaluate("getComputedStyle(document.querySelector('#pairs')).overflowY") == "visible"


def test_forced_colours_keep_the_pictures_and_mark_what_is_pointed_at(demo: httpx.Client, browser: Browser) -> None:
    colour = "(e) => getComputedStyle(e).backgroundColor"
    with visiting(browser, url(demo), viewport=WIDE, forced_colors="active", reduced_motion="reduce") as visit:
        visit.come()
        visit.page.focus("[data-at='0,1']")
        visit.shoot("forced-colours")
        same, other = (visit.page.locator(f".heat [data-cell='{at}']").evaluate(colour) for at in ("0,0", "0,4"))

        assert same != other
        outline = visit.page.locator("#pairs li.lit").first.evaluate("(e) => getComputedStyle(e).outlineStyle")
        assert outline == "solid"


def test_all_of_it_is_done_by_keyboard(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.open()
        keyboard = visit.page.keyboard
        tab = tabbing(visit)

        tab(".skip")
        tab("#token")
        keyboard.type(TOKEN)
        keyboard.press("Enter")
        visit.page.wait_for_selector("#token-said:not(:empty)")
        visit.settle()
        tab("#query")
        tab(".chips button")
        tab("#documents-map .stage")
        keyboard.press("ArrowRight")
        visit.page.wait_for_selector("#documents-map .tip:visible")
        tab("#results li")
        keyboard.press("ArrowDown")
        assert visit.page.evaluate("document.activeElement.matches('#results li:nth-child(2).lit')")
        tab("#load-abstracts")
        tab("#dimension")
        keyboard.press("ArrowLeft")
        tab("[data-at='0,0']")
        keyboard.press("ArrowRight")
        keyboard.press("ArrowDown")
        keyboard.press("ArrowDown")
        assert "Heavy rain" in visit.page.inner_text("#heat-readout")
        tab("#pairs li")
        keyboard.press("ArrowDown")
        assert visit.page.locator("#pairs li.lit").count() == 1
        tab(".choice-cell")
        tab("[name=request]")
        keyboard.press("ArrowRight")
        assert "windowsill" in visit.page.inner_text("#code-curl")
        tab(".snippet button")


def tabbing(visit: Visit) -> Any:
    """What presses Tab until the focus is on a selector, and shown."""

    def tab_to(selector: str) -> None:
        for _ in range(60):
            visit.page.keyboard.press("Tab")
            if visit.page.evaluate("(s) => document.activeElement.matches(s)", selector):
                assert visit.page.evaluate(FOCUS_SHOWN), f"{selector} does not show that it has the focus"
                return
        raise AssertionError(f"{selector} can't be reached")

    return tab_to


def test_it_works_below_a_prefix(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.page.route(
            "**/some/prefix/**", lambda r: r.fulfill(response=r.fetch(url=r.request.url.replace("/some/prefix", "")))
        )
        visit.url += "some/prefix/"

        visit.come()

        assert all(r.url.startswith((visit.url, "data:")) for r in visit.requests)
        assert f"{visit.url}predict" in visit.page.inner_text("#code-curl")


def test_it_is_light_to_load(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        files = [r for r in visit.requests if r.method == "GET" and "/page/" in r.url] + visit.requests[:1]
        size = sum(r.sizes()["responseBodySize"] for r in files)
        paint = visit.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")

    assert size < COMPRESSED_BYTES
    print(f"{len(files)} files, {size} bytes; first paint after {paint:.0f} ms")


def test_speed_shows_where_the_time_of_each_answer_went(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        before = visit.page.locator("#speed-chart rect.engine").count()
        visit.ask("something not asked before")

        told = visit.facts("#speed-facts")
        assert list(told) == ["Tokenization", "Queue", "Engine", "Rest of the server", "Way there and back"]
        assert float(told["Engine"].split(" ms")[0]) > 0
        assert "for 1 text" in visit.page.inner_text("#speed-last")
        assert visit.page.locator("#speed-chart rect.engine").count() == before + 1
        assert "half of them within" in (visit.page.get_attribute("#speed-chart svg", "aria-label") or "")
