"""1,000 settled ModelDeployments left alone: what the operator writes and uses while nothing happens.

    PODIUM_BENCH_COUNT=1000 PODIUM_BENCH_IDLE=900 python -m tests.bench.bench_idle

The time begins once nothing but the Lease has been written for ten seconds, and a resync falls into it: every 300 to
600 s by default, which is shortened for windows that this would miss. Resyncs are counted by their lists of
ModelRuntimes in the API server's audit log, writes by the same log. CPU is the operator's process, user and system.
"""

import asyncio
import os
import time
from collections import Counter

from podium.settings import Settings
from tests.bench import bench_operator
from tests.bench.bench_operator import COUNT
from tests.bench.rig import Rig, rig
from tests.bench.table import Row, show

SECONDS = float(os.environ.get("PODIUM_BENCH_IDLE", "900"))


def flags() -> list[str]:
    """The operator's arguments with which a resync falls into the window."""
    if Settings.resync_max * 1.2 <= SECONDS:
        return []
    return [f"--resync-min={SECONDS / 3:g}", f"--resync-max={SECONDS / 2:g}"]


def measure(bench: Rig) -> list[Row]:
    """The figures of a rig that holds COUNT objects."""
    asyncio.run(bench.quiet(10.0))
    before, seen = bench.usage().cpu, len(bench.calls())
    begun = time.monotonic()
    time.sleep(SECONDS)
    used, took = bench.usage().cpu - before, time.monotonic() - begun
    calls = bench.calls()[seen:]
    writes = Counter(call.resource for call in calls if call.writes)
    leases = writes.pop("leases", 0)
    resyncs = sum(call.verb == "list" and call.resource == "modelruntimes" for call in calls)
    others = ", ".join(f"{resource} {number}" for resource, number in writes.most_common())
    what = f"{COUNT} idle for {took:.0f} s"
    return [
        Row(f"{what}: writes other than the Lease's", others or f"none (Lease {leases})", "none"),
        Row(f"{what}: operator's CPU, share of a core", f"{used / took:.3%} ({used:.2f} s)", "under 0.1 %"),
        Row(f"{what}: resyncs in that time", str(resyncs), "at least 1"),
    ]


if __name__ == "__main__":
    with rig(*flags()) as bench:
        created = bench_operator.create(bench)
        show([*created, *measure(bench)])
