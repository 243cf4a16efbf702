"""Traces: one span a request, with spans for its parts, and nothing that its client sent."""

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from embedding.telemetry.tracing import Tracer, tracer_from_environment
from tests.live import live

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_request_is_a_span_with_its_parts_inside(prepared_gemma: Path, caplog: pytest.LogCaptureFixture) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with live(Tracer(provider), model_id=str(prepared_gemma)) as client:
        client.post("/predict?walrus=1", json={"query": "walrus"}, headers={"traceparent": CALLER})
        client.get("/walrus")
        for state in ("a walrus", "walrus=1"):
            client.get("/walrus", headers={"traceparent": CALLER, "tracestate": state})

    by_name = {span.name: span for span in spans.get_finished_spans()}
    request = by_name["POST /predict"]
    assert set(by_name) == {"POST /predict", "GET (other)", "tokenization", "queue", "engine"}
    assert f"{request.context.trace_id:032x}" == CALLER.split("-")[1]
    assert request.attributes["http.response.status_code"] == 200
    for part in ("tokenization", "queue", "engine"):
        assert by_name[part].parent.span_id == request.context.span_id
        assert request.start_time <= by_name[part].start_time <= by_name[part].end_time <= request.end_time
    assert "walrus" not in "".join(span.to_json() for span in spans.get_finished_spans())
    assert "walrus" not in caplog.text


def test_without_its_variables_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracer_from_environment() is None


def test_where_the_package_is_missing_it_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    assert tracer_from_environment() is None
    assert "pip install opentelemetry-sdk" in caplog.text
