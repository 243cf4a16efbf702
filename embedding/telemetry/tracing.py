"""OpenTelemetry traces: where its variables are set and its packages are there, a span a request."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NEEDED = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"


class Tracer:
    """Makes spans of what has ended already, by a provider of OpenTelemetry's."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("embedding")
        self._propagator = TraceContextTextMapPropagator()

    def record(
        self,
        name: str,
        seconds: float,
        parts: Mapping[str, float],
        attributes: Mapping[str, Any],
        headers: Mapping[str, str],
    ) -> None:
        """A span of a request that ends now, with one in it for each of `parts` (seconds), one after another.

        Where `headers` have a `traceparent`, it is the child of that.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        # Not its tracestate: OpenTelemetry logs one that it can't read, and a client may have put anything there.
        carrier = {"traceparent": headers["traceparent"]} if "traceparent" in headers else {}
        end = time.time_ns()
        start = end - _nanoseconds(seconds)
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes=dict(attributes),
            start_time=start,
        )
        if int(attributes.get("http.response.status_code", 0)) >= 500:
            span.set_status(Status(StatusCode.ERROR))
        inside = set_span_in_context(span)
        at = max(start, end - _nanoseconds(sum(parts.values())))
        for part, duration in parts.items():
            child = self._tracer.start_span(part, context=inside, start_time=at)
            at = min(end, at + _nanoseconds(duration))
            child.end(at)
        span.end(end)

    def close(self) -> None:
        """Send what is not sent yet."""
        self._provider.shutdown()


def tracer_from_environment() -> Tracer | None:
    """A tracer that sends to the collector which OpenTelemetry's own variables name; None where none is named."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(os.environ.get, VARIABLES)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("no traces are sent, though OpenTelemetry's variables are set: %s", NEEDED)
        return None
    service = os.environ.get("OTEL_SERVICE_NAME", "embedding")
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


def _nanoseconds(seconds: float) -> int:
    return int(1e9 * seconds)
