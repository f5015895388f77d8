"""The server's own metrics, in Prometheus' text format.

The library's objects are bound to their labels once; a request then costs about 3 us (one count, two observations).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from podium_serving.settings import Settings

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CODES = (200, 400, 404, 405, 408, 413, 415, 431, 500, 501)
_LABELS = ("model", "version", "revision")


class Metrics:
    """Counts of inference requests; probes and metadata are not counted, for they would thin out the errors."""

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        labels = (settings.model, settings.version, settings.revision)
        requests = Counter(
            "podium_serving_requests",
            "Inference requests answered, by status code.",
            (*_LABELS, "code"),
            registry=self._registry,
        )
        duration = Histogram(
            "podium_serving_request_duration_seconds",
            "From the first byte of an inference request to its answer.",
            _LABELS,
            registry=self._registry,
            buckets=BUCKETS,
        )
        inference = Histogram(
            "podium_serving_inference_duration_seconds",
            "Time in onnxruntime.",
            _LABELS,
            registry=self._registry,
            buckets=BUCKETS,
        )
        in_flight = Gauge(
            "podium_serving_requests_in_flight",
            "Inference requests that are being answered.",
            _LABELS,
            registry=self._registry,
        )
        # The codes that an inference request can get exist from the start, so that a rate over them has a first value.
        self._codes = {code: requests.labels(*labels, str(code)) for code in CODES}
        self._duration = duration.labels(*labels)
        self.observe_inference = inference.labels(*labels).observe
        self.started = in_flight.labels(*labels).inc
        self._ended = in_flight.labels(*labels).dec
        ProcessCollector(registry=self._registry)

    def answered(self, code: int, seconds: float) -> None:
        """An inference request got its answer `seconds` after its first byte."""
        self._codes[code].inc()
        self._duration.observe(seconds)
        self._ended()

    def exposition(self) -> bytes:
        """All metrics as text."""
        return generate_latest(self._registry)
