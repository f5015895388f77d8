"""What the text of one router's statistics says, by cluster. Pure.

https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--stats: a line `name: value` for each counter and
gauge, in the order of their names, then one for each histogram. The cheapest of the formats that are exact: JSON has
three times as many bytes, Prometheus' five times as many, and that splits the names of our clusters. Without
`usedonly`: a cluster that is there and unused is told apart from one that is not there.

The histogram comes last that every Envoy has from its start on: without it the text is not whole.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import sub
from typing import Final, NamedTuple
from urllib.parse import quote

from podium.analysis.edges import EDGES

COUNTERS: Final = (
    "upstream_rq_active", "upstream_rq_cancelled", "upstream_rq_pending_active", "upstream_rq_pending_failure_eject",
    "upstream_rq_retry", "upstream_rq_timeout", "upstream_rq_total", "upstream_cx_none_healthy",
)  # fmt: skip
"""Of each cluster, from its beginning."""
COMPLETED, TIME = "upstream_rq_completed", "upstream_rq_time"
"""Of a cluster once a request was answered; as are those by code."""
ENDED: Final = "ended"
"""Prefix of what the access log counts, if the router has one."""
UPTIME, LAST = "server.uptime", "server.initialization_time_ms"
NO_FLAGS: Final = "-"
_WITHIN: Final = 0.005
"""Routers write an edge in milliseconds with other digits than `analysis.edges` does in seconds."""

_CLUSTER = re.compile(r"cluster\.([a-z0-9-]+\.(?:http|grpc))\.(upstream_\w+)")
_ENDED = re.compile(
    rf"{ENDED}\.\w+\.cluster\.([a-z0-9-]+\.(?:http|grpc))\.code\.(\d+)\.flags\.([A-Z,]+|-)\.grpc\.(-1|\d*|-)"
)
_CODE = re.compile(r"upstream_rq_(\d{3})")
_BUCKET = re.compile(r"B([0-9.e+]+)\([^,()]+,([0-9]+)\)")
_NOTHING: Final = "No recorded values"


class Unreadable(ValueError):
    """What a router answered is not its statistics; the sentence names the pod."""


class Ended(NamedTuple):
    """How a request ended."""

    code: int
    """Of HTTP, as the caller saw it; 0 for none."""
    flags: frozenset[str]
    """Why it did not end well: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log."""
    grpc: int | None
    """Its status, where it was gRPC; -1 where what the server sent as one is no number."""


@dataclass
class Cluster:
    """Totals of one cluster since its Envoy started."""

    counters: dict[str, int] = field(default_factory=dict)
    """COUNTERS, and COMPLETED; two of them are gauges."""
    codes: dict[int, int] = field(default_factory=dict)
    """Answers by code, with those that broke off in the middle."""
    buckets: tuple[int, ...] | None = None
    """Whole answers by latency: up to each of EDGES, one by one, and beyond the last. None: none was timed."""
    ended: dict[Ended, int] | None = None
    """Requests that are over; None where none was logged."""


@dataclass(frozen=True)
class Reading:
    """One router's statistics."""

    pod: str
    uptime: int
    """Seconds, up to one behind."""
    clusters: Mapping[str, Cluster]
    """By the name of the cluster, `REVISION.http` or `REVISION.grpc`. One that the router does not have is missing."""


def query(revisions: Iterable[str]) -> str:
    """Path and query of what is asked of a router's STATS_PORT."""
    names = "|".join(sorted(map(re.escape, revisions)))
    counted = (
        r"upstream_rq_(\d+|active|cancelled|completed|pending_active|pending_failure_eject|retry|time|timeout|total)"
    )
    wanted = rf"^(cluster\.({names})\.(http|grpc)\.({counted}|upstream_cx_none_healthy)"
    ended = rf"{ENDED}\.\w+\.cluster\.({names})\.(http|grpc)\..*"
    return f"/stats?histogram_buckets=cumulative&filter={quote(f'{wanted}|{ended}|{UPTIME}|{LAST})$', safe='')}"


def read(pod: str, text: str) -> Reading:
    """The statistics in an answer to `query`. Raises Unreadable for anything else, and for a part of one."""
    found: dict[str, Cluster] = {}
    uptime: int | None = None
    name = ""
    for line in text.splitlines():
        if not line:
            continue
        name, separator, value = line.partition(": ")
        if not separator:
            raise Unreadable(f"router pod {pod}: {line[:100]!r} is no statistic")
        if match := _CLUSTER.fullmatch(name):
            _of_cluster(pod, found.setdefault(match[1], Cluster()), match[2], value)
        elif match := _ENDED.fullmatch(name):
            cluster = found.setdefault(match[1], Cluster())
            flags = frozenset() if match[3] == NO_FLAGS else frozenset(match[3].split(","))
            key = Ended(int(match[2]), flags, int(match[4]) if match[4] not in ("", "-") else None)
            if cluster.ended is None:
                cluster.ended = {}
            cluster.ended[key] = _number(pod, name, value)
        elif name.startswith(f"{ENDED}."):
            raise Unreadable(f"router pod {pod}: {name[:200]!r} does not say how a request ended")
        elif name == UPTIME:
            uptime = _number(pod, name, value)
    if name != LAST or uptime is None:
        raise Unreadable(f"router pod {pod}: its statistics break off after {name[:100]!r}")
    for label, cluster in found.items():
        if missing := [each for each in COUNTERS if each not in cluster.counters]:
            if not cluster.counters and cluster.ended:
                continue  # the cluster has gone, and the log's counters stay
            raise Unreadable(f"router pod {pod}: cluster {label} has no {missing[0]}")
    return Reading(pod, uptime, {label: each for label, each in found.items() if each.counters})


def _of_cluster(pod: str, cluster: Cluster, name: str, value: str) -> None:
    if name == TIME:
        cluster.buckets = _buckets(pod, value)
    elif code := _CODE.fullmatch(name):
        cluster.codes[int(code[1])] = _number(pod, name, value)
    elif name in COUNTERS or name == COMPLETED:
        cluster.counters[name] = _number(pod, name, value)


def _number(pod: str, name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise Unreadable(f"router pod {pod}: {name} is {value[:50]!r}, no count")
    return int(value)


def _buckets(pod: str, value: str) -> tuple[int, ...] | None:
    if value == _NOTHING:
        return None
    # Some 90 buckets for each revision are most of what a reading costs: by functions that loop outside of Python.
    bounds, counts = tuple(zip(*_BUCKET.findall(value), strict=True)) or ((), ())
    if len(bounds) != value.count("B") or not value.endswith(")") or not _on_grid(bounds):
        raise Unreadable(f"router pod {pod}: {TIME} has other buckets than the grid of latencies: {value[-100:]!r}")
    cumulative = tuple(map(int, counts))
    steps = tuple(map(sub, cumulative, (0, *cumulative)))
    if min(steps) < 0:
        raise Unreadable(f"router pod {pod}: {TIME} counts fewer answers up to an edge than up to the one before")
    return (*steps[: len(EDGES)], sum(steps[len(EDGES) :]))


@lru_cache(maxsize=8)
def _on_grid(bounds: tuple[str, ...]) -> bool:
    """Whether bounds, as routers write them, are the grid's; they are the same ones at each reading."""
    return len(bounds) >= len(EDGES) and all(
        abs(float(bound) / 1000 - edge) <= _WITHIN * edge for bound, edge in zip(bounds, EDGES, strict=False)
    )
