"""What the callers of front.py saw, with the names and buckets of Podium's own server."""

from bisect import bisect_left
from itertools import accumulate

EDGES = (*(float(f"{1e-4 * 10 ** (k / 12):.4g}") for k in range(82)), 600.0)
"""Seconds: the grid of podium_serving.metrics, whose names these are too."""


class Counts:
    """Requests by status code, and how long they took from their last byte to the answer's first."""

    def __init__(self, labels):
        self.labels = labels
        self.codes = dict.fromkeys((200, 400, 404, 500, 502, 503, 507), 0)
        self.buckets = [0] * (len(EDGES) + 1)
        self.seconds = 0.0
        self.started = self.abandoned = 0

    def answered(self, code, seconds):
        """An answer has begun."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.buckets[bisect_left(EDGES, seconds)] += 1
        self.seconds += seconds

    def text(self):
        """In Prometheus' format."""
        bounds = (*EDGES, "+Inf")
        total, name = sum(self.buckets), "request_duration_seconds"
        flying = self.started - self.abandoned - total
        families = (
            (
                "requests_total",
                "counter",
                [("", f'code="{c}",code_class="{c // 100}xx"', n) for c, n in self.codes.items()],
            ),
            ("requests_started_total", "counter", [("", "", self.started)]),
            ("requests_abandoned_total", "counter", [("", "", self.abandoned)]),
            ("requests_in_flight", "gauge", [("", "", flying)]),
            (
                name,
                "histogram",
                [("_bucket", f'le="{bounds[i]}"', n) for i, n in enumerate(accumulate(self.buckets))]
                + [("_sum", "", self.seconds), ("_count", "", total)],
            ),
        )
        lines = []
        for family, kind, samples in families:
            lines.append(f"# TYPE podium_serving_{family} {kind}\n")
            for suffix, more, value in samples:
                labels = ",".join(filter(None, (self.labels, more)))
                lines.append("podium_serving_" + family + suffix + "{" + labels + "} " + str(value) + "\n")
        return "".join(lines)
