"""What an operator sees: metrics, headers and log lines that say the same, and nothing that a client sent."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli import ROOT, running
from tests.live import TOKEN, live

DASHBOARD = json.loads((ROOT / "docs/grafana.json").read_text())
OPERATE = (ROOT / "docs/operate.md").read_text()


@pytest.fixture(scope="module")
def measured(prepared_gemma: Path) -> Iterator[httpx.Client]:
    """A server of which nobody else has asked anything."""
    with live(model_id=str(prepared_gemma), precision="float32", metrics_open=True) as client:
        yield client


def samples(client: httpx.Client) -> dict[str, float]:
    """The value of each sample by its name and labels, as the text format has them."""
    text = client.get("/metrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_each_answer_counts(measured: httpx.Client) -> None:
    before = samples(measured)
    measured.post("/predict", json={"query": ["one", "two", "entropy " * 3000]})
    measured.post("/predict", json={"query": ""})
    after = samples(measured)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('embedding_requests_total{route="/predict",status="200"}') == 1
    assert grown('embedding_requests_total{route="/predict",status="422"}') == 1
    assert grown('embedding_request_seconds_count{route="/predict"}') == 2
    assert after["embedding_connections"] >= 1
    assert after["embedding_ready"] == 1
    assert after["process_resident_memory_bytes"] > 1e7
    (model,) = [name for name in after if name.startswith("embedding_model_info{")]
    assert 'precision="float32"' in model
    assert any(name.startswith("embedding_build_info{") for name in after)


def test_the_texts_of_a_request_count(measured: httpx.Client) -> None:
    before = samples(measured)
    measured.post("/predict", json={"query": ["three", "four", "enthalpy " * 3000]})
    after = samples(measured)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown("embedding_texts_total") == 3
    assert grown("embedding_truncated_texts_total") == 1
    assert grown("embedding_tokens_total") > 100
    assert grown("embedding_batch_texts_sum") == 3
    for part in ("queue", "tokenization", "engine"):
        assert grown(f"embedding_{part}_seconds_count") == 1


def test_nothing_that_a_client_sends_becomes_a_label(measured: httpx.Client) -> None:
    names = set(samples(measured))
    odd = "walrusoctave"
    measured.request(odd.upper(), "/predict")
    measured.get(f"/{odd}", params={odd: odd}, headers={odd: odd, "X-Request-ID": odd, "User-Agent": odd})
    measured.get(f"/page/{odd}")
    measured.post("/predict", json={"query": odd, "task": odd})
    new = set(samples(measured)) - names

    assert odd not in " ".join(new).lower()
    routes = {found[1] for name in new if (found := re.search(r"route=\"([^\"]*)\"", name))}
    assert routes <= {"/predict", "(other)", "/page/{name}"}


def test_metrics_ask_for_the_token_unless_they_are_open(gemma: httpx.Client, measured: httpx.Client) -> None:
    assert httpx.get(f"{gemma.base_url}/metrics").status_code == 401
    assert gemma.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert httpx.get(f"{measured.base_url}/metrics").status_code == 200


def test_two_apps_count_apart(gemma: httpx.Client, measured: httpx.Client) -> None:
    mine = 'embedding_requests_total{route="/predict",status="200"}'
    before = samples(measured).get(mine, 0)
    gemma.post("/predict", json={"query": "x"})

    assert samples(measured).get(mine, 0) == before


def test_an_answer_says_where_its_time_went(gemma: httpx.Client) -> None:
    timing = gemma.post("/predict", json={"query": "where does time go"}).headers["Server-Timing"]
    names = [part.partition(";dur=")[0] for part in timing.split(", ")]
    seconds = [float(part.partition(";dur=")[2]) for part in timing.split(", ")]

    assert names == ["tokenization", "queue", "engine", "total"]
    assert min(seconds) >= 0
    assert seconds[2] > 0
    assert seconds[3] > 0


@pytest.mark.parametrize("path", ["/predict", "/health", "/nowhere"])
def test_a_request_keeps_its_id_and_gets_one_where_it_has_none(gemma: httpx.Client, path: str) -> None:
    sent = [
        gemma.get(path, headers={"X-Request-ID": given.encode()}).headers["X-Request-ID"]
        for given in ("trace-1.a_B", "with space", "x" * 200, "ä", "", "{}\"'")
    ]

    assert sent[0] == "trace-1.a_B"
    assert len(set(sent)) == len(sent)
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in sent[1:])


def metrics_named(text: str) -> set[str]:
    """The metrics in an expression or a sentence, without the endings that the text format gives to a histogram's."""
    return set(re.findall(r"\b((?:embedding|process)_[a-z_]+?)(?:_bucket|_count|_sum)?\b(?=[^a-z_]|$)", text))


def families(client: httpx.Client) -> dict[str, str]:
    """Each metric that the server has and its meaning. Counters have the ending that they are asked for by."""
    found = text_string_to_metric_families(client.get("/metrics").text)
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.documentation
        for family in found
        if not family.name.endswith("_created")
    }


def test_the_dashboard_asks_for_metrics_that_are_there(measured: httpx.Client) -> None:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]

    assert len(asked) > 10
    assert metrics_named(" ".join(asked)) <= set(families(measured))


def test_the_dashboard_imports_without_edits() -> None:
    inputs = {f"${{{given['name']}}}" for given in DASHBOARD["__inputs"]}
    sources = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel}

    assert sources == inputs == {"${DS_PROMETHEUS}"}
    assert DASHBOARD["id"] is None
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_docs_list_every_metric_with_its_meaning(measured: httpx.Client) -> None:
    rows = dict(re.findall(r"^\| `(embedding_\w+)`(?: by [^|]*)? \| (.*) \|$", OPERATE, re.MULTILINE))

    assert rows == {name: about for name, about in families(measured).items() if name.startswith("embedding_")}


def test_a_log_line_of_json_has_what_the_headers_say(prepared_gemma: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--model", str(prepared_gemma), auth_token=TOKEN, LOG_FORMAT="json") as server:
        server.wait_for("Ready")
        headers = {"X-API-Key": TOKEN, "X-Request-ID": "my-own-id"}
        httpx.get(f"{server.url}/health")
        httpx.post(f"{server.url}/predict", json={"query": ["one", "two"]}, headers=headers, timeout=60)
        line = json.loads(server.wait_for("my-own-id"))
        lines = [json.loads(text) for text in server.output.splitlines() if text.startswith("{")]

    assert (line["level"], line["method"], line["route"], line["status"]) == ("INFO", "POST", "/predict", 200)
    assert (line["request_id"], line["texts"], line["truncated"]) == ("my-own-id", 2, 0)
    assert line["total_ms"] > 0
    assert line["engine_ms"] > 0
    assert {"time", "tokens", "queue_ms", "tokenization_ms"} <= set(line)
    assert "/health" not in {each.get("route") for each in lines}  # a probe a second would drown the rest
