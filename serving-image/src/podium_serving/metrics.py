"""The server's own metrics, in Prometheus' text format.

Kept as plain numbers under names that are put together once: a request costs a few additions and a bisection. The
library's histograms walk their buckets behind a lock, which on a grid of 83 edges costs more than the answer. All of it
belongs to the event loop's thread.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sized
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from podium_serving.settings import Settings

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode()
EDGES = (*(float(f"{1e-4 * 10 ** (k / 12):.4g}") for k in range(82)), 600.0)
"""Seconds: 12 edges a decade from 0.1 ms, the same for all that is compared. Where the last would be, 600 s."""
CODES = (200, 400, 404, 405, 408, 413, 415, 431, 500, 501, 503, 505)
SHED = ("memory", "queue_age", "queue_length")
_PREFIX = "podium_serving_"
_BOUNDS = (*(repr(edge) for edge in EDGES), "+Inf")


class Histogram:
    """Counts between the grid's edges; they are cumulated only when they are read."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more. An observation on an edge belongs below it, as Prometheus has it."""
        self.counts[bisect_left(EDGES, seconds)] += 1
        self.total += seconds


class Metrics:
    """Counts of inference requests; probes and metadata are not counted, for they would thin out the errors."""

    def __init__(self, settings: Settings) -> None:
        named = (("model", settings.model), ("version", settings.version), ("revision", settings.revision))
        self._labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in named)
        # The codes that an inference request can get exist from the start, so that a rate over them has a first value.
        self._codes = dict.fromkeys(CODES, 0)
        self._shed = dict.fromkeys(SHED, 0)
        self._started = self._abandoned = self._answered = self._failures = 0
        duration, inference, queue = Histogram(), Histogram(), Histogram()
        self._duration = duration
        self.inferred = inference.observe
        self.queued = queue.observe
        self.queues: list[Sized] = []
        self._warm_up_runs: dict[str, int] = {}
        self._refused_kinds = 0
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._families = {
            f"{_PREFIX}{name}": self._family(name, kind, words, samples)
            for name, kind, words, samples in (
                ("requests_total", "counter", "Inference requests answered, by status code.", self._by_code),
                ("requests_started_total", "counter", "Inference requests begun.", lambda: {"": self._started}),
                (
                    "requests_abandoned_total",
                    "counter",
                    "Inference requests whose callers went away before the answer; counted nowhere else.",
                    lambda: {"": self._abandoned},
                ),
                (
                    "requests_in_flight",
                    "gauge",
                    "Inference requests that are being answered.",
                    lambda: {"": self._started - self._answered - self._abandoned},
                ),
                (
                    "requests_shed_total",
                    "counter",
                    "Inference requests refused for want of room, by what was full.",
                    lambda: {f',reason="{reason}"': count for reason, count in self._shed.items()},
                ),
                (
                    "inference_failures_total",
                    "counter",
                    "Runs that failed on inputs which passed validation.",
                    lambda: {"": self._failures},
                ),
                (
                    "queue_length",
                    "gauge",
                    "Inference requests that wait for a worker, or to have large JSON read.",
                    lambda: {"": sum(map(len, self.queues))},
                ),
                (
                    "warm_up_runs",
                    "gauge",
                    "Runs before the first request, on samples (warmup.json) or on sizes that fit the graph.",
                    lambda: {f',source="{source}"': count for source, count in self._warm_up_runs.items()},
                ),
                (
                    "refused_kinds",
                    "gauge",
                    "Kinds of requests that are refused because they ended the probe's process.",
                    lambda: {"": self._refused_kinds},
                ),
            )
        } | {
            f"{_PREFIX}{name}": self._histogram(name, words, histogram)
            for name, words, histogram in (
                ("request_duration_seconds", "From a request's last byte to its answer's first.", duration),
                ("queue_duration_seconds", "Time that a run waited for its turn.", queue),
                ("inference_duration_seconds", "Time in onnxruntime, of runs that succeeded.", inference),
            )
        }

    def loaded(self, warm_up_runs: dict[str, int], refused_kinds: int) -> None:
        """The model is loaded: runs of its warm-up by source, and kinds of requests that the probe did not survive."""
        self._warm_up_runs, self._refused_kinds = warm_up_runs, refused_kinds

    def started(self) -> None:
        """An inference request is there."""
        self._started += 1

    def answered(self, code: int, seconds: float) -> None:
        """An inference request got its answer `seconds` after its last byte."""
        self._codes[code] += 1
        self._answered += 1
        self._duration.observe(seconds)

    def abandoned(self) -> None:
        """The caller of an inference request went away before its answer."""
        self._abandoned += 1

    def inference_failed(self) -> None:
        """The model failed on a request that passed validation."""
        self._failures += 1

    def shed(self, reason: str) -> None:
        """A request was refused because there is too much to do; `reason` is one of SHED."""
        self._shed[reason] += 1

    def exposition(self, names: Iterable[str] = ()) -> bytes:
        """The series of these names as text, all without any; one of a histogram's names stands for all of them."""
        wanted = {_family_name(name) for name in names}
        text = "".join(family() for name, family in self._families.items() if not wanted or name in wanted).encode()
        if wanted and not any(name.startswith("process_") for name in wanted):
            return text
        process = generate_latest(self._process).splitlines(keepends=True)
        return text + b"".join(line for line in process if not wanted or _named(line) in wanted)

    def _by_code(self) -> dict[str, int]:
        return {f',code="{code}",code_class="{code // 100}xx"': count for code, count in self._codes.items()}

    def _family(self, name: str, kind: str, words: str, samples: Callable[[], dict[str, int]]) -> Callable[[], str]:
        """Writes the values that `samples` gives by further labels."""
        head, start = _head(name, kind, words), f"{_PREFIX}{name}{{{self._labels}"
        return lambda: head + "".join([f"{start}{labels}}} {value}\n" for labels, value in samples().items()])

    def _histogram(self, name: str, words: str, histogram: Histogram) -> Callable[[], str]:
        start, labels = f"{_PREFIX}{name}", self._labels
        escaped = labels.replace("%", "%%")
        layout = "".join(f'{start}_bucket{{{escaped},le="{bound}"}} %d\n' for bound in _BOUNDS)
        end = f"{start}_sum{{{labels}}} ", f"{start}_count{{{labels}}} "
        head = _head(name, "histogram", words)

        def text() -> str:
            cumulated = tuple(accumulate(histogram.counts))
            return f"{head}{layout % cumulated}{end[0]}{histogram.total!r}\n{end[1]}{cumulated[-1]}\n"

        return text


def _family_name(name: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(f"_seconds{suffix}"):
            return name.removesuffix(suffix)
    return name


def _named(line: bytes) -> str:
    """The metric that a line of the text format is about."""
    return line.removeprefix(b"# HELP ").removeprefix(b"# TYPE ").split()[0].decode()


def _head(name: str, kind: str, words: str) -> str:
    return f"# HELP {_PREFIX}{name} {words}\n# TYPE {_PREFIX}{name} {kind}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
