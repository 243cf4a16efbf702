"""What the page says when something is wrong, and how it goes on."""

from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Error, Route

from tests.browser import WIDE, url, visiting
from tests.live import live

pytestmark = pytest.mark.browser


def test_while_the_model_loads_it_says_so_and_starts_by_itself(demo: httpx.Client, browser: Browser) -> None:
    loading = {"state": "loading", "step": "downloading the model", "fraction": 0.4, "model_id": "a/b", "hub": True}
    with visiting(browser, url(demo)) as visit:
        visit.page.route("**/status", lambda route: route.fulfill(json=loading))
        visit.page.goto(visit.url)
        visit.give_token()
        visit.page.wait_for_selector("#search-notice:has-text('starts by itself')")
        visit.settle()
        visit.shoot("loading")
        visit.assert_accessible()

        assert visit.page.inner_text("#state-words") == "Loading the model"
        assert visit.page.is_visible("#state-bar")
        assert visit.page.is_visible("#recorded")
        assert visit.sent() == []
        visit.page.unroute("**/status")
        visit.page.wait_for_selector("#token-said:not(:empty)")
        visit.settle()
        assert visit.page.inner_text("#state-words") == "Ready"
        assert visit.page.is_hidden("#state-progress")
        assert visit.page.is_hidden("#recorded")


def test_a_slow_server_is_seen_to_work_and_old_results_are_marked(demo: httpx.Client, browser: Browser) -> None:
    held: list[Route] = []
    grey = "(e) => getComputedStyle(e).filter + getComputedStyle(e, '::after').opacity"
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        visit.page.route("**/predict", lambda route: held.append(route))
        visit.page.fill("#query", "a question that takes its time")
        visit.page.fill("#sentences", "one sentence\nanother one")
        for view in ("search", "compare"):
            visit.page.wait_for_selector(f"#{view}.stale[aria-busy=true] .notice:has-text('Waiting for the server')")
        visit.page.wait_for_selector("#search-notice .seconds:has-text('2 s')")
        visit.shoot("slow-server")
        visit.assert_accessible()

        assert "from before" in visit.page.inner_text("#search-notice")
        for view in ("search", "compare"):
            assert visit.page.locator(f"#{view} .outcome").first.evaluate(grey) == "grayscale(1)1"
        visit.page.unroute_all()
        for route in held:
            with suppress(Error):  # it was aborted for a newer one
                route.continue_()
        visit.settle()
        assert visit.texts(".notice") == ["", ""]


def test_a_text_that_is_too_long_is_named(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        long_but_few_tokens = "international " * 100
        visit.page.fill("#sentences", f"{long_but_few_tokens}\n" + "a b c " * 150 + "\nshort too")
        visit.page.wait_for_selector("#compare-notice:has-text('Too long')")
        visit.shoot("too-long")

        assert "256 tokens of text 2" in visit.page.inner_text("#compare-notice")
        visit.page.fill("#sentences", "short\nshort too")
        visit.page.wait_for_selector("#compare-notice:empty", state="attached")


def test_too_much_for_a_request_is_said(prepared_demo: Path, browser: Browser) -> None:
    with (
        live(model_id=str(prepared_demo), precision="float32", max_body_bytes=3000) as server,
        visiting(browser, url(server), refusals=True) as visit,
    ):
        visit.come("compare")
        visit.page.fill("#sentences", "short\n" + "word " * 1000)
        visit.page.wait_for_selector("#compare-notice.problem")

        assert "3000 bytes" in visit.page.inner_text("#compare-notice")


def test_a_busy_server_is_waited_for_as_long_as_it_says(demo: httpx.Client, browser: Browser) -> None:
    refused: list[Route] = []

    def first_busy(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route)
            route.fulfill(status=429, json={"detail": "full"}, headers={"Retry-After": "2"})

    with visiting(browser, url(demo), refusals=True) as visit:
        visit.page.route("**/predict", first_busy)
        visit.page.goto(visit.url)
        visit.give_token()
        visit.page.wait_for_selector("#compare-notice:has-text('busy')")
        said = visit.page.inner_text("#compare-notice")
        visit.shoot("busy")
        visit.page.wait_for_selector("#token-said:not(:empty)")
        visit.settle()

        assert said.endswith("Trying again in 2 s.")
        assert visit.page.inner_text("#compare-notice") == ""


def test_without_a_network_it_says_so_and_goes_on_when_there_is_one(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.come()
        visit.context.set_offline(True)
        visit.page.fill("#sentences", "one sentence\nanother one")
        visit.page.wait_for_selector("#compare-notice.problem")
        visit.shoot("offline")
        visit.assert_accessible()

        assert "offline" in visit.page.inner_text("#compare-notice")
        visit.context.set_offline(False)
        visit.wait_for(2, ".heat tbody tr")


def test_an_answer_of_something_else_is_put_into_words(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.page.route("**/predict", lambda route: route.fulfill(status=200, body="[[0.1, "))
        visit.page.route("**/page/abstracts.json", lambda route: route.fulfill(status=200, body="<!doctype html>"))
        visit.page.fill("#sentences", "one sentence\nanother one")
        visit.page.click("#load-abstracts")

        for notice in ("#compare-notice", "#search-notice"):
            visit.page.wait_for_selector(f"{notice}.problem:has-text('not an answer of this service')")
        visit.page.unroute_all()
        visit.page.route("**/status", lambda route: route.fulfill(status=200, body="<!doctype html>"))
        visit.page.goto(visit.url)
        visit.page.wait_for_selector("#state-words:has-text('not an answer of this service')")


def test_a_server_that_is_gone_can_be_tried_again(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.come()
        visit.page.route("**/predict", lambda route: route.abort("connectionrefused"))
        visit.page.fill("#sentences", "one sentence\nanother one")
        visit.page.wait_for_selector("#compare-notice.problem")
        visit.page.unroute("**/predict")

        assert "can't be reached" in visit.page.inner_text("#compare-notice")
        assert visit.page.inner_text("#state-words") == "Ready"
        visit.page.click("#compare-notice button")
        visit.wait_for(2, ".heat tbody tr")


def test_a_server_that_starts_again_is_seen_to_and_waited_for(demo: httpx.Client, browser: Browser) -> None:
    loading = {"state": "loading", "step": "preparing the model: weights", "fraction": 0.5, "model_id": "a/b"}
    with visiting(browser, url(demo), refusals=True) as visit:
        visit.come()
        visit.page.route("**/predict", lambda route: route.abort("connectionrefused"))
        visit.page.route("**/status", lambda route: route.abort("connectionrefused"))
        visit.page.fill("#sentences", "one sentence\nanother one")
        visit.page.wait_for_selector("[data-state=unreachable]")
        visit.page.wait_for_selector("#compare-notice.problem:has-text('goes on by itself')")
        visit.page.unroute_all()
        visit.page.route("**/status", lambda route: route.fulfill(json=loading))
        visit.page.wait_for_selector("#state-step:has-text('preparing the model: weights')")
        visit.page.unroute_all()
        visit.wait_for(2, ".heat tbody tr")

        assert visit.page.inner_text("#state-words") == "Ready"
