"""Deleted and made again at once (kubectl replace --force): its predecessor's children are still there."""

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, PDBS, SERVICES
from tests.unit.planner.given import empty, serving
from tests.unit.planner.kstatus import kstatus
from tests.unit.planner.world import CHILDREN, NAME, NAMESPACE, World, model


def _recreated(**changed: Object) -> World:
    """Version 1 serves, is deleted and made again, with another spec; nothing of the old one has gone yet."""
    world = serving(replicas=2)
    spec = world.spec
    world.cluster.collecting = False
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME)
    world.create(**{**spec, **changed})
    world.heard.said.clear()
    world.advance(10)
    return world


SPECS = pytest.mark.parametrize(
    ("spec", "waits_for"),
    [({}, "ControllerRevision"), ({"model": model("2")}, "Service fraud")],
    ids=["same spec", "another spec"],
)


@SPECS
def test_a_child_of_its_predecessor_is_waited_for_and_no_conflict(spec: Object, waits_for: str) -> None:
    world = _recreated(**spec)
    assert world.phase == "Progressing"
    assert world.condition("Ready") == ("False", "Draining")
    assert world.condition("Reconciling") == ("True", "Draining")
    assert world.condition("Stalled") is None
    assert kstatus(world.md) == "InProgress"
    assert "waits until the garbage collector has removed" in world.message()
    assert f"removed the {waits_for}" in world.message()
    assert {said.type for said in world.heard.said} == {"Normal"}


@SPECS
def test_it_goes_on_as_soon_as_that_has_gone(spec: Object, waits_for: str) -> None:
    world = _recreated(**spec)
    world.cluster.collecting = True
    world.until(lambda: world.condition("Ready") == ("True", "Serving"), within=60)
    uid = world.md["metadata"]["uid"]
    revision = world.status["champion"]["revision"]
    for resource, name in ((CONTROLLER_REVISIONS, revision), (DEPLOYMENTS, revision), (SERVICES, NAME), (PDBS, NAME)):
        assert [r["uid"] for r in world.need(resource, name)["metadata"]["ownerReferences"]] == [uid], resource


def test_it_is_looked_at_again_soon_though_no_watch_tells_of_it() -> None:
    world = _recreated()
    world.lag = dict.fromkeys(CHILDREN, 60.0)
    world.cluster.collecting = True
    uid = world.md["metadata"]["uid"]

    def made() -> bool:
        return any(uid in str(deployment) for deployment in world.api.all(DEPLOYMENTS))

    world.until(made, within=8)


def test_a_child_of_a_ModelDeployment_of_another_name_is_a_conflict() -> None:
    world = empty()
    world.cluster.collecting = False
    other = {"apiVersion": names.API_VERSION, "kind": "ModelDeployment", "name": "risk", "uid": "x", "controller": True}
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": names.model_labels(NAME), "ownerReferences": [other]}
    world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {}}}, "kubectl")
    world.create()
    world.advance(10)
    assert world.condition("Stalled") == ("True", "NameConflict")
