"""Where the wall time of creating ModelDeployments without pods goes.

    PODIUM_BENCH_COUNT=1000 python -m tests.bench.bench_where

While bench_operator creates them, until all are Ready: CPU of every process that takes part, of all the CPU that the
machine has in that time; calls and their time at the API server by who asks (from its audit log); how long a key waited
in the operator's queue and was in a worker's hand; how long its writes of each kind took; and the Events, which follow
later, by their reason.
"""

import asyncio
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import fmean

from tests.bench import bench_operator
from tests.bench.audit import Call
from tests.bench.bench_operator import COUNT, Cost
from tests.bench.bench_scale import answer
from tests.bench.rig import OPERATOR_USER, Rig, client, cpu_of, rig
from tests.bench.table import Row, show
from tests.cluster.ports import reserve

WHO = {OPERATOR_USER: "the operator", "bench": "the benchmark", "system:kube-controller-manager": "the controllers"}
SUMS = re.compile(r"^(\w+)_(sum|count)\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Time:
    """What was seen of one creation."""

    cost: Cost
    cpu: dict[str, float]
    """Seconds of CPU by process, until all were Ready."""
    calls: list[Call]
    """All but watches, until all were Ready."""
    sums: dict[str, float]
    """Of the operator's histograms, with `_sum` and `_count`."""
    events: Counter[str]
    """By reason."""


def measure(bench: Rig, metrics: int) -> Time:
    """Creates COUNT of them."""
    pids = bench.processes()
    before, seen = {name: cpu_of(pid) for name, pid in pids.items()}, len(bench.audit.calls())
    at_ready: dict[str, float] = {}

    def ready() -> None:
        at_ready.update({name: cpu_of(pid) - before[name] for name, pid in pids.items()})

    cost = asyncio.run(bench_operator.measure(bench, 1, at_ready=ready))
    calls = bench.audit.calls()[seen:]
    begun = min(call.received for call in calls)
    within = [call for call in calls if call.verb != "watch" and call.done <= begun + cost.seconds]
    sums = {f"{name}_{kind}": float(value) for name, kind, value in SUMS.findall(answer(url(metrics)))}
    return Time(cost, at_ready, within, sums, asyncio.run(events(bench)))


def url(port: int) -> str:
    """Of the operator's metrics."""
    return f"http://127.0.0.1:{port}/metrics"


async def events(bench: Rig) -> Counter[str]:
    """All of them, by reason."""
    _, transport = await client(bench.plane)
    try:
        path = "/apis/events.k8s.io/v1/events"
        found = await transport.request("GET", path, within=60, query={"limit": str(4 * COUNT)})
        return Counter(event["reason"] for event in found["items"])
    finally:
        await transport.close()


def rows(time: Time) -> Iterator[Row]:
    """The answer, a line for each place where time can go."""
    wall, cores = time.cost.seconds, len(os.sched_getaffinity(0))
    yield Row(f"{COUNT} created: until all are Ready", f"{wall:.1f} s")
    for name, used in sorted(time.cpu.items(), key=lambda item: -item[1]):
        yield Row(f"CPU of {name}", f"{used:.1f} s: {used / (wall * cores):.0%} of {cores} cores")
    left = wall * cores - sum(time.cpu.values())
    yield Row("CPU of others, and idle", f"{left:.1f} s: {left / (wall * cores):.0%}")
    for user, name in WHO.items():
        mine = [call for call in time.calls if call.user == user]
        writes = Counter(call.resource for call in mine if call.writes)
        took = sum(call.done - call.received for call in mine)
        if mine:
            share = ", ".join(f"{resource} {number / COUNT:.2f}" for resource, number in writes.most_common(5))
            spent = f"{took / len(mine) * 1000:.1f} ms at the API server, {took / wall:.1f} under way at a time"
            yield Row(f"calls of {name}, each", f"{len(mine) / COUNT:.2f}, {spent} ({share})")
    yield Row("a write of the operator at the API server, by kind", "; ".join(slowest(time.calls)))
    for histogram, what in {
        "workqueue_queue_duration_seconds": "a key's wait for a worker",
        "workqueue_work_duration_seconds": "a key in a worker's hand",
        "rest_client_request_duration_seconds": "a call of the operator, as it sees it",
    }.items():
        number, total = time.sums.get(f"{histogram}_count", 0), time.sums.get(f"{histogram}_sum", 0)
        if number:
            yield Row(what, f"{total / number * 1000:.1f} ms, {number / COUNT:.2f} times each")
    total = time.events.total() / COUNT
    reasons = ", ".join(f"{reason} {n / COUNT:.2f}" for reason, n in time.events.most_common())
    yield Row("Events each", f"{total:.2f} ({reasons})")


def slowest(calls: Iterable[Call]) -> Iterator[str]:
    """How long the API server took for the operator's writes of each kind, and how many were under way, slowest first.

    It gives out the addresses of Services one after the other (MetaAllocator holds a lock while it stores one): where
    many Services are under way, that is what the creation waits for.
    """
    took: defaultdict[str, list[float]] = defaultdict(list)
    for call in calls:
        if call.user == OPERATOR_USER and call.writes:
            took[call.resource].append(call.done - call.received)
    wall = max(call.done for call in calls) - min(call.received for call in calls)
    for resource, each in sorted(took.items(), key=lambda item: -fmean(item[1])):
        yield f"{resource} {fmean(each) * 1000:.0f} ms, {sum(each) / wall:.1f} at a time"


def figures() -> Iterator[Row]:
    """On a control plane of its own."""
    (port,) = reserve(1)
    with rig(metrics_port=port) as bench:
        yield from rows(measure(bench, port))


if __name__ == "__main__":
    show([*figures()])
