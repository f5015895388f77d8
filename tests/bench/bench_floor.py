"""What creating ModelDeployments costs with nobody who decides anything: the floor that bench_where stands on.

    PODIUM_BENCH_COUNT=1000 python -m tests.bench.bench_floor

An operator creates them as in bench_operator and is ended. What it wrote for one of them (ControllerRevision, Service
and Deployment as they stand, with the API server's defaults, its status and its Event) is then written by this program
for as many others in another namespace: each one's writes one after another, PARALLEL of them at a time, no reads. API
server, etcd and controllers are the same, so the quotient of the two times is what observing and deciding adds.
"""

import asyncio
import copy
import time
from collections.abc import Iterator
from typing import Any

from podium.kube.aio import AioClient
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    EVENTS,
    MODEL_DEPLOYMENTS,
    SERVICES,
    Resource,
)
from tests.bench import bench_operator
from tests.bench.bench_operator import COUNT, PARALLEL
from tests.bench.rig import Rig, client, rig
from tests.bench.table import Row, show
from tests.cluster.progress import ClusterError

NAMESPACE = "floor"
SERVERS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
"""Fields of metadata that the API server writes."""

Object = dict[str, Any]


async def _pattern(api: AioClient) -> tuple[Object, dict[Resource, Object]]:
    """The first ModelDeployment as it stands, and what the operator wrote for it."""
    model = await api.get(MODEL_DEPLOYMENTS, "default", bench_operator.model(0, 1)["metadata"]["name"])
    if model is None:
        raise ClusterError("the first ModelDeployment is gone")
    name, revision = model["metadata"]["name"], model["status"]["champion"]["revision"]
    names = {CONTROLLER_REVISIONS: revision, SERVICES: name, DEPLOYMENTS: revision}
    (event,) = [
        identity.name
        for identity in (await api.identities(EVENTS, "default"))[0]
        if identity.name.startswith(f"{name}.")
    ]
    found: dict[Resource, Object] = {}
    for resource, each in {**names, EVENTS: event}.items():
        obj = await api.get(resource, "default", each)
        if obj is None:
            raise ClusterError(f"{resource.kind} {each} is gone")
        found[resource] = _bare(resource, obj)
    return model, found


def _bare(resource: Resource, obj: Object) -> Object:
    """As somebody would write it."""
    bare = copy.deepcopy(obj)
    bare |= {"apiVersion": resource.api_version, "kind": resource.kind}
    bare.pop("status", None)
    for name in SERVERS:
        bare["metadata"].pop(name, None)
    for name in ("clusterIP", "clusterIPs"):
        bare.get("spec", {}).pop(name, None)
    return bare


async def _one(api: AioClient, index: int, pattern: tuple[Object, dict[Resource, Object]]) -> None:
    """All writes of one ModelDeployment, in the operator's order."""
    like, children = pattern
    wanted = bench_operator.model(index, 1)
    wanted["metadata"]["namespace"] = NAMESPACE
    made = await api.apply(wanted, manager="bench")
    for resource, write in (
        (CONTROLLER_REVISIONS, api.create),
        (SERVICES, api.apply),
        (DEPLOYMENTS, api.apply),
    ):
        await write(_of(children[resource], made, like["metadata"]["name"]))
    await api.write_status(MODEL_DEPLOYMENTS, made, like["status"])
    await api.create(_of(children[EVENTS], made, like["metadata"]["name"]))


def _of(child: Object, owner: Object, name: str) -> Object:
    """The same child of another ModelDeployment."""
    obj, meta = copy.deepcopy(child), owner["metadata"]
    obj["metadata"]["namespace"] = NAMESPACE
    obj["metadata"]["name"] = child["metadata"]["name"].replace(name, meta["name"], 1)
    for reference in obj["metadata"].get("ownerReferences") or []:
        reference |= {"name": meta["name"], "uid": meta["uid"]}
    if "regarding" in obj:
        obj["regarding"] |= {"namespace": NAMESPACE, "name": meta["name"], "uid": meta["uid"]}
    return obj


async def measure(bench: Rig) -> float:
    """Seconds for COUNT of them; the operator of the rig has created as many, and is ended first."""
    api, transport = await client(bench.plane)
    try:
        pattern = await _pattern(api)
        bench.operator.terminate()
        bench.operator.wait(30)
        bench.plane.kubectl("create", "namespace", NAMESPACE)
        gate = asyncio.Semaphore(PARALLEL)

        async def one(index: int) -> None:
            async with gate:
                await _one(api, index, pattern)

        begun = time.monotonic()
        await asyncio.gather(*(one(index) for index in range(COUNT)))
        return time.monotonic() - begun
    finally:
        await transport.close()


def figures() -> Iterator[Row]:
    """Both, on one control plane."""
    with rig() as bench:
        created = asyncio.run(bench_operator.measure(bench, 1)).seconds
        floor = asyncio.run(measure(bench))
    yield Row(f"{COUNT} created by the operator", f"{created:.1f} s")
    yield Row(f"{COUNT}: the same writes by a client", f"{floor:.1f} s: the operator takes {created / floor:.2f} times")


if __name__ == "__main__":
    show([*figures()])
