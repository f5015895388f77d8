"""What Podium says about itself: JSON log lines, metrics under controller-runtime's names, health endpoints."""

import datetime
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics import disable_created_metrics

CONTROLLER: Final = "modeldeployment"
"""The label of what is counted for all kinds together, which are nearly all of this one."""

PARTS: Final = ("worker", "lease", "resync", "leader", "events", "watches")
"""Parts of the process: each goes on for as long as it lives, whatever it meets."""

LOG_FIELDS: Final = ("modeldeployment", "modelruntime", "revision", "rule", "reason")
"""In every line, empty where they do not apply."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_about: ContextVar[dict[str, str] | None] = ContextVar("log_fields", default=None)


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Log lines written inside carry these fields (see LOG_FIELDS)."""
    token = _about.set({**(_about.get() or {}), **fields})
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object per line; the fields come from `about` or from the call's `extra`, which wins."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = _about.get() or {}
        for field in LOG_FIELDS:
            line[field] = getattr(record, field, None) or fields.get(field, "")
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Half a surrogate pair, which somebody's text may hold, cannot be written: its escape can.
        return json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace").decode()


_NOISE: Final = ("request_cancel_callback", "async_generator object infinite_watch")


class _KopfNoise(logging.Filter):
    """kopf reports every attempt of every watch while the API server is away; the Lease and the cache say it once.

    When it ends, its streams complain about the way they are closed, to no effect (1.45.2).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        return not message.startswith("Request attempt") and not any(noise in message for noise in _NOISE)


def log_to_stderr(level: str) -> None:
    """JSON lines to standard error; libraries from warning on, Podium from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_KopfNoise())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("podium").setLevel(level.upper())


class Metrics:
    """The operator's own metrics; it observes the queue (QueueObserver) and the requests (RequestObserver)."""

    def __init__(self, *, held: Callable[[], list[float]], leading: Callable[[], bool], lease: str) -> None:
        cast(Any, disable_created_metrics)()  # a second series for each, with no use here; untyped
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._reconciles = Counter(
            "controller_runtime_reconcile", "Passes by result.", ["controller", "result"], registry=registry
        )
        self._errors = Counter(
            "controller_runtime_reconcile_errors", "Passes that raised.", ["controller"], registry=registry
        )
        self._reconcile_seconds = self._histogram("controller_runtime_reconcile_time_seconds", "Time of a pass.")
        active = self._gauge("controller_runtime_active_workers", "Workers with a key in hand.")
        active.set_function(lambda: len(held()))
        self._workers = self._gauge("controller_runtime_max_concurrent_reconciles", "Workers.")
        self._depth = self._gauge("workqueue_depth", "Keys that are due.", "name")
        self._adds = Counter("workqueue_adds", "Keys that became due.", ["name"], registry=registry).labels(CONTROLLER)
        self._retries = Counter("workqueue_retries", "Keys that failed.", ["name"], registry=registry).labels(
            CONTROLLER
        )
        self._waited = self._histogram("workqueue_queue_duration_seconds", "From due to taken.", "name")
        self._worked = self._histogram("workqueue_work_duration_seconds", "From taken to done.", "name")
        unfinished = self._gauge("workqueue_unfinished_work_seconds", "Sum over the keys in hand.", "name")
        unfinished.set_function(lambda: sum(held()))
        longest = self._gauge("workqueue_longest_running_processor_seconds", "The oldest key in hand.", "name")
        longest.set_function(lambda: max(held(), default=0.0))
        self._requests = Counter(
            "rest_client_requests", "Requests to the API server.", ["code", "method", "resource"], registry=registry
        )
        self._request_seconds = Histogram(
            "rest_client_request_duration_seconds", "Time of a request.", ["verb"], buckets=_SECONDS, registry=registry
        )
        master = Gauge("leader_election_master_status", "1 if this replica writes.", ["name"], registry=registry)
        master.labels(lease).set_function(lambda: float(leading()))
        self._unreadable = Counter(
            "podium_unreadable_objects",
            "Objects of which the metadata alone could be read, and events that were no objects.",
            ["kind"],
            registry=registry,
        )
        self._failures = Counter(
            "podium_part_failures",
            "Unexpected errors of a part of the process, which goes on.",
            ["part"],
            registry=registry,
        )
        self._decisions = Counter(
            "podium_decisions",
            "Outcomes of revisions, by rule: of the rule of a metric or a Job its kind alone.",
            ["outcome", "rule"],
            registry=registry,
        )
        for part in PARTS:
            self._failures.labels(part)
        # Label lookups cost more than the counting: remember the children.
        self._request_children: dict[tuple[int, str, str], Any] = {}
        self._result_children: dict[tuple[str, str], Any] = {}

    def added(self, depth: int) -> None:
        """See QueueObserver."""
        self._adds.inc()
        self._depth.set(depth)

    def taken(self, depth: int, waited: float) -> None:
        """See QueueObserver."""
        self._depth.set(depth)
        self._waited.observe(waited)

    def finished(self, took: float) -> None:
        """See QueueObserver."""
        self._worked.observe(took)

    def retried(self) -> None:
        """See QueueObserver."""
        self._retries.inc()

    def request(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """See RequestObserver."""
        key = (status, verb, resource)
        child = self._request_children.get(key)
        if child is None:
            code = str(status) if status else "<error>"
            child = (self._requests.labels(code, verb, resource), self._request_seconds.labels(verb))
            self._request_children[key] = child
        child[0].inc()
        child[1].observe(seconds)

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """A pass over one of a kind has ended: `success`, `requeue_after` or `error`; `seconds` it took."""
        child = self._result_children.get((kind, result))
        if child is None:
            child = self._result_children[kind, result] = self._reconciles.labels(kind.lower(), result)
        child.inc()
        if result == "error":
            self._errors.labels(kind.lower()).inc()
        self._reconcile_seconds.observe(seconds)

    def unreadable(self, kind: str) -> None:
        """An object of this kind cannot be read."""
        self._unreadable.labels(kind).inc()

    def failed(self, part: str) -> None:
        """A part of the process (one of PARTS) has met an error that it did not expect."""
        self._failures.labels(part).inc()

    def decided(self, outcome: str, rule: str) -> None:
        """A revision got an outcome by a rule, such as `harm: errors`."""
        self._decisions.labels(outcome, rule.split(":")[0]).inc()

    def workers(self, count: int) -> None:
        """How many workers there are."""
        self._workers.set(count)

    def _gauge(self, name: str, text: str, label: str = "controller") -> Any:
        return Gauge(name, text, [label], registry=self.registry).labels(CONTROLLER)

    def _histogram(self, name: str, text: str, label: str = "controller") -> Any:
        return Histogram(name, text, [label], buckets=_SECONDS, registry=self.registry).labels(CONTROLLER)


Check = Callable[[], str]
"""Answers an empty string when all is well, else what is wrong."""


class Servers:
    """/livez and /readyz on one port, /metrics on the other; port 0 switches one off."""

    def __init__(self, *, live: Check, ready: Check, registry: CollectorRegistry) -> None:
        self._checks = {"/livez": live, "/readyz": ready}
        self._registry = registry
        self._runners: list[web.AppRunner] = []

    async def start(self, health_port: int, metrics_port: int) -> None:
        """Listen; OSError names the port that is taken."""
        health = web.Application()
        for path in self._checks:
            health.router.add_get(path, self._health)
        metrics = web.Application()
        metrics.router.add_get("/metrics", self._metrics)
        for app, port in ((health, health_port), (metrics, metrics_port)):
            if port:
                runner = web.AppRunner(app, access_log=None, keepalive_timeout=5, shutdown_timeout=1)
                await runner.setup()
                self._runners.append(runner)
                await web.TCPSite(runner, port=port, reuse_address=True).start()

    async def stop(self) -> None:
        """Close the ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        wrong = self._checks[request.path]()
        return web.Response(status=503 if wrong else 200, text=f"{wrong or 'ok'}\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        text = generate_latest(self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})
