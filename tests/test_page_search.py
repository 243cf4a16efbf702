"""Searching on the page: the list, the map, and documents out of files and into them."""

import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Route, expect

from tests.browser import WIDE, Visit, url, visiting

pytestmark = pytest.mark.browser

PASTE = """
([selector, text]) => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}
"""
DROP = """
([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const box = document.querySelector("#documents-box");
  box.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}
"""
CSV = 'id,Title,Abstract\r\n1,"Cats, mostly","They sleep a lot.\n\nThen they ""eat""."\r\n2,Bread,It rises.\r\n'
JSONL = '{"id": "x", "title": "Cats", "text": "They sleep."}\n{"id": "y", "title": "Bread", "text": "It rises."}\n'


def test_the_abstracts_are_there_at_first_and_ranked_as_one_types(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        assert visit.page.locator("#results li").count() == 6
        asked = len(visit.sent())
        visit.ask("healing of skin in fish")

        assert "zebrafish" in visit.page.inner_text("#results li:first-child")
        assert "30 documents ranked by meaning in" in visit.page.inner_text("#search-summary")
        assert visit.sent()[asked:] == [{"query": ["healing of skin in fish"], "task": "query"}]
        scores = [
            float(text.split()[-1].replace("−", "-"))
            for text in visit.page.locator("#results .score").all_text_contents()
        ]
        assert scores == sorted(scores, reverse=True)
        visit.page.click("#results-more")
        assert visit.page.locator("#results li").count() == 30


def test_what_meaning_finds_and_words_do_not_is_marked(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE) as visit:
        visit.come()
        visit.search_in("A kitten naps.\n\nThe price of cats' food\n\nBread rises slowly.")
        visit.ask("where do cats sleep")

        kitten, food = (visit.page.locator("#results li", has_text=text) for text in ("kitten", "food"))
        assert "No word in common" in kitten.inner_text()
        assert "1 word in common; number 1 in a search by words" in food.inner_text()
        assert food.locator("mark").all_inner_texts() == ["cats"]
        assert "no word with your query" in visit.page.inner_text("#search-summary")


def test_the_map_shows_the_query_among_the_documents(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.come()
        visit.map_is_laid_out()

        assert visit.page.get_attribute("#documents-map", "data-points") == "30"
        assert int(visit.page.get_attribute("#documents-map", "data-labels") or 0) > 10
        place = visit.page.locator("#results li").nth(1).get_attribute("data-at")
        visit.page.locator("#results li").nth(1).hover()
        visit.page.wait_for_selector(f"#documents-map[data-lit='{place}']")
        title = visit.page.inner_text("#results li:nth-child(2) strong")
        assert visit.page.inner_text("#documents-map .tip") == title
        assert visit.page.locator(f"#ranks li[data-at='{place}'].lit").count() == 2


def test_the_map_zooms_and_moves(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.come()
        visit.map_is_laid_out()
        stage = visit.page.locator("#documents-map .stage")

        def place_of_first() -> Any:
            visit.page.mouse.move(0, 0)
            visit.page.wait_for_selector("#documents-map[data-lit='']")
            visit.page.hover("#results li >> nth=0")
            visit.page.wait_for_selector("#documents-map:not([data-lit=''])")
            tip = visit.page.locator("#documents-map .tip")
            return tip.evaluate("(e) => [Number(e.dataset.x), Number(e.dataset.y)]")

        start = place_of_first()
        visit.page.click("#documents-map [aria-label='Zoom in']")
        zoomed = place_of_first()
        box = stage.bounding_box()
        assert box is not None
        visit.page.mouse.move(box["x"] + 300, box["y"] + 200)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + 340, box["y"] + 220, steps=4)
        visit.page.mouse.up()
        moved = place_of_first()
        visit.page.click("#documents-map [aria-label='Show all']")

        assert zoomed != start
        np.testing.assert_allclose(np.subtract(moved, zoomed), [40, 20], atol=1)
        assert place_of_first() == start


def test_1000_documents_are_searched_and_mapped(demo: httpx.Client, browser: Browser) -> None:
    def vectors(route: Route) -> None:
        """Three groups, for the server has better things to do."""
        rows = []
        for text in route.request.post_data_json["query"]:
            number = int("".join(filter(str.isdigit, text)) or 0)
            row = np.random.default_rng(number).normal(size=384) * 0.02
            row[number % 3] += 1
            rows.append((row / np.linalg.norm(row)).round(3).tolist())
        route.fulfill(json=rows)

    with visiting(browser, url(demo), viewport=WIDE, reduced_motion="reduce") as visit:
        visit.page.route("**/predict", vectors)
        visit.come()
        visit.search_in("\n".join(f"document number {n}" for n in range(1001)))
        visit.map_is_laid_out()
        visit.shoot("1000-documents", "#search")

        assert "Only the first 1,000 documents" in visit.page.inner_text("#search-notice")
        assert "1,000 documents ranked" in visit.page.inner_text("#search-summary")
        assert visit.page.get_attribute("#documents-map", "data-points") == "1000"
        visit.page.click("#results-more")
        assert visit.page.locator("#results li").count() == 200
        visit.assert_fits()


def test_pasted_documents_are_split_and_embedded_in_batches(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
        asked = len(visit.sent())
        visit.page.fill("#query", "number 64")
        visit.search_in("\n".join(f"document number {n}" for n in range(70)))

        assert "number 64" in visit.page.inner_text("#results li:first-child")
        batches = [body["query"] for body in visit.sent()[asked:] if body["task"] == "document"]
        # Where typing aborts a request, the same batch is sent again.
        assert [len(batch) for batch in dict.fromkeys(map(tuple, batches))] == [32, 32, 6]
        visit.search_in("A title\nand a text\n\nAnother\n\n")
        assert visit.page.locator("#results li").count() == 2
        assert visit.sent()[-1] == {"query": ["A title\nand a text", "Another"], "task": "document"}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", CSV, 'Cats, mostly\nThey sleep a lot.\nThen they "eat".\n\nBread\nIt rises.'),
        ("a.tsv", "Cats sleep\t1\nBread rises\t2\n", "Cats sleep\nBread rises"),
        ("a.jsonl", JSONL, "Cats\nThey sleep.\n\nBread\nIt rises."),
        ("a.json", json.dumps(["one", {"body": "two"}]), "one\ntwo"),
        ("a.txt", "one, two\nthree", "one, two\nthree"),
    ],
)
def test_a_file_that_is_dropped_becomes_documents(
    name: str, content: str, expected: str, demo: httpx.Client, browser: Browser
) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.open()
        visit.page.evaluate(DROP, [name, content])
        expect(visit.page.locator("#documents")).to_have_value(expected)


def test_a_pasted_table_becomes_documents_and_pasted_words_stay_as_they_are(
    demo: httpx.Client, browser: Browser
) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.open()
        for content in (CSV, JSONL):
            visit.page.evaluate(PASTE, ["#documents", content])
            assert visit.page.input_value("#documents").startswith("Cats")
        before = visit.page.input_value("#documents")
        visit.page.evaluate(PASTE, ["#documents", "title, said the king, is nothing\nand text is all"])
        assert visit.page.input_value("#documents") == before  # left to the browser


def test_a_file_that_is_no_text_is_refused_in_words(demo: httpx.Client, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    file.write_bytes(b"PAR1\0\0\1\2PAR1")
    with visiting(browser, url(demo)) as visit:
        visit.open()
        before = visit.page.input_value("#documents")
        visit.page.set_input_files("#file", file)
        visit.page.wait_for_selector("#search-notice.problem")

        assert "data.parquet is not a text file. Save it as CSV" in visit.page.inner_text("#search-notice")
        assert visit.page.input_value("#documents") == before


def test_the_vectors_can_be_kept_as_npy_and_csv(demo: httpx.Client, browser: Browser) -> None:
    texts = ['Cats, "mostly"', "Bread rises.", "L'été"]
    expected = np.array(demo.post("/predict", json={"query": texts, "task": "document"}).json(), np.float32)
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.search_in("\n".join(texts))
        kept = np.load(io.BytesIO(downloaded(visit, "#download-npy")))
        lines = downloaded(visit, "#download-csv").decode().split("\r\n")

    assert (kept.dtype, kept.shape) == (np.float32, (3, 384))
    np.testing.assert_array_equal(kept, expected)
    assert lines[1].startswith('"Cats, ""mostly""",')
    assert [float(x) for x in lines[2].split(",")[1:]] == pytest.approx(expected[1].tolist(), abs=1e-6)


def downloaded(visit: Visit, button: str) -> bytes:
    with visit.page.expect_download() as download:
        visit.page.click(button)
    return download.value.path().read_bytes()


def test_loading_the_abstracts_can_be_undone(demo: httpx.Client, browser: Browser) -> None:
    held: list[Route] = []
    with visiting(browser, url(demo)) as visit:
        visit.come()
        visit.page.fill("#documents", "what the visitor pasted")
        visit.page.click("#load-abstracts")
        expect(visit.page.locator("#documents")).to_have_value(re.compile("zebrafish"))
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


def test_the_bar_goes_with_the_documents_it_is_for(demo: httpx.Client, browser: Browser) -> None:
    with visiting(browser, url(demo)) as visit:
        visit.come()
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
        visit.come()
        visit.search_in("cats purr\nbread rises")
        visit.page.route(
            "**/predict",
            lambda route: held.append(route) if "stale" in (route.request.post_data or "") else route.continue_(),
        )
        with visit.page.expect_request(lambda request: "stale" in (request.post_data or "")):
            visit.page.fill("#query", "stale: bread")
        visit.ask("a cat")
        for route in held:
            route.fulfill(json=[[1.0] * 384])
        visit.page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")

        assert visit.page.inner_text("#results li:first-child p") == "cats purr"
