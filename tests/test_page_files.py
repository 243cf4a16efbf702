"""The page's files: open to all, small, and under a strict policy."""

import base64
import gzip
import json
import re
from contextlib import closing
from http.client import HTTPConnection

import httpx
import numpy as np
import pytest

from embedding.api.page import HERE
from tests.live import TOKEN
from tests.record_example import RECORDED, texts_of_the_page

COMPRESSED_BYTES = 80_000
PAGE_FILES = sorted(path.name for path in HERE.iterdir() if path.name not in ("docs.html", "docs.js", "docs.css"))


def get(demo: httpx.Client, path: str, **headers: str) -> httpx.Response:
    """Without the token."""
    return httpx.get(f"{demo.base_url}{path}", headers=headers)


def test_the_page_is_what_a_visitor_gets(demo: httpx.Client) -> None:
    answer = get(demo, "/")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<h1>Embedding service</h1>" in answer.text


@pytest.mark.parametrize("name", PAGE_FILES)
def test_each_file_comes_compressed_and_is_asked_about_again(name: str, demo: httpx.Client) -> None:
    plain = get(demo, f"/page/{name}", **{"Accept-Encoding": "identity"})
    packed = get(demo, f"/page/{name}", **{"Accept-Encoding": "gzip"})
    again = get(demo, f"/page/{name}", **{"If-None-Match": packed.headers["ETag"]})

    assert plain.content == packed.content == (HERE / name).read_bytes()
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert (packed.headers["Cache-Control"], packed.headers["Vary"]) == ("no-cache", "Accept-Encoding")
    assert (again.status_code, again.content) == (304, b"")


def test_the_whole_page_is_small() -> None:
    size = sum(len(gzip.compress((HERE / name).read_bytes())) for name in PAGE_FILES)

    assert size < COMPRESSED_BYTES
    print(f"{size} bytes compressed")


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/docs", "/docs/base.css", "/docs/swagger-ui-bundle.js"])
def test_the_policy_lets_nothing_in_from_elsewhere(path: str, demo: httpx.Client) -> None:
    answer = get(demo, path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["connect-src"]) == ("'self'", "'self'")
    assert policy["style-src"] == ("'self' 'unsafe-inline'" if path.startswith("/docs") else "'self'")
    assert policy["frame-ancestors"] == "'self' https://huggingface.co"
    assert "X-Frame-Options" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/../page.py",
        "/page/..%2fpage.py",
        "/page/%2e%2e/%2e%2e/settings.py",
        "/page/docs/init.js",
        "/docs/redoc.standalone.js",
        "/docs/..%2fcore.py",
        "/page/%00",
    ],
)
def test_there_is_nothing_but_the_files(path: str, demo: httpx.Client) -> None:
    connection = HTTPConnection(demo.base_url.host, demo.base_url.port)  # httpx would resolve the dots itself
    connection.request("GET", path, headers={"X-API-Key": TOKEN})
    with closing(connection), connection.getresponse() as answer:
        body = json.loads(answer.read())

    assert answer.status == 404
    assert set(body) == {"detail"}


@pytest.mark.parametrize("path", ["/page", "/pages/x", "/docsx", "/predict/page/x"])
def test_what_only_looks_like_the_page_asks_for_the_token(path: str, demo: httpx.Client) -> None:
    assert get(demo, path).status_code == 401


def test_a_probe_by_head_is_answered(demo: httpx.Client) -> None:
    for path in ("/", "/docs", "/page/base.css"):
        answer = httpx.head(f"{demo.base_url}{path}")

        assert (answer.status_code, answer.content) == (200, b"")


def test_no_file_names_another_host() -> None:
    for path in HERE.iterdir():
        hosts = set(re.findall(r"https?://([\w.]+)", path.read_text())) - {"www.w3.org", "huggingface.co"}

        assert not hosts, path.name


def test_every_module_is_fetched_at_once() -> None:
    page = (HERE / "index.html").read_text()
    modules = {name for name in PAGE_FILES if name.endswith(".js")}

    assert {f"page/{name}" for name in modules} == set(re.findall(r'(?:modulepreload" href|module" src)="(.*?)"', page))


def test_the_recorded_example_is_what_the_demo_model_answers(demo: httpx.Client) -> None:
    recorded = json.loads(RECORDED.read_text())
    texts = texts_of_the_page()
    vectors = np.array(demo.post("/predict", json={"query": texts}).json())
    numbers = np.frombuffer(base64.b64decode(recorded["vectors"]), np.int8).reshape(len(texts), recorded["dimension"])
    cosines = (numbers * vectors).sum(axis=1) / np.linalg.norm(numbers, axis=1) / np.linalg.norm(vectors, axis=1)

    assert recorded["dimension"] == vectors.shape[1]
    assert cosines.min() > 0.9999, "record it again: python -m tests.record_example"


def test_every_endpoint_has_a_sentence_and_an_example_that_works(demo: httpx.Client) -> None:
    document = demo.get("/openapi.json").json()
    name = demo.get("/v1/models").json()["data"][0]["id"]
    for declared, operations in document["paths"].items():
        path = declared.replace("{model}", name)
        for method, operation in operations.items():
            assert operation.get("description", "").rstrip().endswith("."), f"{method} {path} has no sentence"
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            bodies = [None] if content is None else [one["value"] for one in content["examples"].values()]
            for body in bodies:
                answer = demo.request(method, path, json=body) if body else demo.request(method, path)
                assert answer.status_code == 200, f"{method} {path} {body}: {answer.text}"
