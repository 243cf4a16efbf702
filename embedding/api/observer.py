"""What the service tells whoever measures it, as metrics."""

from embedding.serving import Observer, Service, Timings
from embedding.serving.observer import Cause, EngineError
from embedding.telemetry.metrics import Metrics


class MetricsObserver(Observer):
    """Counts into `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def rejected(self, cause: Cause) -> None:
        """A request is turned away."""
        self.metrics.rejects.labels(cause).inc()

    def cache(self, hits: int, misses: int) -> None:
        """Texts that the cache had, and those it had not."""
        self.metrics.cache_hits.inc(hits)
        self.metrics.cache_misses.inc(misses)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """A call of the engine."""
        self.metrics.batch_texts.observe(texts)
        self.metrics.batch_tokens.observe(tokens)
        self.metrics.batch_seconds.observe(seconds)

    def engine_error(self, kind: EngineError) -> None:
        """A call of the engine that failed."""
        self.metrics.engine_errors.labels(kind).inc()

    def text_failed(self) -> None:
        """A text without a vector."""
        self.metrics.failed_texts.inc()

    def expired(self) -> None:
        """A request that missed its deadline."""
        self.metrics.expired.inc()

    def abandoned(self) -> None:
        """A request whose caller left."""
        self.metrics.abandoned.inc()

    def finished(self, timings: Timings, texts: int, tokens: int, truncated: int) -> None:
        """A request that is answered."""
        self.metrics.queue_seconds.observe(timings.queue)
        self.metrics.tokenization_seconds.observe(timings.tokenization)
        self.metrics.engine_seconds.observe(timings.engine)
        self.metrics.texts.inc(texts)
        self.metrics.tokens.inc(tokens)
        self.metrics.truncated_texts.inc(truncated)


def observe(service: Service) -> Metrics:
    """The metrics of `service`: those it was made with, or new ones where it was made without and is not loaded yet."""
    if not isinstance(service.observer, MetricsObserver):
        service.observer = MetricsObserver(Metrics())
    metrics = service.observer.metrics
    metrics.queue_tokens.set_function(lambda: service.queue_tokens)
    metrics.queue_requests.set_function(lambda: service.queue_requests)
    metrics.cache_bytes.set_function(lambda: service.cache_bytes)
    return metrics
