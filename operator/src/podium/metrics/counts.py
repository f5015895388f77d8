"""From two readings of one router to what its callers saw, by class. Pure.

`levels` makes of a cluster's statistics how much of each class there was since its Envoy started, `grown` what of it
is new. Levels are plain numbers by name: a ledger keeps them, and an operator that takes over counts on from there.

Two sources. A router that logs how each request ended counts each exactly once, under what its caller saw: answers
that broke off, callers that gave up in the middle, gRPC's statuses. One that does not has Envoy's cluster statistics
alone, by an identity:

    started   = attempts - retries
    attempts  = total + ejected while pending + cancelled while pending + none healthy + pending
    abandoned = started - completed - active - pending

`upstream_rq_total` counts attempts that got a connection; those that did not are in the other terms. In these broken
answers count as whole ones, and resets and time-outs before an answer are 5xx. Of gRPC nothing is said without a log:
its errors are answers 200, and streams that end with their HTTP/2 connection are among the ejected ones as well.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from podium.analysis.edges import EDGES
from podium.analysis.metrics import STARTED
from podium.metrics.reading import COMPLETED, Cluster, Ended, Reading
from podium.router.endpoints import GRPC

Levels = Mapping[str, float]

FINISHED, ANSWERED, ABANDONED = "finished", "answered", "abandoned"
TOO_MANY, REJECTED, FAILED, RESET, TIMED_OUT = "429", "4xx", "5xx", "reset", "timeout"
CLASSES: Final = (TOO_MANY, REJECTED, FAILED, RESET, TIMED_OUT)
"""Disjoint: a request is in at most one."""
COUNTED: Final = (STARTED, FINISHED, ANSWERED, ABANDONED, *CLASSES)
BUCKET: Final = "b"
"""Before the place of an edge: answers up to it, and slower than the edge before."""
LABELLED, WRONG, VALUES, SUM, SQUARES = "labelled", "wrong", "values", "sum", "squares"
RATED: Final = (LABELLED, WRONG, "tp", "fp", "fn")
LABELS: Final = (*RATED, VALUES, SUM, SQUARES)
"""What labels, and rewards, say of answers."""

UPTIME, ATTEMPTS, LOGGED = "uptime", "attempts", "logged"
_MARKS: Final = (UPTIME, ATTEMPTS, LOGGED)
"""Not counted: one that is lower than it was tells that an Envoy was started anew."""

_BY_CALLER: Final = frozenset({"DC", "DR", "DPE"})
_BY_TIME: Final = frozenset({"UT", "SI", "DT", "UMSDR"})
_NOBODYS: Final = (408, 499)
# As google.rpc.Code maps them to HTTP: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto.
_GRPC: Final = {
    2: FAILED, 4: FAILED, 12: FAILED, 13: FAILED, 14: FAILED, 15: FAILED, 8: TOO_MANY,
    3: REJECTED, 5: REJECTED, 6: REJECTED, 7: REJECTED, 9: REJECTED, 10: REJECTED, 11: REJECTED, 16: REJECTED,
}  # fmt: skip


def class_of(ended: Ended) -> str:
    """ABANDONED, one of CLASSES, or "" for what is an event of no metric."""
    if ended.flags & _BY_CALLER:
        return ABANDONED
    if ended.flags & _BY_TIME and ended.code != 408:
        return TIMED_OUT
    if ended.flags and ended.code != 408:
        return RESET
    if ended.grpc is not None:
        return _GRPC.get(ended.grpc, "" if ended.grpc in (0, 1) else FAILED)
    return _class_of_code(ended.code)


def levels(reading: Reading, name: str) -> Levels | None:
    """What a router counted of one cluster since its Envoy started; None where it does not have that cluster.

    COUNTED as far as they can be told, and buckets that are not empty.
    """
    cluster = reading.clusters.get(name)
    if cluster is None:
        return None
    found: dict[str, float] = _by_log(cluster, cluster.ended) if cluster.ended else _by_identity(cluster, name)
    found[UPTIME] = reading.uptime
    if cluster.ended:
        found[LOGGED] = sum(cluster.ended.values())
    else:
        found[ATTEMPTS] = cluster.counters["upstream_rq_total"]
    if FINISHED in found:
        found[ANSWERED] = sum(cluster.buckets or ())
        found |= {f"{BUCKET}{place}": count for place, count in enumerate(cluster.buckets or ()) if count}
    return found


def grown(before: Levels | None, now: Levels) -> tuple[Levels, Levels]:
    """What is new since the levels seen before (None: since the Envoy started), and the levels to be kept as seen.

    An Envoy that was started anew counts from 0, all its counters at once. (Of a cluster that went and came back the
    histogram alone begins anew.) Otherwise a level that is lower than it was is no restart but a reading between two
    counters of one request: what was counted already is not counted again.
    """
    if before is None or any(now[mark] < before[mark] for mark in _MARKS if mark in now and mark in before):
        before = {}
    elif now.get(ANSWERED, 0) < before.get(ANSWERED, 0):
        before = {name: count for name, count in before.items() if not _of_histogram(name)}
    kept = {
        name: count if name in _MARKS or name == SUM else max(count, before.get(name, 0)) for name, count in now.items()
    }
    new = {name: count - before.get(name, 0) for name, count in kept.items() if name not in _MARKS}
    return new, {**before, **kept}


def _of_histogram(name: str) -> bool:
    return name == ANSWERED or (name.startswith(BUCKET) and name[len(BUCKET) :].isdigit())


def total(parts: Iterable[Levels]) -> dict[str, float]:
    """The sum over routers and ports. A counter of COUNTED that one of the parts cannot tell is missing: not 0.

    Parts that tell of labels alone count no requests.
    """
    parts = list(parts)
    requests = [part for part in parts if LABELLED not in part or any(name in part for name in COUNTED)]
    told = {name for name in COUNTED if all(name in part for part in requests)}
    found: dict[str, float] = dict.fromkeys(told, 0)
    for part in parts:
        for name, count in part.items():
            if name in told or name in LABELS or (name not in COUNTED and ANSWERED in told):
                found[name] = found.get(name, 0) + count
    return found


def above(counted: Levels) -> tuple[float, ...]:
    """Answers slower than each of EDGES, as `edges.frozen_edge` takes them."""
    beyond, found = counted.get(f"{BUCKET}{len(EDGES)}", 0), []
    for place in reversed(range(len(EDGES))):
        found.append(beyond)
        beyond += counted.get(f"{BUCKET}{place}", 0)
    return tuple(reversed(found))


def slower(counted: Levels, edge: float) -> float:
    """Answers slower than one of EDGES (seconds). Raises ValueError for another one."""
    first = EDGES.index(edge) + 1
    return sum(counted.get(f"{BUCKET}{place}", 0) for place in range(first, len(EDGES) + 1))


def _by_log(cluster: Cluster, ended: Mapping[Ended, int]) -> dict[str, float]:
    found: dict[str, float] = dict.fromkeys((ABANDONED, *CLASSES), 0)
    for each, count in ended.items():
        if kind := class_of(each):
            found[kind] += count
    over = sum(ended.values())
    counters = cluster.counters
    under_way = counters["upstream_rq_active"] + counters["upstream_rq_pending_active"]
    return found | {STARTED: over + under_way, FINISHED: over - found[ABANDONED]}


def _by_identity(cluster: Cluster, name: str) -> dict[str, float]:
    counters = cluster.counters
    pending = counters["upstream_rq_pending_active"]
    attempts = pending + sum(
        counters[each]
        for each in (
            "upstream_rq_total",
            "upstream_rq_pending_failure_eject",
            "upstream_rq_cancelled",
            "upstream_cx_none_healthy",
        )
    )
    started = attempts - counters["upstream_rq_retry"]
    if name.endswith(f".{GRPC}") and started > counters["upstream_rq_active"] + pending:
        return {}  # how those that are over ended is in no counter: the log will tell
    completed = counters.get(COMPLETED, 0)
    found: dict[str, float] = dict.fromkeys((TOO_MANY, REJECTED, FAILED), 0)
    for code, count in cluster.codes.items():
        if kind := _class_of_code(code):
            found[kind] += count
    abandoned = max(started - completed - counters["upstream_rq_active"] - pending, 0)
    return found | {STARTED: started, FINISHED: completed, ABANDONED: abandoned, RESET: 0, TIMED_OUT: 0}


def _class_of_code(code: int) -> str:
    if code == 429:
        return TOO_MANY
    if code >= 500:
        return FAILED
    return REJECTED if code >= 400 and code not in _NOBODYS else ""
