"""5,000 ModelDeployments on one replica, beside 1,000 in the same run: what grows with their number, and how fast.

    PODIUM_BENCH_SCALE=1000,5000 PODIUM_BENCH_IDLE=900 python -m tests.bench.bench_scale

For each number, on a control plane of its own: memory before the first object; creation as in bench_operator; then
nothing happens for PODIUM_BENCH_IDLE seconds, in which a resync falls; then a second replica is started, and once its
cache is filled the first one is killed (SIGKILL). Take-over ends when the second one has passed over every
ModelDeployment, by its own count of passes; nothing is left to be written then, so nothing is.

A resync's CPU is what the process used from the second before its first list until RESYNC_SECONDS later, less what it
uses in as much time without one. Growth is the figure of the largest number over that of the smallest: were it all
linear, it would be their quotient. CPU of each process says whose the time of creation is: the Deployment controller,
for one, goes through all ReplicaSets of a namespace at each step of a Deployment (PODIUM_BENCH_PER_NAMESPACE=100 puts
100 ModelDeployments into each).
"""

import asyncio
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench import bench_operator
from tests.bench.bench_idle import SECONDS, flags
from tests.bench.bench_operator import Cost
from tests.bench.rig import Rig, cpu_of, rig, start_operator
from tests.bench.table import Row, show
from tests.cluster.ports import reserve
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, tail

COUNTS = tuple(int(count) for count in os.environ.get("PODIUM_BENCH_SCALE", "1000,5000").split(","))
RESYNC_SECONDS = 20
PASSES = re.compile(r"^controller_runtime_reconcile_total\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Idle:
    """Nothing happens: share of a core, CPU seconds of one resync (None: there was none), and calls but the Lease's."""

    share: float
    resync: float | None
    resyncs: int
    calls: int
    """Besides the lists of the resyncs."""


@dataclass(frozen=True)
class TakeOver:
    """Seconds from the leader's death, and what the next one wrote in them besides the Lease and the runtimes."""

    leads: float
    planned: float
    writes: int


@dataclass(frozen=True)
class Figures:
    """One number of ModelDeployments."""

    count: int
    empty: float
    """Peak memory before the first object, MB."""
    created: Cost
    cpu: dict[str, float]
    """Seconds of CPU until all were Ready, by process."""
    idle: Idle
    takeover: TakeOver


def measure(count: int) -> Figures:
    """All figures of one number, on a new control plane."""
    with rig(*flags()) as bench:
        empty = bench.usage().rss
        pids, cpu = bench.processes(), dict[str, float]()
        before = {name: cpu_of(pid) for name, pid in pids.items()}

        def ready() -> None:
            cpu.update({name: cpu_of(pid) - before[name] for name, pid in pids.items()})

        created = asyncio.run(bench_operator.measure(bench, 1, count, at_ready=ready))
        return Figures(count, empty, created, cpu, idle(bench), take_over(bench, count))


def idle(bench: Rig) -> Idle:
    """Leave it alone, and look at the process every second."""
    asyncio.run(bench.quiet(10.0))
    seen = len(bench.calls())
    used = [bench.usage().cpu]
    begun = time.time()
    while len(used) <= SECONDS:
        time.sleep(max(0.0, begun + len(used) - time.time()))
        used.append(bench.usage().cpu)
    calls = [call for call in bench.calls()[seen:] if call.resource != "leases"]
    starts = [call.received - begun for call in calls if call.verb == "list" and call.resource == "modelruntimes"]
    others = [call for call in calls if call.verb not in ("list", "watch")]
    return Idle((used[-1] - used[0]) / (len(used) - 1), of_resync(used, starts), len(starts), len(others))


def of_resync(used: list[float], starts: list[float]) -> float | None:
    """CPU seconds of one resync, from the CPU used by each second and the seconds at which resyncs began."""
    windows = [(int(start), int(start) + RESYNC_SECONDS) for start in starts if start + RESYNC_SECONDS < len(used)]
    if not windows:
        return None
    busy = sum(used[end] - used[begin] for begin, end in windows)
    seconds = sum(end - begin for begin, end in windows)
    quiet = (used[-1] - used[0] - busy) / max(1, len(used) - 1 - seconds)
    return (busy - quiet * seconds) / len(windows)


def take_over(bench: Rig, count: int) -> TakeOver:
    """Start another replica, and kill the first once the other's cache is filled."""
    health, metrics = reserve(2)
    log = bench.plane.folder / "second.log"
    second = start_operator(bench.plane, log, *bench.flags, health_port=health, metrics_port=metrics)
    try:
        if not await_true(lambda: answer(f"http://127.0.0.1:{health}/readyz"), 120, every=0.2):
            raise ClusterError(f"the second replica's cache is not filled after 120 s; {tail(log)}")
        seen = len(bench.calls())
        killed = time.time()
        bench.operator.send_signal(signal.SIGKILL)
        # Each look costs the replica some ms of CPU.
        if not await_true(lambda: passes(metrics) >= count, 180, every=0.25):
            raise ClusterError(f"the second replica ended {passes(metrics):.0f} passes in 180 s; {tail(log)}")
        planned = time.time() - killed
        time.sleep(2)
        calls = [call for call in bench.calls()[seen:] if call.writes and call.received >= killed]
        claim = min(call.done for call in calls if call.resource == "leases" and call.code == 200)
        others = [call for call in calls if call.resource not in ("leases", "modelruntimes")]
        return TakeOver(claim - killed, planned, len(others))
    finally:
        second.terminate()
        second.wait(20)
        bench.operator.wait(20)


def passes(port: int) -> float:
    """How many passes a replica has ended, by its metrics."""
    return sum(float(number) for number in PASSES.findall(answer(f"http://127.0.0.1:{port}/metrics")))


def answer(url: str) -> str:
    """The body of a good answer; empty while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def figures() -> Iterator[Row]:
    """Each number's figures, and how they grew."""
    found = [measure(count) for count in COUNTS]
    for one in found:
        yield from rows(one)
    if len(found) > 1:
        yield from growth(found[0], found[-1])


def rows(one: Figures) -> Iterator[Row]:
    """Of one number."""
    cost, quiet, after = one.created, one.idle, one.takeover
    resync = "no resync fell into it" if quiet.resync is None else f"{quiet.resync:.2f} s ({quiet.resyncs} seen)"
    yield Row(f"{one.count}: memory before the first object", f"{one.empty:.0f} MB")
    yield Row(f"{one.count} created: until all are Ready", f"{cost.seconds:.1f} s")
    cpu = f"{cost.cpu:.1f} s ({cost.cpu_with_events:.1f} s with its Events)"
    others = ", ".join(f"{name} {used:.1f} s" for name, used in sorted(one.cpu.items(), key=lambda each: -each[1]))
    yield Row(f"{one.count} created: CPU of every process", others)
    yield Row(f"{one.count} created: operator's CPU", cpu)
    yield Row(f"{one.count} created: operator's peak memory", f"{cost.rss:.0f} MB")
    yield Row(f"{one.count} created: writes each", bench_operator.per_object(cost.writes, one.count))
    yield Row(f"{one.count} idle: share of a core", f"{quiet.share:.3%}")
    yield Row(f"{one.count} idle: CPU of a resync", resync)
    yield Row(f"{one.count} idle: calls but the Lease's and a resync's", str(quiet.calls), "none")
    yield Row(f"{one.count}: another replica leads after SIGKILL", f"{after.leads:.1f} s", "under 15 s")
    yield Row(f"{one.count}: and has planned all of them", f"{after.planned:.1f} s", "under 20 s")
    yield Row(f"{one.count}: and has written for that", str(after.writes), "nothing")


def growth(least: Figures, most: Figures) -> Iterator[Row]:
    """How each figure grew from the smallest number to the largest."""
    times = most.count / least.count
    aim = f"at most {times * 1.2:.1f} times"
    pairs = {
        **{f"CPU of {name} while they are created": (least.cpu[name], most.cpu[name]) for name in sorted(least.cpu)},
        "seconds until all are Ready": (least.created.seconds, most.created.seconds),
        "operator's CPU with its Events": (least.created.cpu_with_events, most.created.cpu_with_events),
        "memory above that of no object": (least.created.rss - least.empty, most.created.rss - most.empty),
        "CPU of a resync": (least.idle.resync or 0.0, most.idle.resync or 0.0),
    }
    for what, (before, after) in pairs.items():
        grown = f"{after / before:.2f} times" if before and after else "not known"
        yield Row(f"{most.count} against {least.count}: {what}", grown, aim)


if __name__ == "__main__":
    show([*figures()])
