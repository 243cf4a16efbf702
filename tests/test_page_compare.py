"""Comparing sentences on the page: the same sentence lights up in each picture, in any script, at any number."""

from collections.abc import Callable

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Route

from tests.browser import WIDE, url, visiting

pytestmark = pytest.mark.browser

SUBJECTS = ("A cook", "My cat", "The bank", "Old rain")
DEEDS = ("sees the sea", "eats the fish", "left the town", "owns the moon", "fears the fire", "sold the bread")
MANY = "\n".join(f"{subject} {deed}." for subject in SUBJECTS for deed in DEEDS)
LABELS_OVERLAP = """
async (texts) => {
  const { placed } = await import("/page/labels.js");
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = "13px sans-serif";
  const wanted = texts.map((name, i) => ({ name, place: [150 + 9 * i, 100 + 12 * i], gap: 16 }));
  const taken = [];
  const labels = placed(pen, wanted, taken, [600, 400]);
  const overlaps = taken.flatMap((a, i) => taken.slice(i + 1).filter(
    (b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]));
  const wide = labels.map(({ text, box }) => pen.measureText(text).width <= box[2] - box[0] + 1);
  return [labels.length, overlaps.length, wide.every(Boolean)];
}
"""


def at_dimensions(*dimensions: int) -> Callable[[Route], None]:
    """A state in which the model was trained for `dimensions`."""

    def changed(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "matryoshka_dimensions": dimensions})

    return changed


def test_sentences_are_compared_by_the_cosines_of_their_vectors(demo: httpx.Client, browser: Browser) -> None:
    texts = ["a cat naps", "a kitten sleeps", "rates went up"]
    vectors = np.array(demo.post("/predict", json={"query": texts, "task": "document"}).json())
    cosines = vectors @ vectors.T
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        visit.page.check("[name=task][value=document]")
        visit.say("\n\n".join(texts) + "\n")
        visit.page.focus("[data-at='0,1']")

        assert visit.page.inner_text("#heat-readout").startswith(f"{cosines[0, 1]:.3f} between a cat naps")
        rows = visit.texts("#pairs li")
        assert len(rows) == 3
        assert rows[0].split("\n") == [f"{cosines[0, 1]:.3f}", "1 a cat naps", "2 a kitten sleeps"]
        assert "1 is nearest to 2" in (visit.page.get_attribute("#map canvas", "aria-label") or "")
        assert visit.sent()[-1] == {"query": texts, "task": "document"}


def test_what_is_pointed_at_lights_up_in_every_picture(demo: httpx.Client, browser: Browser) -> None:
    lit = "[...document.querySelectorAll('#sentence-lines div')].flatMap((e, i) => e.matches('.lit') ? [i] : [])"
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.come()

        visit.page.hover("[data-at='2,3']")
        visit.page.wait_for_selector("#map[data-lit='2,3']")
        assert visit.page.evaluate(lit) == [2, 3]
        assert visit.page.get_attribute("#pairs .lit", "data-at") == "2,3"

        visit.page.hover("#pairs li[data-at='0,1']")
        visit.page.wait_for_selector("#map[data-lit='0,1']")
        assert visit.page.evaluate(lit) == [0, 1]
        assert visit.page.locator(".heat td.lit").count() == 2

        visit.page.focus("#sentences")
        visit.page.keyboard.press("ControlOrMeta+Home")
        for _ in range(4):
            visit.page.keyboard.press("ArrowDown")
        visit.page.wait_for_selector("#map[data-lit='4']")
        assert visit.page.inner_text(".heat th.lit").startswith("5")
        assert "The central bank" in visit.page.inner_text("#heat-readout")

        visit.page.mouse.move(0, 0)
        visit.page.focus("#map .stage")
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_selector("#map[data-lit='0']")
        tip = visit.page.locator("#map .tip")
        assert tip.inner_text() == "The cat is asleep on the warm windowsill."
        place = tip.evaluate("(e) => ({ x: Number(e.dataset.x), y: Number(e.dataset.y) })")
        visit.page.hover("#compare-title")
        visit.page.locator("#map .stage").evaluate("(e) => e.blur()")
        visit.page.locator("#map .stage").hover(position=place)
        visit.page.wait_for_selector("#map[data-lit='0']")
        assert visit.page.evaluate(lit) == [0]


def test_the_readout_of_a_long_text_takes_a_few_lines(demo: httpx.Client, browser: Browser) -> None:
    height = "document.documentElement.scrollHeight"
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        visit.say("short\n" + "many words " * 4000)
        before = visit.page.evaluate(height)
        visit.page.hover("[data-at='0,1']")
        visit.page.wait_for_selector("#heat-readout strong")

        assert visit.page.evaluate(height) == before
        assert visit.page.evaluate(height) < 7000
        assert visit.page.locator("#heat-readout").evaluate("(e) => e.offsetHeight") < 100


@pytest.mark.parametrize("width", [390, 1280])
def test_24_sentences_are_all_in_sight(width: int, demo: httpx.Client, browser: Browser) -> None:
    size = {"width": width, "height": 900}
    with visiting(browser, url(demo), viewport=size, reduced_motion="reduce") as visit:
        visit.come()
        visit.say(MANY + "\none more")
        visit.page.focus("[data-at='0,0']")
        visit.shoot(f"24-sentences-{width}", "#compare")
        visit.assert_accessible()

        assert "Only the first 24 sentences" in visit.page.inner_text("#compare-notice")
        right = visit.page.locator(".heat thead th:last-child").evaluate("(e) => e.getBoundingClientRect().right")
        assert right <= width
        assert visit.page.locator("#heat").evaluate("(e) => e.scrollWidth <= e.clientWidth")
        assert visit.page.locator(".heat tbody tr").count() == 24
        assert visit.page.locator("#pairs li").count() == 24 * 23 // 2


def test_labels_never_lie_on_another_in_any_script(demo: httpx.Client, browser: Browser) -> None:
    texts = [
        "猫は窓辺で眠っている猫は窓辺で眠っている",
        "今晩は海岸に沿って大雨が予想されています",
        "子猫が日向で昼寝をする",
        "القطة نائمة على حافة النافذة",
    ]
    with visiting(browser, url(demo)) as visit:
        visit.open()

        count, overlaps, as_wide_as_measured = visit.page.evaluate(LABELS_OVERLAP, texts * 3)
        assert count >= 4
        assert overlaps == 0
        assert as_wide_as_measured


def test_right_to_left_texts_keep_their_beginning(demo: httpx.Client, browser: Browser) -> None:
    arabic = "القطة نائمة على حافة النافذة الدافئة في الشمس طوال اليوم ولا تريد أن تستيقظ"
    direction = "(e) => getComputedStyle(e).direction"
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.come()
        visit.page.fill("#documents", f"{arabic}\n\nΓάτα και σκύλος\n\nשלום עולם")
        visit.page.fill("#query", "قطة")
        visit.say(f"{arabic}\nשלום עולם\n猫は窓辺で眠っている\nA cat sleeps.")
        visit.settle()
        visit.map_is_laid_out()
        visit.page.hover("[data-at='0,1']")
        visit.shoot("right-to-left")

        for place in ("#pairs bdi >> nth=0", "#query", "#results p >> nth=0", "#documents", "#sentences"):
            assert visit.page.locator(place).evaluate(direction) == "rtl", place
        assert visit.page.locator(".heat th bdi").first.evaluate(direction) == "rtl"
        assert visit.page.locator("#heat-readout q").first.evaluate(direction) == "rtl"
        assert visit.page.locator("#pairs bdi").last.evaluate(direction) == "ltr"


def test_one_sentence_alone_leaves_no_old_picture(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.say("alone")

        assert "Two sentences are needed" in visit.page.inner_text("#compare-notice")
        assert "Each sentence against each other" in visit.page.inner_text("#heat")
        assert visit.page.is_hidden("#pairs")
        visit.page.press("#dimension-of-search", "ArrowLeft")
        visit.say("alone\nno more")
        assert visit.page.locator(".heat tbody tr").count() == 2


def test_the_slider_cuts_the_vectors_and_every_picture_follows(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.page.route("**/status", at_dimensions(384, 256, 128))
        visit.come()
        before = visit.page.inner_text("#heat")
        asked = len(visit.sent())
        visit.page.press("#dimension", "ArrowLeft")
        visit.page.press("#dimension", "ArrowLeft")

        assert visit.page.get_attribute("#dimension", "aria-valuetext") == "128 of 384 numbers"
        assert visit.page.inner_text("#heat") != before
        assert visit.page.locator("#pairs small").count() > 0
        assert "dotted line" in visit.page.inner_text("#map-note")
        assert visit.page.get_attribute("#dimension-of-search", "aria-valuetext") == "128 of 384 numbers"
        assert len(visit.sent()) == asked
        visit.page.press("#dimension", "End")
        assert visit.page.inner_text("#heat") == before


def test_on_a_phone_the_slider_stays_in_sight_of_what_it_changes(demo: httpx.Client, browser: Browser) -> None:
    in_sight = "(e) => { const b = e.getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight }"
    with visiting(browser, url(demo), viewport={"width": 390, "height": 844}, reduced_motion="reduce") as visit:
        visit.come()
        for place in ("#heat", "#map", "#pairs"):
            visit.page.locator(place).evaluate("(e) => scrollTo(0, scrollY + e.getBoundingClientRect().top - 300)")

            assert visit.page.locator("#dimension").evaluate(in_sight), place
            assert visit.page.locator(place).evaluate("(e) => e.getBoundingClientRect().top < innerHeight")
