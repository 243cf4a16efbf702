"""What the service tells whoever measures it, as metrics."""

from embedding.serving import Observer, Service, Timings
from embedding.serving.observer import Cause, EngineError
from embedding.telemetry.metrics import Metrics


class MetricsObserver(Observer):
    """Counts into `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def rejected(self, cause: Cause) -> None:
        """A request is turned away."""
        self._metrics.rejects.labels(cause).inc()

    def cache(self, hits: int, misses: int) -> None:
        """Texts that the cache had, and those it had not."""
        self._metrics.cache_hits.inc(hits)
        self._metrics.cache_misses.inc(misses)

    def batch(self, texts: int, tokens: int, seconds: float) -> None:
        """A call of the engine."""
        self._metrics.batch_texts.observe(texts)
        self._metrics.batch_tokens.observe(tokens)
        self._metrics.batch_seconds.observe(seconds)

    def engine_error(self, kind: EngineError) -> None:
        """A call of the engine that failed."""
        self._metrics.engine_errors.labels(kind).inc()

    def text_failed(self) -> None:
        """A text without a vector."""
        self._metrics.failed_texts.inc()

    def expired(self) -> None:
        """A request that missed its deadline."""
        self._metrics.expired.inc()

    def abandoned(self) -> None:
        """A request whose caller left."""
        self._metrics.abandoned.inc()

    def finished(self, timings: Timings, texts: int, tokens: int, truncated: int) -> None:
        """A request that is answered."""
        self._metrics.queue_seconds.observe(timings.queue)
        self._metrics.tokenization_seconds.observe(timings.tokenization)
        self._metrics.engine_seconds.observe(timings.engine)
        self._metrics.texts.inc(texts)
        self._metrics.tokens.inc(tokens)
        self._metrics.truncated_texts.inc(truncated)


def measure_service(metrics: Metrics, service: Service) -> None:
    """Let `metrics` ask `service`, whenever they are asked themselves, how much there is to do."""
    metrics.queue_tokens.set_function(lambda: service.queue_tokens)
    metrics.queue_requests.set_function(lambda: service.queue_requests)
    metrics.cache_bytes.set_function(lambda: service.cache_bytes)
