"""1,000 ModelDeployments without pods: what creating and updating them costs the operator.

    PODIUM_BENCH_COUNT=1000 python -m tests.bench.bench_operator

The operator runs already and leads. Time goes from the first apply until every one is Ready at the applied version.
CPU and memory are the operator's process alone; API server, etcd, controllers and this program share the machine's
cores with it. Writes come from the API server's audit log, the Lease's left out; they are counted until the operator
is done with its Events too, of which it writes 20 a second behind everything else.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from podium.kube.aio import AioClient
from podium.kube.resources import MODEL_DEPLOYMENTS
from tests.bench.rig import Rig, client, rig
from tests.bench.table import Row, show

COUNT = int(os.environ.get("PODIUM_BENCH_COUNT", "1000"))
PARALLEL = 32
PER_NAMESPACE = int(os.environ.get("PODIUM_BENCH_PER_NAMESPACE", "0"))
"""How many are put into one namespace; 0: all into `default`."""


@dataclass(frozen=True)
class Cost:
    """What one round over all objects took; times in seconds, memory in MB."""

    seconds: float
    cpu: float
    """Until all are Ready."""
    cpu_with_events: float
    """Until the last Event is written."""
    rss: float
    writes: Counter[str]
    """By resource, without the Lease's."""


def namespace(index: int) -> str:
    """Where the ModelDeployment of that number is."""
    return f"models-{index // PER_NAMESPACE}" if PER_NAMESPACE else "default"


def model(index: int, version: int) -> dict[str, Any]:
    """One ModelDeployment as its author applies it."""
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": f"m{index:04d}", "namespace": namespace(index)},
        "spec": {"model": {"uri": f"s3://models/m{index:04d}/{version}", "format": "onnx"}, "replicas": 0},
    }


async def apply_all(api: AioClient, version: int, count: int) -> None:
    """All of them, some at a time."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(index: int) -> None:
        async with gate:
            await api.apply(model(index, version), manager="bench")

    await asyncio.gather(*(one(i) for i in range(count)))


async def measure(bench: Rig, version: int, count: int = COUNT, *, at_ready: Callable[[], None] = lambda: None) -> Cost:
    """Apply one version of all, wait until each is Ready at it and the operator has nothing left to do."""
    api, transport = await client(bench.plane)
    make_namespaces(bench, count)
    before, writes = bench.usage().cpu, bench.writes()
    begun = time.monotonic()
    try:
        applying = asyncio.create_task(apply_all(api, version, count))
        await asyncio.gather(applying, await_versions(bench, version, count))
    finally:
        await transport.close()
    took, cpu = time.monotonic() - begun, bench.usage().cpu
    at_ready()
    await bench.quiet(within=600.0 + count)
    after = bench.usage()
    made = bench.writes() - writes
    del made["leases"]
    return Cost(took, cpu - before, after.cpu - before, after.rss, made)


def make_namespaces(bench: Rig, count: int) -> None:
    """Those of so many ModelDeployments that are not there yet."""
    wanted = {namespace(index) for index in range(count)} - {"default"}
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(wanted)]
    if items:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        bench.plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)


async def await_versions(bench: Rig, version: int, count: int) -> None:
    """Until every champion is of this version. One is asked about at a time: lists of all would be most of the load."""
    api, transport = await client(bench.plane)
    try:
        left = [model(index, version)["metadata"] for index in range(count)]
        while left:
            if _serves(await api.get(MODEL_DEPLOYMENTS, left[-1]["namespace"], left[-1]["name"]), version):
                left.pop()
            else:
                await asyncio.sleep(0.1)
    finally:
        await transport.close()


def _serves(obj: dict[str, Any] | None, version: int) -> bool:
    status = (obj or {}).get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    return ready and (status.get("champion") or {}).get("version") == str(version)


def rows(what: str, cost: Cost) -> list[Row]:
    """A round's figures; the aims are for 1,000 objects on 2 cores."""
    return [
        Row(f"{what}: until all are Ready", f"{cost.seconds:.1f} s", "under 36 s"),
        Row(
            f"{what}: operator's CPU", f"{cost.cpu:.1f} s ({cost.cpu_with_events:.1f} s with its Events)", "under 11 s"
        ),
        Row(f"{what}: operator's peak memory", f"{cost.rss:.0f} MB", "under 120 MB"),
        Row(f"{what}: writes each", per_object(cost.writes, COUNT)),
    ]


def per_object(writes: Counter[str], count: int) -> str:
    """Writes for each of `count` objects: the sum, and by resource."""
    shares = ", ".join(f"{resource} {number / count:.2f}" for resource, number in writes.most_common())
    return f"{writes.total() / count:.2f} ({shares})"


def create(bench: Rig) -> list[Row]:
    """All of them, anew."""
    return rows(f"{COUNT} created", asyncio.run(measure(bench, 1)))


def update(bench: Rig) -> list[Row]:
    """All of them, to another version."""
    return rows(f"{COUNT} updated", asyncio.run(measure(bench, 2)))


if __name__ == "__main__":
    with rig() as bench:
        show([*create(bench), *update(bench)])
