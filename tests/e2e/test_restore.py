"""A namespace is lost and restored from a backup: new uids, no owners, no status; the garbage collector is at work.

What is restored is what makes it hardest: two revisions were promoted, and a person has aborted the third one, which
spec still asks for. Whoever forgets the records, or begins before they are there, lets the third one serve.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.client import Object, session, wait
from tests.cluster.progress import ClusterError
from tests.e2e import ground
from tests.e2e.world import World, scene
from tests.stage import Stage

NAME = "digits"
MANUAL = {"strategy": "BlueGreen", "promotion": "Manual", "minReadySeconds": 1}
VELERO = (
    "Secret", "Pod", "ReplicaSet", "Service", "ControllerRevision", "Deployment", "EndpointSlice", "ModelDeployment",
    "PodDisruptionBudget",
)  # fmt: skip
"""Velero's own order: these four by its list of priorities, then all others by their names."""
ORDERS = {
    "as Velero does": VELERO,
    "the ModelDeployment before everything else": (
        "Secret", "ModelDeployment", "Pod", "ReplicaSet", "Deployment", "PodDisruptionBudget", "EndpointSlice",
        "ControllerRevision", "Service",
    ),
    "the ModelDeployment after the Service, Deployments and pods last": (
        "Secret", "Service", "ModelDeployment", "ControllerRevision", "EndpointSlice", "PodDisruptionBudget",
        "Deployment", "ReplicaSet", "Pod",
    ),
}  # fmt: skip
GARBAGE_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
OF_ONE_LIFE = (
    "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generateName", "selfLink", "managedFields",
)  # fmt: skip


@dataclass(frozen=True)
class Restored:
    """One restore: each fact before it, and after it."""

    champion: tuple[str, str]
    decided: tuple[dict[str, Object], dict[str, Object]]
    """Of every revision: outcome, rule, time and command."""
    pods: tuple[set[str], set[str]]
    answer: str
    """What the Service answered afterwards."""
    phase: str
    owners: set[str]
    """uids that its children name as their controller, and that of the ModelDeployment."""
    collected: list[str]
    """What the garbage collector deleted of the backup's objects, from the first restored one on."""


def lived(stage: Stage) -> Object:
    """Two promoted revisions, and a third that a person aborted."""
    ground.plain_runtime(stage)
    stage.apply(plain("one"))
    stage.until_ready(NAME)
    candidate = waiting(stage, "two")
    command(stage, f"promote {candidate}")
    stage.until_ready(NAME)
    command(stage, f"abort {waiting(stage, 'three')}")
    return stage.until_phase(NAME, "RolledBack")


def plain(text: str) -> Object:
    obj = ground.plain(text, rollout=MANUAL, replicas=2)
    return obj | {"metadata": {**obj["metadata"], "name": NAME}}


def waiting(stage: Stage, text: str) -> str:
    """Asks for another version; answers its revision once a person has to decide."""
    stage.apply(plain(text))
    obj = stage.until(NAME, "a promotion is waited for", lambda o: o["status"]["phase"] == "Paused")
    return str(obj["status"]["candidate"]["revision"])


def command(stage: Stage, words: str) -> None:
    annotations = {"podium.dev/command": f"{words} {time.time_ns()}"}
    stage.client.patch("ModelDeployment", stage.namespace, NAME, {"metadata": {"annotations": annotations}})


def backup(stage: Stage) -> list[Object]:
    """Everything of the namespace, with its kind."""
    found = []
    for kind in VELERO:
        listed = stage.client.listed(kind, stage.namespace)
        of = {"apiVersion": listed["apiVersion"], "kind": kind}
        found += [of | obj for obj in listed["items"] if "deletionTimestamp" not in obj["metadata"]]
    return found


def sanitized(obj: Object) -> Object:
    """As Velero creates it."""
    dropped = (*OF_ONE_LIFE, "ownerReferences")
    meta = {key: value for key, value in obj["metadata"].items() if key not in dropped}
    new = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}
    if obj["kind"] == "Pod":
        new["spec"] = {key: value for key, value in obj["spec"].items() if key != "nodeName"}
    if obj["kind"] == "Service":
        new["spec"] = {key: value for key, value in obj["spec"].items() if key not in ("clusterIP", "clusterIPs")}
    return new


def lose(stage: Stage) -> None:
    """The namespace is deleted, and made again without anything in it."""
    client, namespace = stage.client, stage.namespace
    labels = client.get("Namespace", None, namespace)["metadata"]["labels"]
    client.delete("Namespace", None, namespace)
    for pod in client.list("Pod", namespace):
        client.delete("Pod", namespace, pod["metadata"]["name"], grace=0)
    wait("the namespace's end", lambda: client.find("Namespace", None, namespace) is None, 90)
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    wait("its ServiceAccount", lambda: client.find("ServiceAccount", namespace, "default"), 120)


def restore(stage: Stage, saved: Sequence[Object], order: Sequence[str]) -> None:
    """Creates all objects, kind by kind; what is there already stays as it is.

    By kubectl, which writes JSON as Velero and the API server do: a ControllerRevision's data is compared byte by byte.
    """
    for kind in order:
        for obj in saved:
            if obj["kind"] == kind:
                create(stage, sanitized(obj))


def create(stage: Stage, obj: Object) -> None:
    try:
        stage.cluster.kubectl("create", "--filename=-", stdin=json.dumps(obj))
    except ClusterError as error:
        if "AlreadyExists" not in str(error):
            raise


def decided(stage: Stage) -> dict[str, Object]:
    """What each record says of its rollout, by revision."""
    told = ("podium.dev/outcome", "podium.dev/rule", "podium.dev/decided-at", "podium.dev/command")
    records = stage.client.list("ControllerRevision", stage.namespace)
    return {
        record["metadata"]["name"]: {key: record["metadata"]["annotations"].get(key) for key in told}
        for record in records
    }


def champion(stage: Stage) -> str:
    return str((stage.get(NAME).get("status") or {}).get("champion", {}).get("revision", ""))


def running(stage: Stage) -> set[str]:
    return set(ground.pods_of(stage, NAME))


def owners(stage: Stage) -> set[str]:
    found = {str(stage.get(NAME)["metadata"]["uid"])}
    for kind in ("ControllerRevision", "Deployment", "Service", "PodDisruptionBudget"):
        for child in stage.client.list(kind, stage.namespace):
            references = child["metadata"].get("ownerReferences") or [{"uid": f"orphan {kind}"}]
            found |= {reference["uid"] for reference in references}
    return found


def answer(stage: Stage) -> str:
    with session() as asking:
        return asking.get(stage.address(NAME), timeout=5).text.strip()


def collected(world: World, namespace: str, since: float, saved: Sequence[Object] | None = None) -> list[str]:
    """What the garbage collector deleted, by the audit log; of what stands in the backup `saved`, if there is one.

    What else there is it may take rightly: a write that was under way when the namespace went may come when it is back,
    and make an object with the owner of the life before (the Deployment of the rolled-back revision, say, with its
    ReplicaSet and pods). No uid can keep that out, for there was no object yet. Names alone would not do: that
    Deployment is called as the ControllerRevision, which is in the backup.
    """
    backed_up = {(f"{obj['kind'].lower()}s", obj["metadata"]["name"]) for obj in saved or ()}

    def deletion(event: Object) -> bool:
        ours = (event.get("objectRef") or {}).get("namespace") == namespace
        who = event["user"].get("username") == GARBAGE_COLLECTOR
        if not ours:
            return False
        counts = saved is None or (event["objectRef"]["resource"], event["objectRef"].get("name")) in backed_up
        return counts and who and event["verb"] == "delete" and ground.done(event) and ground.begun(event) >= since

    found = ground.audited(world.cluster, deletion)
    return [f"{event['objectRef']['resource']} {event['objectRef']['name']}" for event in found]


@scene
def restored(world: World) -> dict[str, Restored]:
    """The same backup, restored in each order."""
    ground.require_host(world.cluster)
    stage = world.stage("e2e-restore")
    lived(stage)
    stage.until(NAME, "pods of the champion alone", lambda _: len(running(stage)) == 2)
    saved, before, records, pods = backup(stage), champion(stage), decided(stage), running(stage)
    found = {}
    for name, order in ORDERS.items():
        lose(stage)
        since = time.time()
        restore(stage, saved, order)
        obj = stage.until_phase(NAME, "RolledBack")
        wait("two pods are ready", lambda: obj_available(stage) == 2, 180)
        said = wait("an answer", lambda: answer(stage), 120)
        found[name] = Restored(
            (before, champion(stage)), (records, decided(stage)), (pods, running(stage)), said,
            str(obj["status"]["phase"]), owners(stage), collected(world, stage.namespace, since, saved),
        )  # fmt: skip
    return found


def obj_available(stage: Stage) -> int:
    return int(stage.get(NAME)["status"]["champion"].get("available", 0))


@pytest.mark.parametrize("order", ORDERS)
def test_the_same_champion_serves_after_a_restore(restored: dict[str, Restored], order: str) -> None:
    one = restored[order]

    assert one.champion[0] == one.champion[1]
    assert one.answer == f"{NAME} of e2e-restore, revision {one.champion[0]}"
    assert one.phase == "RolledBack"


@pytest.mark.parametrize("order", ORDERS)
def test_what_was_decided_stays_decided(restored: dict[str, Restored], order: str) -> None:
    before, after = restored[order].decided

    assert sorted(record["podium.dev/outcome"] for record in before.values()) == ["Promoted", "Promoted", "RolledBack"]
    assert after == before


@pytest.mark.parametrize("order", ORDERS)
def test_everything_has_its_owner_again_and_nothing_is_collected(restored: dict[str, Restored], order: str) -> None:
    assert len(restored[order].owners) == 1
    assert restored[order].collected == []


def test_pods_that_come_first_are_not_made_a_second_time(restored: dict[str, Restored]) -> None:
    before, after = restored["as Velero does"].pods

    assert after == before
