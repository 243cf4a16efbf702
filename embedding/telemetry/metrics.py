"""Every metric of `/metrics`, once: its name, its labels and what it means. Labels come from fixed sets only."""

import platform
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from embedding import __version__

PREFIX = "embedding"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
MODEL = ("model", "engine", "device", "precision", "threads", "dimension", "max_tokens")


class Metrics:
    """The metrics of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, namespace=PREFIX, registry=self.registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(name, meaning, labels, namespace=PREFIX, registry=self.registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, meaning, labels, namespace=PREFIX, buckets=buckets, registry=self.registry)

        self.requests = counter("requests", "requests answered", "route", "status")
        self.requests_in_progress = gauge("requests_in_progress", "requests under way")
        self.request_seconds = histogram("request_seconds", "from a request's head to its answer", SECONDS, "route")
        self.queue_seconds = histogram("queue_seconds", "time of a request in the queue", SECONDS)
        self.tokenization_seconds = histogram("tokenization_seconds", "time of a request in the tokenizer", SECONDS)
        self.engine_seconds = histogram("engine_seconds", "time of a request in the engine", SECONDS)
        self.texts = counter("texts", "texts embedded")
        self.tokens = counter("tokens", "tokens of them that the model reads")
        self.truncated_texts = counter("truncated_texts", "texts cut to the model's limit")
        self.failed_texts = counter("failed_texts", "texts of which the model makes no vector")
        self.batch_texts = histogram("batch_texts", "texts in a call of the engine", TEXTS)
        self.batch_tokens = histogram("batch_tokens", "tokens in a call of the engine", TOKENS)
        self.batch_seconds = histogram("batch_seconds", "duration of a call of the engine", SECONDS)
        self.engine_errors = counter("engine_errors", "calls of the engine that failed", "kind")
        self.queue_tokens = gauge("queue_tokens", "tokens that wait for the engine")
        self.queue_requests = gauge("queue_requests", "requests that wait for the engine")
        self.cache_hits = counter("cache_hits", "texts whose vector the cache had")
        self.cache_misses = counter("cache_misses", "texts whose vector it did not have")
        self.cache_bytes = gauge("cache_bytes", "bytes of vectors in the cache")
        self.rejects = counter("rejects", "requests turned away", "cause")
        self.expired = counter("expired", "requests that missed their deadline")
        self.abandoned = counter("abandoned", "requests whose caller left before the answer")
        self.connections = gauge("connections", "open connections")
        self.ready = gauge("ready", "1 while /readyz says ok")
        self.model_info = gauge("model_info", "1, labelled with what computes the vectors", *MODEL)
        build_info = gauge("build_info", "1, labelled with what runs", "version", "python")
        build_info.labels(__version__, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def describe_model(self, labels: Mapping[str, object]) -> None:
        """Say what computes the vectors: a value for each of MODEL."""
        self.model_info.clear()
        self.model_info.labels(*(labels[name] for name in MODEL)).set(1)

    def render(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
