"""20 ModelDeployments that are analysed, alone and among 1,000 others: what they cost the whole operator.

    PODIUM_BENCH_COUNT=1000 PODIUM_BENCH_FEW=20 PODIUM_BENCH_SECONDS=60 python -m tests.bench.bench_analysing

API server, controllers and operator are the real ones; there is no node. Each of the 20 has four champion pods and a
namespace with two router pods of its own that are played: they answer the operator over HTTP as an agent and an Envoy
do, and count 25 requests a second each, 1 % of which fail in both arms. Rounds are every two seconds, and the canaries
stand at 50 % all the time, so what is measured is weighing: rounds, passes, ledgers, status. Four windows of that many
seconds each:

    20 at rest, 20 analysed, the same 20 analysed among 1,000 at rest, and all of them at rest.

CPU is the operator's process, user and system; writes come from the API server's audit log, the Lease's left out.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.bench import bench_operator
from tests.bench.bench_operator import COUNT
from tests.bench.rig import Rig, client, rig
from tests.bench.table import Row, show
from tests.cluster.progress import say
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Api, Object
from tests.integration.rollouts.callers import Callers
from tests.integration.rollouts.kubelet import Kubelet
from tests.integration.rollouts.routers import MODEL, Routers
from tests.integration.rollouts.world import World

FEW = int(os.environ.get("PODIUM_BENCH_FEW", "20"))
SECONDS = float(os.environ.get("PODIUM_BENCH_SECONDS", "60"))
NAMESPACES: Final = [f"analysed-{number:02}" for number in range(FEW)]
ROUTERS: Final = 2
FLAGS: Final = ("--router-image=podium/router:bench", f'--router-pods={{"minReplicas": {ROUTERS}}}')
RATE, FAILING = 50.0, 0.01
"""Requests a second of each, and the share of them that fails."""
PATIENCE: Final = 600.0
"""Seconds for what is awaited between the windows."""


@dataclass(frozen=True)
class Window:
    """What the operator used while nobody did anything."""

    share: float
    """Of a core."""
    writes: Mapping[str, float]
    """A second, by resource."""

    def __str__(self) -> str:
        most = sorted(self.writes.items(), key=lambda each: -each[1])
        told = ", ".join(f"{resource} {count:.1f}" for resource, count in most)
        return f"{self.share:.2%}, {sum(self.writes.values()):.1f} writes/s ({told})"


def model(namespace: str, version: str) -> Object:
    """A canary that stays at half of the requests."""
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": MODEL_DEPLOYMENT,
        "metadata": {"name": MODEL, "namespace": namespace},
        "spec": {
            "model": {"uri": f"s3://models/fraud/{version}", "format": "onnx", "version": version},
            "replicas": 4,
            "traffic": {"router": "Envoy"},
            "rollout": {
                "strategy": "Canary",
                "minReadySeconds": 0,
                "scaleDownDelay": "0s",
                "steps": [{"weight": 50, "for": "10h"}],
                "analysis": {"interval": "2s"},
            },
        },
    }


class Fleet:
    """The few, as their author and an onlooker see them."""

    def __init__(self, bench: Rig, api: Api, world: World) -> None:
        self.bench, self.api, self.world = bench, api, world

    async def apply(self, version: str, until: Callable[[Object], bool], what: str) -> None:
        """A version of all of them, and what is to come of it."""

        async def one(namespace: str) -> None:
            await self.api.apply(model(namespace, version))
            status = partial(self.world.status, namespace, MODEL)
            await self.world.until(
                namespace, lambda: until(status()), what, seconds=PATIENCE, explain=lambda: str(status())
            )

        await asyncio.gather(*(one(namespace) for namespace in NAMESPACES))

    async def window(self, what: str) -> Window:
        """Measure, once things have come to rest."""
        say(f"{what}: {SECONDS:g} s")
        await asyncio.sleep(15)
        used, seen, began = self.bench.usage().cpu, len(self.bench.calls()), time.monotonic()
        await asyncio.sleep(SECONDS)
        took = time.monotonic() - began
        calls = self.bench.calls()[seen:]
        writes = Counter(call.resource for call in calls if call.writes and call.resource != "leases")
        share = (self.bench.usage().cpu - used) / took
        return Window(share, {resource: count / took for resource, count in writes.items()})


async def windows(fleet: Fleet) -> list[Window]:
    """The four, in the order of the module."""

    async def at_rest() -> None:
        await fleet.apply("v1", lambda status: status.get("phase") == "Healthy", "version 1 alone")
        await fleet.bench.quiet()

    await at_rest()
    found = [await fleet.window(f"{FEW} at rest")]
    await fleet.apply("v2", is_weighed, "figures of both versions")
    found.append(await fleet.window(f"{FEW} analysed"))
    await add_others(fleet.bench)
    found.append(await fleet.window(f"{FEW} analysed among {COUNT}"))
    await at_rest()
    return [*found, await fleet.window(f"{FEW} and {COUNT} at rest")]


def is_weighed(status: Object) -> bool:
    """Whether requests of the candidate have been counted."""
    metrics = (status.get("rollout") or {}).get("metrics") or []
    return any(each["candidate"]["n"] for each in metrics)


async def add_others(bench: Rig) -> None:
    """Those that nobody analyses; done when all are Ready and told. Checkpoints go on meanwhile."""
    api, transport = await client(bench.plane)
    try:
        bench_operator.make_namespaces(bench, COUNT)
        await bench_operator.apply_all(api, 1, COUNT)
    finally:
        await transport.close()
    await bench_operator.await_versions(bench, 1, COUNT)
    await bench.quiet(but=("leases", "configmaps", "modeldeployments/status"))


async def play(bench: Rig) -> list[Window]:
    """Furnish the cluster, and measure."""
    async with Api(bench.plane.kubeconfig("bench", ["system:masters"])) as api:
        world = World(api)
        kubelet = Kubelet(api, world)
        await kubelet.register()
        watching = asyncio.create_task(world.run())
        try:
            await world.ready.wait()
            async with Routers(world, kubelet) as routers:
                for namespace in NAMESPACES:
                    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
                    for router in await routers.several(namespace, ROUTERS):
                        router.callers = Callers({"v1": FAILING, "v2": FAILING}, RATE / ROUTERS)
                return await windows(Fleet(bench, api, world))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await kubelet.close()


def figures() -> Iterator[Row]:
    """Each window, and what being analysed adds, alone and among others."""
    with rig(*FLAGS) as bench:
        few, analysed, among, all_at_rest = asyncio.run(play(bench))
    alone, beside = analysed.share - few.share, among.share - all_at_rest.share
    yield Row(f"{FEW} at rest: operator's CPU, share of a core", f"{few.share:.2%}")
    yield Row(f"{FEW} analysed", str(analysed), "of 100: under half a core, at most 8 writes/s")
    yield Row(f"{FEW} analysed among {COUNT} at rest", str(among))
    yield Row(f"{FEW} and {COUNT} at rest", f"{all_at_rest.share:.2%}")
    yield Row(
        f"what analysing {FEW} adds beside {COUNT} others, and alone",
        f"{beside:.2%} and {alone:.2%} ({beside / alone:.2f} times)",
        "the same",
    )


if __name__ == "__main__":
    show([*figures()])
