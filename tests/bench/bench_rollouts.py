"""200 ModelDeployments of three replicas, updated at once by RollingUpdate.

    PODIUM_BENCH_ROLLOUTS=200 python -m tests.bench.bench_rollouts

Each has a namespace of its own. There is no node: this program writes what kubelet and scheduler would, and every pod
is Ready as soon as it exists (minReadySeconds 0), so that what is left is the control loops' own time. ReplicaSets,
pods, EndpointSlices and the Deployments' status are written by the real kube-controller-manager. All of them, the API
server, etcd and this program (whose CPU is given too) share the machine's cores with the operator.

What is measured:
- time: from the first apply of the new version until every ModelDeployment is Ready at it and the old revision's
  Deployment is gone, or at 0 and without pods;
- CPU and writes: of the operator, writes until its last Event (of which it writes 20 a second behind everything else);
  refused writes count, the Lease's do not;
- reaction: from the moment a pod's first Ready=True was stored to the arrival of the next write that the operator makes
  in that pod's namespace, Events left out, both by the API server's audit log. Every pod of the new version counts for
  which such a write came; the row says how many those are. The operator counts a pod once the Deployment's status does,
  so this includes the two writes of the ReplicaSet and Deployment controllers; their part is given in a row of its own,
  until the next status write of the pod's own Deployment. Whatever Settings hold back (status_interval, where a count
  alone has changed) is included. One write may answer several pods. One that was on its way for another reason is taken
  for an answer too: the audit log does not tell causes, and here the figures err to the short side.
"""

import asyncio
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.bench.audit import Call
from tests.bench.bench_operator import PARALLEL, per_object
from tests.bench.rig import OPERATOR_USER, Rig, rig
from tests.bench.table import Row, percentile, show
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Api, Object
from tests.integration.rollouts.kubelet import Kubelet
from tests.integration.rollouts.world import World

COUNT = int(os.environ.get("PODIUM_BENCH_ROLLOUTS", "200"))
REPLICAS = 3
MODEL = "fraud"
NAMESPACES = [f"bench-{number:03d}" for number in range(COUNT)]
KUBELET_USER = "kubelet"
DEPLOYMENT_CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
PATIENCE = 1800.0
"""Seconds after which a rollout is given up."""


@dataclass(frozen=True)
class Fleet:
    """All the ModelDeployments, as their author and an onlooker see them."""

    api: Api
    world: World

    async def make_room(self) -> None:
        """The namespaces."""
        await _each(lambda name: self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))

    async def roll(self, version: str) -> float:
        """Apply a version of all and wait for the end of all rollouts; answers the seconds."""
        begun = time.monotonic()
        await _each(lambda namespace: self.api.apply(_model(namespace, version)))
        for namespace in NAMESPACES:
            await self.world.until(
                namespace, partial(self._over, namespace, version), f"the end of the rollout of {version}",
                seconds=PATIENCE, explain=partial(self._explain, namespace),
            )  # fmt: skip
        return time.monotonic() - begun

    def _explain(self, namespace: str) -> str:
        return str(self.world.status(namespace, MODEL))

    def _over(self, namespace: str, version: str) -> bool:
        obj = self.world.get(MODEL_DEPLOYMENT, namespace, MODEL) or {}
        status = self.world.status(namespace, MODEL)
        champion = status["champion"]
        if champion["version"] != version or status["observedGeneration"] != obj["metadata"]["generation"]:
            return False
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status["conditions"])
        deployments = self.world.all("Deployment", namespace)
        old = [one for one in deployments if one["metadata"]["name"] != champion["revision"]]
        return ready and len(old) < len(deployments) and not any(_has_pods(one) for one in old)


async def _each(action: Callable[[str], Any]) -> None:
    """The action for every namespace, some at a time."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(namespace: str) -> None:
        async with gate:
            await action(namespace)

    await asyncio.gather(*(one(namespace) for namespace in NAMESPACES))


def _model(namespace: str, version: str) -> Object:
    return {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": MODEL_DEPLOYMENT,
        "metadata": {"name": MODEL, "namespace": namespace},
        "spec": {
            "model": {"uri": f"s3://models/fraud/{version}", "format": "onnx", "version": version},
            "replicas": REPLICAS,
            "rollout": {"strategy": "RollingUpdate", "minReadySeconds": 0},
        },
    }


def _has_pods(deployment: Object) -> bool:
    return bool(deployment["spec"]["replicas"] or deployment.get("status", {}).get("replicas"))


@dataclass(frozen=True)
class Reactions:
    """Seconds from every pod's Ready=True on."""

    pods: int
    operator: list[float]
    """Until the operator's next write, for every pod after which one came."""
    controllers: list[float]
    """Until the Deployment controller's next status write of the pod's Deployment."""


def reactions(calls: Iterable[Call]) -> Reactions:
    """See the module. `calls` are those since the update, in any order."""
    ordered = sorted(calls, key=lambda call: call.received)
    ready: dict[tuple[str, str], float] = {}
    writes: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for call in ordered:
        if call.user == KUBELET_USER and call.resource == "pods/status" and call.code == 200:
            # The first status that a pod gets here says that it is ready.
            ready.setdefault((call.namespace, call.name), call.done)
        elif call.user == OPERATOR_USER and call.writes and call.resource not in ("events", "leases"):
            writes[call.namespace,].append(call.received)
        elif call.user == DEPLOYMENT_CONTROLLER and call.resource == "deployments/status":
            writes[call.namespace, call.name].append(call.received)
    operator, controllers = [], []
    for (namespace, pod), at in ready.items():
        operator += _wait(writes[namespace,], at)
        controllers += _wait(writes[namespace, _deployment_of(pod)], at)
    return Reactions(len(ready), operator, controllers)


def _wait(writes: list[float], since: float) -> list[float]:
    """Seconds until the first of the writes after a moment; nothing if there is none."""
    return [write - since for write in writes if write >= since][:1]


def _deployment_of(pod: str) -> str:
    """A pod is called as its Deployment, with the ReplicaSet's hash and a random part behind."""
    return pod.rsplit("-", 2)[0]


async def play(bench: Rig) -> list[Row]:
    """Create all, let them settle, update all."""
    people, node = (bench.plane.kubeconfig(user, ["system:masters"]) for user in ("bench", KUBELET_USER))
    async with Api(people) as api, Api(node) as kubelet_api:
        world = World(api)
        kubelet = Kubelet(kubelet_api, world)
        await kubelet.register()
        watching = asyncio.create_task(world.run())
        try:
            await world.ready.wait()
            fleet = Fleet(api, world)
            await fleet.make_room()
            await fleet.roll("v1")
            await bench.quiet()
            return await measure(bench, fleet)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if kubelet.failures:
                raise BaseExceptionGroup("the kubelet failed", kubelet.failures)


async def measure(bench: Rig, fleet: Fleet) -> list[Row]:
    """The update, and what it cost."""
    before, own, seen = bench.usage().cpu, time.process_time(), len(bench.audit.calls())
    took = await fleet.roll("v2")
    own, cpu = time.process_time() - own, bench.usage().cpu - before
    await bench.quiet()
    after = bench.usage()
    calls = bench.audit.calls()[seen:]
    writes = Counter(one.resource for one in calls if one.user == OPERATOR_USER and one.writes)
    del writes["leases"]
    found = reactions(calls)
    what = f"{COUNT} rollouts of {REPLICAS} replicas"
    return [
        Row(f"{what}: until all are over", f"{took:.1f} s"),
        Row(f"{what}: operator's CPU", f"{cpu:.1f} s ({after.cpu - before:.1f} s with its Events)"),
        Row(f"{what}: CPU of this benchmark beside it", f"{own:.1f} s"),
        Row(f"{what}: operator's peak memory", f"{after.rss:.0f} MB"),
        Row(f"{what}: writes each", per_object(writes, COUNT)),
        Row(f"{what}: pod Ready to the operator's next write", _figures(found.operator, found.pods)),
        Row(f"{what}: of it, to its Deployment's next status", _figures(found.controllers, found.pods)),
    ]


def _figures(values: list[float], pods: int) -> str:
    if not values:
        return f"none after {pods} pods"
    half, most = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {half * 1e3:.0f} ms, p99 {most * 1e3:.0f} ms ({len(values)} of {pods} pods)"


def figures() -> list[Row]:
    """On a control plane of its own."""
    with rig() as bench:
        return asyncio.run(play(bench))


if __name__ == "__main__":
    show(figures())
