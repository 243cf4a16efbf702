"""Each path says truly what it can be asked for."""

import httpx
import pytest

from tests.live import TOKEN

GETS = ("/", "/health", "/health/", "/readyz", "/livez", "/status", "/info", "/metrics", "/docs", "/favicon.ico",
        "/page/main.js", "/docs/docs.js", "/api/tags", "/v1/models")  # fmt: skip


@pytest.mark.parametrize("path", GETS)
def test_where_get_works_head_does(gemma: httpx.Client, path: str) -> None:
    get, head = gemma.get(path), gemma.head(path)

    assert (get.status_code, head.status_code, head.content) == (200, 200, b"")
    if path != "/metrics":  # which differ from one moment to the next
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(("path", "allowed"), [("/predict", "POST, OPTIONS"), ("/health", "GET, HEAD, OPTIONS")])
def test_another_method_is_told_which_will_do(gemma: httpx.Client, path: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE"} - set(allowed.split(", ")):
        answer = gemma.request(method, path)

        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed), method
        assert answer.json()["detail"]
    assert gemma.options(path).status_code == 204
    assert gemma.options(path).headers["Allow"] == allowed


def test_each_method_that_is_allowed_is(gemma: httpx.Client) -> None:
    name = gemma.get("/v1/models").json()["data"][0]["id"]
    for declared in gemma.get("/openapi.json").json()["paths"]:
        path = declared.replace("{model}", name)
        for method in gemma.options(path).headers["Allow"].split(", "):
            assert gemma.request(method, path).status_code in (200, 204, 422), (method, path)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_path_that_is_not_there_is_not_found(gemma: httpx.Client, method: str) -> None:
    assert gemma.request(method, "/nowhere").status_code == 404
    assert httpx.request(method, f"{gemma.base_url}/nowhere").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/health/", "/readyz", "/livez", "/status", "/favicon.ico"])
def test_what_is_open_is_harmless_with_any_token(gemma: httpx.Client, path: str) -> None:
    for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": TOKEN}, {"Authorization": "Basic ?"}):
        assert httpx.get(f"{gemma.base_url}{path}", headers=headers).status_code == 200
