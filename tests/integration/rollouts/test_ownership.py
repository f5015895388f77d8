"""Whose an object is: foreign ones are left alone, changed ones are mended, and what others make of ours is taken."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.rollouts.api import Object, path_of
from tests.integration.rollouts.kubelet import SERVES, CannotPull, Misconfigured, Unschedulable
from tests.integration.rollouts.nursery import Nursery
from tests.integration.rollouts.played import Played
from tests.integration.rollouts.stage import MODEL, Cluster, Stage, spec
from tests.integration.rollouts.world import PATIENCE
from tests.invariants import Version

ADOPT = "podium.dev/adopt"
STRANGER = "somebody-else"


async def test_a_foreign_service_is_not_touched_until_it_is_given_over(stage: Stage) -> None:
    # Given a Service of the ModelDeployment's name that somebody else made,
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": MODEL, "namespace": stage.namespace, "labels": {"app": "theirs"}},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "web", "port": 80, "targetPort": 8080}]},
    }
    before = await stage.api.create(foreign)
    # when the ModelDeployment is made,
    await stage.apply(spec("v1", 2))
    await stage.until(lambda: stage.condition("Ready").get("reason") == "NameConflict", "NameConflict")
    # then it is left as it is, and the condition names it and the way out;
    assert stage.condition("Stalled")["status"] == "True"
    message = stage.condition("Ready")["message"]
    assert f"Service {MODEL}" in message
    assert f"{ADOPT}={stage.uid}" in message
    live = await stage.api.get("Service", stage.namespace, MODEL)
    assert live is not None
    assert live["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    # when its owner gives it over, then it is the ModelDeployment's.
    await stage.api.merge(
        "Service", stage.namespace, MODEL, {"metadata": {"annotations": {ADOPT: stage.uid}}}, manager=STRANGER
    )
    # Nothing tells the operator of an object that is not its own: it looks again by itself, or when spec changes.
    await stage.apply(spec("v1", 2, disruption={"maxUnavailable": 2}))
    await stage.until_ready("v1")
    taken = await stage.api.get("Service", stage.namespace, MODEL)
    assert taken is not None
    assert [one["uid"] for one in taken["metadata"]["ownerReferences"]] == [stage.uid]
    assert taken["spec"]["selector"]["podium.dev/revision"] == stage.revision("v1")


DRIFT: dict[str, tuple[str, Object]] = {
    "replicas": ("Deployment", {"spec": {"replicas": 5}}),
    "image": (
        "Deployment",
        {"spec": {"template": {"spec": {"containers": [{"name": "model", "image": "another:1"}]}}}},
    ),
    "selector": ("Service", {"spec": {"selector": {"podium.dev/revision": "fraud-nothing"}}}),
    "added selector": ("Service", {"spec": {"selector": {"app": "theirs"}}}),
    "budget": ("PodDisruptionBudget", {"spec": {"maxUnavailable": 2}}),
    "label": ("Service", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "theirs"}}}),
    "owner": ("PodDisruptionBudget", {"metadata": {"ownerReferences": None, "annotations": {"theirs": "yes"}}}),
}


@pytest.mark.parametrize("what", DRIFT)
async def test_what_another_hand_changed_is_back_within_5_seconds(stage: Stage, what: str) -> None:
    # Given a healthy ModelDeployment,
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    kind, change = DRIFT[what]
    name = stage.revision("v1") if kind == "Deployment" else MODEL
    ours = core(stage.get(kind, name))
    stage.cut_off_by_others = what in ("selector", "added selector")
    # when somebody changes a field of a child,
    seen: list[Version] = []
    stage.world.listen(kind, seen.append)
    changed = await stage.api.request(
        "PATCH",
        path_of(kind, stage.namespace, name),
        change,
        content_type="application/strategic-merge-patch+json",
        query={"fieldManager": STRANGER},
    )
    assert core(changed) != ours
    # then it is as before,
    await stage.until(lambda: core(later(stage, changed)) == ours, f"the repaired {kind}")
    # and by the API server's own times that took no more than 5 s.
    repaired = next(
        one.obj
        for one in seen
        if (one.obj["metadata"]["namespace"], one.name) == (stage.namespace, name)
        and one.revision > int(changed["metadata"]["resourceVersion"])
        and core(one.obj) == ours
    )
    assert written(repaired, "podium") - written(changed, STRANGER) <= timedelta(seconds=5)
    await stage.until_ready("v1")


async def test_a_deleted_child_comes_back(stage: Stage) -> None:
    stage.cut_off_by_others = True
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    for kind, name in (("Service", MODEL), ("PodDisruptionBudget", MODEL), ("Deployment", stage.revision("v1"))):
        uid = (stage.get(kind, name) or {})["metadata"]["uid"]
        await stage.api.delete(kind, stage.namespace, name)
        await stage.until(
            lambda kind=kind, name=name, uid=uid: (stage.get(kind, name) or {})["metadata"]["uid"] != uid,  # type: ignore[misc]
            f"a new {kind}",
        )
    await stage.until(lambda: stage.is_ready("v1") and len(stage.endpoints()) == 2, "Ready again")


async def test_a_fight_over_a_field_is_given_up_and_told(cluster: Cluster, nursery: Nursery) -> None:
    async with Played(cluster, nursery, "fight", drift_window=60) as played:
        stage = played.stage
        await stage.apply(spec("v1", 2))
        await stage.until_ready("v1")
        # When another writer sets a field each time that it is set back,
        theirs, repaired = {"spec": {"maxUnavailable": 2}}, 0
        while not stage.condition("DriftContested"):
            assert repaired < 10, f"repaired {repaired} times"
            changed = await stage.api.merge("PodDisruptionBudget", stage.namespace, MODEL, theirs, manager=STRANGER)
            await stage.until(
                lambda changed=changed: (
                    stage.condition("DriftContested")  # type: ignore[misc]
                    or later(stage, changed)["spec"]["maxUnavailable"] == 1
                ),
                "the repair, or that it is given up",
            )
            repaired += not stage.condition("DriftContested")
        # then after five repairs it is left, and the condition names the field and the writer,
        assert repaired == 5
        message = stage.condition("DriftContested")["message"]
        assert "spec.maxUnavailable" in message
        assert STRANGER in message
        # while all else is still put back,
        labels = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "theirs"}}}
        changed = await stage.api.merge("PodDisruptionBudget", stage.namespace, MODEL, labels, manager=STRANGER)
        await stage.until(
            lambda: later(stage, changed)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "podium",
            "the label, put back",
        )
        assert (stage.get("PodDisruptionBudget", MODEL) or {})["spec"]["maxUnavailable"] == 2
        await played.rests()
        assert stage.condition("DriftContested")
        # until the window is over.
        await stage.until(
            lambda: (
                (stage.get("PodDisruptionBudget", MODEL) or {})["spec"]["maxUnavailable"] == 1
                and not stage.condition("DriftContested")
            ),
            "another try",
        )


async def test_a_webhook_that_rewrites_images_is_accepted(cluster: Cluster, nursery: Nursery) -> None:
    async with Played(cluster, nursery, "rewriting") as played:
        stage = played.stage
        # Given a cluster that takes all images from a mirror,
        await mirror(stage)
        # when a model is rolled out and updated,
        await stage.apply(spec("v1", 2))
        await stage.until_ready("v1")
        await stage.apply(spec("v2", 2))
        await stage.until_ready("v2")
        await stage.until(lambda: len(stage.all("Pod")) == 2, "the end of the update")
        # then the pods have the mirror's image, nothing is written any more,
        assert {one["spec"]["containers"][0]["image"].partition("/")[0] for one in stage.pods()} == {"mirror.local"}
        pods, writes = names(stage.pods()), played.writes
        generation = (stage.get("Deployment", stage.revision("v2")) or {})["metadata"]["generation"]
        await played.rests()
        # and a new operator, which does not remember, restarts no pod either.
        played.operator.kill()
        played.operator.start()
        await asyncio.to_thread(played.operator.await_ready)
        await stage.apply(spec("v2", 2, disruption={"maxUnavailable": 2}))
        await stage.until_ready("v2")
        assert names(stage.pods()) == pods
        assert (stage.get("Deployment", stage.revision("v2")) or {})["metadata"]["generation"] == generation
        assert played.writes - writes <= 6


async def test_a_quota_is_told_in_the_api_servers_own_words(stage: Stage) -> None:
    # Given a champion of two pods and a quota of two,
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": stage.namespace}}
    await stage.api.create(quota | {"spec": {"hard": {"pods": "2"}}})
    # when an update asks for a third pod,
    await stage.apply(spec("v2", 2))
    # then a condition says what the API server said, and the champion serves on;
    await stage.until(lambda: stage.condition("PodFailure"), "PodFailure")
    assert stage.condition("PodFailure")["reason"] == "FailedCreate"
    assert "exceeded quota: small" in stage.condition("PodFailure")["message"]
    assert stage.condition("Available")["status"] == "True"
    assert len(stage.endpoints()) == 2
    # when the quota is raised, the update ends.
    await stage.api.merge("ResourceQuota", stage.namespace, "small", {"spec": {"hard": {"pods": "9"}}})
    await stage.until_ready("v2")
    assert not stage.condition("PodFailure")


async def test_what_only_the_cluster_can_tell_becomes_a_condition_and_no_verdict(stage: Stage) -> None:
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    stage.kubelet.script(stage.namespace, "v2", Misconfigured())
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: 'secret "s3" not found' in stage.condition("PodFailure")["message"], "the missing Secret")
    stage.kubelet.script(stage.namespace, "v2", Unschedulable())
    await stage.until(lambda: stage.pods("v2"), "a pod of v2")
    # Both wait for the deadline: nobody has decided yet, and the champion serves.
    assert stage.outcome("v2") == ""
    assert stage.condition("Available")["status"] == "True"
    stage.kubelet.script(stage.namespace, "v2", SERVES)
    await stage.until_ready("v2")


async def test_the_deadline_rolls_back_what_is_never_told(stage: Stage) -> None:
    rollout = {"progressDeadline": "3s"}
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    stage.kubelet.script(stage.namespace, "v2", Misconfigured())
    await stage.apply(spec("v2", 2, rollout=rollout))
    await stage.until(lambda: stage.phase == "RolledBack", "the rollback")
    [rolled_back, _] = stage.status["history"]
    assert rolled_back["rule"] == "deadline"


async def test_an_image_that_cannot_be_pulled_is_rolled_back(stage: Stage) -> None:
    await stage.apply(spec("v1", 2))
    await stage.until_ready("v1")
    stage.kubelet.script(stage.namespace, "v2", CannotPull())
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: stage.phase == "RolledBack", "the rollback")
    [rolled_back, _] = stage.status["history"]
    assert rolled_back["rule"] == "crash: ImagePull"


async def mirror(stage: Stage) -> None:
    """A MutatingAdmissionPolicy that rewrites the images of this namespace's Deployments."""
    here = f"object.metadata.namespace == '{stage.namespace}' && !object.spec.template.spec.containers[0].image"
    rewritten = (
        "[JSONPatch{op: 'replace', path: '/spec/template/spec/containers/0/image', "
        "value: 'mirror.local/' + object.spec.template.spec.containers[0].image}]"
    )
    api = {"apiVersion": "admissionregistration.k8s.io/v1"}
    policy: Object = api | {
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": stage.namespace},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["deployments"],
                    }
                ]
            },
            "matchConditions": [{"name": "not-yet", "expression": f"{here}.startsWith('mirror.local/')"}],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": rewritten}}],
        },
    }
    await stage.api.create(policy)
    binding: Object = api | {"kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": stage.namespace}}
    await stage.api.create(binding | {"spec": {"policyName": stage.namespace}})
    # A policy acts some moments after it was made: a Deployment of ours tells when.
    probe = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "probe", "namespace": stage.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "probe"}},
            "template": {
                "metadata": {"labels": {"app": "probe"}},
                "spec": {"containers": [{"name": "probe", "image": "probe"}]},
            },
        },
    }
    async with asyncio.timeout(PATIENCE):
        while True:
            made = await stage.api.create(probe)
            await stage.api.delete("Deployment", stage.namespace, "probe")
            await stage.until(lambda: stage.get("Deployment", "probe") is None, "the probe's end")
            if made["spec"]["template"]["spec"]["containers"][0]["image"] == "mirror.local/probe":
                return


def core(obj: Object | None) -> Any:
    """What Podium wrote of an object, without what changes by itself."""
    assert obj is not None
    meta = obj["metadata"]
    return obj["spec"], meta.get("labels"), meta.get("ownerReferences")


def later(stage: Stage, obj: Object) -> Object:
    """The object as it is now; KeyError while nothing newer than `obj` is known."""
    live = stage.get(obj["kind"], obj["metadata"]["name"])
    if live is None or int(live["metadata"]["resourceVersion"]) <= int(obj["metadata"]["resourceVersion"]):
        raise KeyError(obj["metadata"]["name"])
    return live


def written(obj: Object, manager: str) -> datetime:
    """When a manager last wrote, in the API server's whole seconds."""
    times = [one["time"] for one in obj["metadata"]["managedFields"] if one["manager"] == manager]
    return datetime.strptime(max(times), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def names(objects: list[Object]) -> list[str]:
    return sorted(one["metadata"]["name"] for one in objects)
