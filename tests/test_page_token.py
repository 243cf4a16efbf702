"""The token on the page: from its link or its field, confirmed, kept for the tab; and what is seen without one."""

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser import WIDE, url, visiting
from tests.live import TOKEN

pytestmark = pytest.mark.browser


def test_the_token_of_a_link_is_taken_and_leaves_the_address(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.page.goto(f"{visit.url}?x=1#token={TOKEN}")
        visit.page.wait_for_selector("#token-said:not(:empty)")

        assert visit.page.url == f"{visit.url}?x=1"
        assert visit.page.input_value("#token") == TOKEN
        assert all(TOKEN not in request.url for request in visit.requests)
        visit.settle()
        assert visit.sent()
        visit.page.evaluate("location.hash = '#token=another'")
        expect(visit.page.locator("#token")).to_have_value("another")
        assert visit.page.url == f"{visit.url}?x=1"


def test_without_a_token_a_recorded_example_lives(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.open()
        visit.map_is_laid_out()

        assert "Recorded example" in visit.page.inner_text("#recorded")
        assert "zebrafish" in visit.page.inner_text("#results li:first-child")
        assert visit.page.locator(".heat tbody tr").count() == 8
        visit.page.click("[data-query='why old galaxies fade']")
        visit.settle("search")
        assert "galaxies ran out" in visit.page.inner_text("#results li:first-child")
        visit.page.press("#dimension", "ArrowLeft")
        assert visit.page.locator("#pairs small").count() > 0
        assert visit.sent() == []


def test_words_that_were_not_recorded_need_the_token_and_old_results_are_marked(
    demo: httpx.Client, browser: Browser
) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.open()
        visit.page.fill("#query", "words of my own")
        visit.page.wait_for_selector("#search.stale .notice:has-text('no vectors for these words')")
        visit.page.click("#search-notice button")
        assert visit.page.evaluate("document.activeElement.id") == "token"
        visit.page.keyboard.type(TOKEN)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_selector("#token-said:not(:empty)")
        visit.settle()

        assert visit.page.is_hidden("#recorded")
        assert visit.sent()[-1]["query"] == ["words of my own"] or len(visit.sent()) > 2


def test_a_right_token_is_confirmed_by_the_server(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()

        assert "knows this token" in visit.page.inner_text("#token-said")
        assert visit.page.get_attribute("#token", "aria-invalid") == "false"
        asked = [request for request in visit.requests if request.url.endswith("/info")]
        assert len(asked) == 1
        documents = [body for body in visit.sent() if body["task"] == "document"]
        assert len(documents) == 1  # confirming it asks for no vectors again


def test_a_wrong_token_is_said_at_its_field(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.open()
        visit.give_token("wrøng ✓")
        visit.page.wait_for_selector("#token[aria-invalid=true]")
        visit.page.wait_for_selector("#search-notice.problem")
        visit.shoot("wrong-token")
        visit.assert_accessible()

        assert "does not know this token" in visit.page.inner_text("#token-problem")
        assert "auth_token" in visit.page.inner_text("#token-problem")
        asked = len(visit.sent())
        visit.page.fill("#query", "something else")
        visit.page.wait_for_timeout(500)
        assert len(visit.sent()) == asked
        visit.give_token()
        visit.page.wait_for_selector("#token-said:not(:empty)")
        assert visit.page.inner_text("#token-problem") == ""
        visit.settle()


def test_a_wrong_token_after_a_right_one_is_said_too(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.come()
        visit.give_token("wrong")
        visit.page.wait_for_selector("#token[aria-invalid=true]")

        assert "does not know this token" in visit.page.inner_text("#token-problem")
        assert visit.page.inner_text("#token-said") == ""
        for view in ("search", "compare"):
            visit.page.wait_for_selector(f"#{view}.stale .notice.problem:has-text('does not know the token')")


def test_the_token_is_kept_for_the_tab_only(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.page.reload()
        visit.page.wait_for_selector("#token-said:not(:empty)")
        visit.settle()
        elsewhere = visit.context.new_page()
        elsewhere.goto(visit.url)

        assert visit.page.input_value("#token") == TOKEN
        assert elsewhere.input_value("#token") == ""
        assert visit.page.evaluate("localStorage.length + document.cookie.length") == 0
        assert all(TOKEN not in request.url for request in visit.requests)
        visit.page.click("#token-forget")
        visit.page.reload()
        assert visit.page.input_value("#token") == ""
        assert TOKEN not in visit.page.evaluate("JSON.stringify(sessionStorage)")


def test_where_storage_is_denied_the_token_lasts_as_long_as_the_page(demo: httpx.Client, browser: Browser) -> None:
    denied = "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no') } })"
    with visiting(browser, url(demo)) as visit:
        visit.context.add_init_script(denied)

        visit.come()

        assert visit.page.locator(".heat tbody tr").count() == 8
        assert len(visit.sent()) >= 2
