"""A write lands on the object that it was planned with, or on none: names are given anew, uids are not."""

from collections.abc import Callable

import pytest

from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from tests.unit.planner.apiserver import Call, clone
from tests.unit.planner.backup import Backup
from tests.unit.planner.given import AUTOSCALING, serving
from tests.unit.planner.world import NAME, NAMESPACE, World

PLACE = (SERVICES, NAMESPACE, NAME)
Swap = Callable[[World], None]


def drifts(world: World) -> None:
    """Somebody else's hand, which Podium's next apply undoes."""
    world.change(SERVICES, NAME, lambda o: o["spec"]["ports"][0].update(targetPort=9999))


def just_before(world: World, act: Swap, *, times: int = 1) -> None:
    """`act` happens when an apply to the Service is under way already."""
    left = [times]

    def hook(call: Call) -> None:
        if call.verb == "apply" and call.resource is SERVICES and left[0]:
            left[0] -= 1
            act(world)

    world.client.before.append(hook)


def deleted(world: World) -> None:
    world.api.purge(PLACE)


def restored(world: World) -> None:
    """As Velero does: another uid, and nobody's."""
    saved = clone(world.need(SERVICES))
    world.api.purge(PLACE)
    for key in ("uid", "resourceVersion", "creationTimestamp", "ownerReferences"):
        saved["metadata"].pop(key, None)
    world.api.create(saved, "velero")


def somebody_elses(world: World) -> None:
    world.api.purge(PLACE)
    meta = {"name": NAME, "namespace": NAMESPACE}
    spec = {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80, "targetPort": 1}]}
    world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}, "kubectl")


def owners(world: World) -> set[str]:
    return {reference["uid"] for reference in world.need(SERVICES)["metadata"].get("ownerReferences") or []}


@pytest.mark.parametrize("swap", [deleted, restored])
def test_what_was_deleted_or_restored_meanwhile_is_made_right_at_once_and_nothing_is_said(swap: Swap) -> None:
    world = serving(replicas=2)
    before, said = world.need(SERVICES)["metadata"]["uid"], list(world.heard.said)
    just_before(world, swap)
    drifts(world)
    world.advance(1)

    assert world.need(SERVICES)["metadata"]["uid"] != before
    assert owners(world) == {world.md["metadata"]["uid"]}
    assert world.need(SERVICES)["spec"]["ports"][0]["targetPort"] == "http"
    assert (world.failures, world.condition("Ready")) == ([], ("True", "Serving"))
    world.rest()
    assert [one.reason for one in world.heard.said[len(said) :] if one.type == "Warning"] == []


def test_an_object_of_somebody_else_that_took_the_name_meanwhile_stays_as_it_is() -> None:
    world = serving(replicas=2)
    just_before(world, somebody_elses)
    drifts(world)
    world.advance(60)

    theirs = world.need(SERVICES)
    assert (theirs["spec"]["selector"], owners(world)) == ({"app": "theirs"}, set())
    assert world.condition("Ready") == ("False", "NameConflict")


def test_one_that_is_restored_time_and_again_is_no_fight_over_a_field() -> None:
    world = serving(replicas=2)
    for _ in range(10):
        restored(world)
        drifts(world)
        world.advance(2)

    assert world.condition("DriftContested") is None
    assert world.need(SERVICES)["spec"]["ports"][0]["targetPort"] == "http"


def test_a_refusal_that_only_sounds_like_it_is_one_and_is_not_tried_at_once_for_ever() -> None:
    world = serving(replicas=2)
    uid = world.need(SERVICES)["metadata"]["uid"]

    def refuse(call: Call) -> None:
        if call.verb == "apply" and call.resource is SERVICES:
            raise ApiError(409, "Conflict", f"uid mismatch: it is {uid}")

    world.client.before.append(refuse)
    drifts(world)
    world.advance(3)

    assert [str(one) for one in world.failures] == [
        f"Podium cannot write Service fraud: uid mismatch: it is {uid}"
    ] * len(world.failures)
    assert 1 <= len(world.failures) <= 4, "once a second, as whatever may pass by itself"


LIVES: dict[str, Object] = {"without an HPA": {}, "with one": {"autoscaling": AUTOSCALING}}
ALL: tuple[Resource, ...] = (PODS, SERVICES, CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS, MODEL_DEPLOYMENTS, PDBS)


@pytest.mark.parametrize("spec", LIVES.values(), ids=LIVES)
def test_what_was_restored_gets_no_owner_of_the_life_before(spec: Object) -> None:
    world = serving(replicas=2, **spec)
    saved, earlier = Backup.of(world), world.md["metadata"]["uid"]
    champion = world.status["champion"]["revision"]
    world.lag[MODEL_DEPLOYMENTS] = 60
    world.cluster.collecting = False
    for resource in ALL:
        for obj in world.api.all(resource):
            world.api.purge((resource, NAMESPACE, obj["metadata"]["name"]))
    began = {resource: len(world.api.streams[resource]) for resource in ALL}
    saved.restore_at_once(world)
    world.wakes.add(MODEL_DEPLOYMENTS.key(NAMESPACE, NAME))
    world.advance(50)
    world.cluster.collecting = True
    world.advance(120)

    written = [event.obj for resource in ALL for event in world.api.streams[resource][began[resource] :]]
    named = {ref["uid"] for obj in written for ref in obj["metadata"].get("ownerReferences") or []}
    assert earlier not in named
    assert owners(world) == {world.md["metadata"]["uid"]} != {earlier}
    assert world.status["champion"]["revision"] == champion
    assert world.condition("Ready") == ("True", "Serving")


def test_one_that_is_being_deleted_takes_no_orphan() -> None:
    world = serving(replicas=2)
    world.lag[MODEL_DEPLOYMENTS] = 60
    world.api.mark_deleted((MODEL_DEPLOYMENTS, NAMESPACE, NAME), ["foregroundDeletion"])
    world.change(SERVICES, NAME, lambda o: o["metadata"].pop("ownerReferences"))
    world.advance(10)

    assert owners(world) == set()
