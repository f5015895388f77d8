"""1,000 ModelDeployments without pods: the operator's own cost, creation and update."""

import asyncio
import os
import time
from typing import Any

from podium.kube.aio import AioClient
from podium.kube.resources import MODEL_DEPLOYMENTS
from tests.bench.rig import Rig, client, rig

COUNT = int(os.environ.get("PODIUM_BENCH_COUNT", "1000"))
PARALLEL = 32


def model(index: int, version: int) -> dict[str, Any]:
    """One ModelDeployment as its author applies it."""
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": f"m{index:04d}", "namespace": "default"},
        "spec": {"model": {"uri": f"s3://models/m{index:04d}/{version}", "format": "onnx"}, "replicas": 0},
    }


async def apply_all(api: AioClient, version: int) -> None:
    """All of them, some at a time."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(index: int) -> None:
        async with gate:
            await api.apply(model(index, version), manager="bench")

    await asyncio.gather(*(one(i) for i in range(COUNT)))


async def measure(bench: Rig, version: int) -> dict[str, float]:
    """Apply one version of all and wait until each is Ready at its new generation."""
    api, transport = await client(bench.plane)
    before, writes = bench.usage(), bench.writes()
    begun = time.monotonic()
    try:
        applying = asyncio.create_task(apply_all(api, version))
        await asyncio.gather(applying, await_versions(bench, version))
    finally:
        await transport.close()
    took = time.monotonic() - begun
    after = bench.usage()
    made = bench.writes() - writes
    print("   writes:", dict(made))
    return {
        "seconds": took,
        "cpu": after.cpu - before.cpu,
        "rss": after.rss,
        "writes": (made.total() - made["leases"]) / COUNT,
    }


async def await_versions(bench: Rig, version: int) -> None:
    """Until every champion is of this version."""
    api, transport = await client(bench.plane)
    try:
        while True:
            found = await api.list(MODEL_DEPLOYMENTS, "default")
            done = [
                o
                for o in found
                if ((o.get("status") or {}).get("champion") or {}).get("version") == str(version)
                and any(c["type"] == "Ready" and c["status"] == "True" for c in o["status"]["conditions"])
            ]
            if len(done) == COUNT:
                return
            await asyncio.sleep(0.5)
    finally:
        await transport.close()


def main() -> list[tuple[str, dict[str, float]]]:
    """The two rows."""
    with rig() as bench:
        rows = [(f"{COUNT} created", asyncio.run(measure(bench, 1)))]
        rows.append((f"{COUNT} updated", asyncio.run(measure(bench, 2))))
    return rows


def report() -> None:
    """Print the rows as a table."""
    for name, row in main():
        print(
            f"{name}: {row['seconds']:.1f} s, operator CPU {row['cpu']:.1f} s, peak RSS {row['rss']:.0f} MB, "
            f"{row['writes']:.2f} writes each"
        )


if __name__ == "__main__":
    report()
