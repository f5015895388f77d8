"""Whatever anybody writes into the namespace with Podium's labels: what is well is rolled out as ever."""

import asyncio
import os
from collections import Counter
from typing import Final

from podium.api import names
from podium.watch.kinds import KINDS
from tests.integration.operator import Operator
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.junk import Maker, create
from tests.integration.rollouts.stage import RARELY, SHORT, USER, Cluster, spec

HEALTHY: Final = tuple(f"well-{number:02}" for number in range(20))
ROUTED: Final = HEALTHY[0]
"""Asks for routers. Pods that only say that they are some answer nobody, and its Service then goes past all of them."""
VICTIMS: Final = ("ill-0", "ill-1", "ill-2")
ROUNDS: Final = 12
PATIENCE: Final = 180.0
OF_ROUTERS: Final = ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ConfigMap", "Pod")
"""Kinds of which the routers of a namespace have some, or are told by."""
FAILED: Final = ("failed and goes on", "the watches have ended", "Traceback")


async def test_twenty_are_rolled_out_among_junk_of_every_kind_and_the_process_goes_on(cluster: Cluster) -> None:
    seed = int(os.environ.get("PODIUM_JUNK_SEED", "1"))
    print(f"junk of PODIUM_JUNK_SEED={seed}")
    namespace = await cluster.namespace("junk")
    operator = Operator(
        cluster.folder / namespace,
        cluster.plane.kubeconfig(USER),
        watch_namespaces=namespace,
        lease_namespace=namespace,
        **SHORT,
        **RARELY,
    )
    with operator:
        await cluster.routers.of(namespace)
        # Given twenty that are well, and three whose own records are to be spoilt,
        await asyncio.gather(*(apply(cluster, namespace, name, "v1") for name in (*HEALTHY, *VICTIMS)))
        await until_ready(cluster, namespace, operator, (*HEALTHY, *VICTIMS), "v1")
        pid, claim = operator.pid, await leadership(cluster, namespace)
        uids = {name: str(found(cluster, namespace, name)["metadata"]["uid"]) for name in VICTIMS}
        # when they are rolled while the junk is written,
        rolling = asyncio.create_task(roll(cluster, namespace, operator, "v2"))
        taken: Counter[str] = Counter()
        meta = {"name": "stranger", "namespace": namespace}
        stranger = await cluster.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        said = [
            await create(cluster.api, namespace, junk, taken)
            for junk in Maker(seed, namespace, uids, HEALTHY, stranger).all(ROUNDS)
        ]
        # then each has its new version,
        await rolling
        refused = [one for one in said if ": " in one]
        assert all(taken[resource.kind] >= ROUNDS / 4 for resource in KINDS), (taken, refused)
        assert all(taken[f"{kind} of the routers"] for kind in OF_ROUTERS), (taken, refused)
        assert all(taken[f"labelled {label}"] >= ROUNDS for label in (names.ROUTING, names.LEDGER)), (taken, refused)
        # by the process that began, no part of which has failed;
        assert (operator.alive, operator.pid) == (True, pid)
        assert await leadership(cluster, namespace) == claim, "it has led all the time"
        unexpected = [line["message"] for line in operator.lines() if any(words in str(line) for words in FAILED)]
        assert not unexpected, unexpected
        await until_unreadable(operator)
        assert operator.metric("podium_part_failures_total") == 0
        # and a process that begins among the junk does no worse.
        operator.kill()
        operator.start()
        await roll(cluster, namespace, operator, "v3")
        assert operator.alive
        await until_unreadable(operator)
        assert operator.metric("podium_part_failures_total") == 0


async def until_unreadable(operator: Operator) -> None:
    """Until its metrics are told, and count records that cannot be read."""

    def counted() -> bool:
        return operator.metric("podium_unreadable_objects_total", kind="ControllerRevision") > 0

    await asyncio.to_thread(operator.await_true, counted, "records that cannot be read are counted")


async def leadership(cluster: Cluster, namespace: str) -> Object:
    """Who holds the Lease since when, and how often it has changed hands."""
    lease = await cluster.api.get("Lease", namespace, "podium")
    assert lease is not None
    assert lease["spec"]["holderIdentity"]
    return {key: lease["spec"].get(key, 0) for key in ("holderIdentity", "acquireTime", "leaseTransitions")}


async def roll(cluster: Cluster, namespace: str, operator: Operator, version: str) -> None:
    """Ask for a version of all that are well, and wait for it."""
    await asyncio.gather(*(apply(cluster, namespace, name, version) for name in HEALTHY))
    await until_ready(cluster, namespace, operator, HEALTHY, version)


async def apply(cluster: Cluster, namespace: str, name: str, version: str) -> None:
    """`kubectl apply`."""
    meta = {"name": name, "namespace": namespace}
    given = spec(version, 1, **({"traffic": {"router": "Envoy"}} if name == ROUTED else {}))
    await cluster.api.apply(
        {"apiVersion": "podium.dev/v1alpha1", "kind": MODEL_DEPLOYMENT, "metadata": meta, "spec": given}
    )


def found(cluster: Cluster, namespace: str, name: str) -> Object:
    """A ModelDeployment as it is now; KeyError if there is none."""
    obj = cluster.world.get(MODEL_DEPLOYMENT, namespace, name)
    if obj is None:
        raise KeyError(name)
    return obj


def is_ready(obj: Object, version: str) -> bool:
    """Whether it says of its present spec that it is Ready, with this version."""
    status = obj.get("status") or {}
    ready = next((one["status"] for one in status.get("conditions") or [] if one["type"] == "Ready"), "")
    champion = (status.get("champion") or {}).get("version")
    generation = obj["metadata"]["generation"]
    return (ready, champion, status.get("observedGeneration")) == ("True", version, generation)


async def until_ready(
    cluster: Cluster, namespace: str, operator: Operator, models: tuple[str, ...], version: str
) -> None:
    """Wait until all of them serve a version."""

    def waiting() -> list[str]:
        return [name for name in models if not is_ready(found(cluster, namespace, name), version)]

    def explain() -> str:
        said = {name: found(cluster, namespace, name).get("status", {}).get("message") for name in waiting()}
        return f"{said}\n{operator.tail(20)}"

    await cluster.world.until(namespace, lambda: not waiting(), f"{version} of all", seconds=PATIENCE, explain=explain)
