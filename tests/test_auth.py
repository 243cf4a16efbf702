"""Only who knows the token gets a vector."""

import httpx
import pytest

from embedding.settings import Settings, SettingsError
from tests.live import TOKEN, live

QUERY = {"query": "lattice"}


def post(client: httpx.Client, headers: dict[str, str | bytes], path: str = "/predict") -> httpx.Response:
    return httpx.post(f"{client.base_url}{path}", json=QUERY, headers=headers, timeout=60)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer {TOKEN}"},
        {"X-API-Key": TOKEN},
        {"Authorization": "Bearer hf_of_the_gateway", "X-API-Key": TOKEN},
        {"Authorization": f"Bearer {TOKEN}", "X-API-Key": "another"},
    ],
)
def test_the_token_is_taken_from_either_header(demo: httpx.Client, headers: dict[str, str]) -> None:
    assert post(demo, headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer t\xf6ken".encode()},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
    ],
)
def test_anything_else_is_refused(demo: httpx.Client, headers: dict[str, str | bytes]) -> None:
    answer = post(demo, headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in answer.json()["detail"]


def test_the_token_is_asked_for_before_the_body_is_looked_at(demo: httpx.Client) -> None:
    answer = httpx.post(f"{demo.base_url}/predict", content=b"{broken")

    assert answer.status_code == 401


def test_every_header_that_is_sent_is_looked_at(demo: httpx.Client) -> None:
    answer = httpx.post(
        f"{demo.base_url}/predict",
        json=QUERY,
        headers=[("Authorization", "Basic x"), ("X-API-Key", "wrong"), ("X-API-Key", ""), ("X-API-Key", TOKEN)],
        timeout=60,
    )

    assert answer.status_code == 200


def test_an_unknown_path_is_refused_like_any_other(demo: httpx.Client) -> None:
    assert post(demo, {}, "/nowhere").status_code == 401


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/docs", "/openapi.json", "/"])
def test_probes_and_documentation_are_open(demo: httpx.Client, path: str) -> None:
    assert httpx.get(f"{demo.base_url}{path}", follow_redirects=True).status_code == 200


def test_health_does_not_mind_a_token(demo: httpx.Client) -> None:
    for token in (TOKEN, "wrong"):
        answer = httpx.get(f"{demo.base_url}/health", headers={"Authorization": f"Bearer {token}"})

        assert (answer.status_code, answer.text) == (200, "ok")


def test_one_of_several_tokens_will_do(tiny_gemma) -> None:
    with live(model_id=str(tiny_gemma), auth_token="old-one, neü-one,") as client:
        statuses = [post(client, {"X-API-Key": t.encode()}).status_code for t in ("old-one", "neü-one", TOKEN, ",", "")]

    assert statuses == [200, 200, 401, 401, 401]


@pytest.mark.parametrize("value", ["", "  ", ",", " , "])
def test_without_a_token_the_settings_say_what_to_set(value: str) -> None:
    with pytest.raises(SettingsError, match=r"Set auth_token .* --demo"):
        Settings.read(auth_token=value).required_tokens()


@pytest.mark.parametrize("name", ["auth_token", "AUTH_TOKEN", "Auth_Token"])
def test_the_variable_is_read_in_any_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "t")

    assert Settings.read().tokens == ("t",)


def test_the_documentation_offers_both_headers(demo: httpx.Client) -> None:
    schemes = demo.get("/openapi.json").json()["components"]["securitySchemes"]

    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
