"""ControllerRevisions under our labels whose data is no revision: set aside, told of, and harmful to nothing else."""

from typing import Any

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.reading import UNREADABLE
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from podium.manifests.owner import Owner, owner_reference
from tests.unit.planner.given import MANUAL, serving, updating
from tests.unit.planner.world import NAME, NAMESPACE, World, model

INPUTS = {names.ANNOTATION_INPUTS: "0" * 64}
PROMOTED = INPUTS | {names.ANNOTATION_OUTCOME: "Promoted", names.ANNOTATION_RULE: "first"}
EARLIER = PROMOTED | {names.ANNOTATION_DECIDED_AT: "2029-01-01T00:00:00.000000Z"}
LATER = PROMOTED | {names.ANNOTATION_DECIDED_AT: "2039-01-01T00:00:00.000000Z"}


def junk(world: World, data: Any, annotations: dict[str, str]) -> Object:
    """A ControllerRevision that says it is this ModelDeployment's."""
    name = f"{NAME}-junk"
    owner = Owner(NAME, NAMESPACE, world.md["metadata"]["uid"])
    meta = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": names.revision_labels(NAME, name),
        "annotations": annotations,
        "ownerReferences": [owner_reference(owner)],
    }
    obj = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "revision": 7, "data": data}
    return world.api.create(obj, "kubectl")


@pytest.mark.parametrize("data", [{}, None, [], "x", {"template": 1}, {"hash": {}, "inputs": []}], ids=str)
@pytest.mark.parametrize(
    "annotations",
    [{}, {names.ANNOTATION_OUTCOME: "Promoted"}, EARLIER, INPUTS, INPUTS | {names.ANNOTATION_OUTCOME: "RolledBack"}],
)
def test_what_cannot_be_what_serves_is_told_of_and_stops_nothing(data: Any, annotations: dict[str, str]) -> None:
    world = serving(replicas=2)
    junk(world, data, annotations)
    world.rest()
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
    assert f"{NAME}-junk" in world.message("RecordUnreadable")
    assert "kubectl delete controllerrevision" in world.message("RecordUnreadable")
    world.edit(model=model("2"))
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert world.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("annotations", [LATER])
def test_what_may_be_what_serves_holds_everything_until_it_is_mended(annotations: dict[str, str]) -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    found = junk(world, {"template": "of a later Podium"}, annotations)
    world.edit(model=model("2"))
    world.advance(300)
    assert len(world.ready_pods(one)) == 2
    assert len(world.api.all(DEPLOYMENTS)) == 1
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, found["metadata"]["name"])
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_a_time_that_cannot_be_read_makes_no_old_revision_the_latest() -> None:
    world = updating(replicas=2)
    world.rest()
    one, two = world.revision("1"), world.revision("2")
    unread = {names.ANNOTATION_DECIDED_AT: "yesterday"}
    world.change(CONTROLLER_REVISIONS, one, lambda o: o["metadata"]["annotations"].update(unread))
    world.change(CONTROLLER_REVISIONS, two, lambda o: o.update({UNREADABLE: "of a later Podium"}))
    world.restart_operator()
    world.advance(120)
    assert world.backends() == {two}
    assert len(world.ready_pods(two)) == 2
    assert world.condition("Ready") == ("False", "RecordUnreadable")


@pytest.mark.parametrize("lost", [DEPLOYMENTS, SERVICES, PDBS])
def test_what_surely_serves_is_repaired_and_scaled_though_the_champions_record_may_be_another(lost: Resource) -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    junk(world, {"template": "of a later Podium"}, LATER)
    world.edit(model=model("2"))
    world.advance(30)
    for child in world.api.all(lost):
        world.api.delete(lost, NAMESPACE, child["metadata"]["name"])
    world.edit(replicas=3)
    world.advance(120)
    assert len(world.ready_pods(one)) == 3
    assert world.backends() == {one}
    assert len(world.api.all(PDBS)) == 1
    assert len(world.api.all(DEPLOYMENTS)) == 1, "version 2 is not begun"
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    assert world.condition("Stalled") == ("True", "RecordUnreadable")


def test_a_candidate_takes_over_from_a_champion_that_is_down_though_a_record_cannot_be_read() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.phase == "Paused")
    junk(world, {"template": "of a later Podium"}, LATER)
    world.advance(5)
    for name in ("1", *(pod["metadata"]["name"] for pod in world.pods(one))):
        world.behave(name, ready_after=None)
    world.advance(120)
    assert (world.outcome(two), world.rule(two)) == ("Promoted", "champion-down")
    assert world.backends() == {two}


def test_nothing_is_touched_where_the_Service_selects_what_no_record_tells_of() -> None:
    world = serving(replicas=2)
    junk(world, {"template": "of a later Podium"}, LATER)
    selected = f"{NAME}-junk"
    world.advance(5)

    def move(obj: Object) -> None:
        obj["spec"]["selector"][names.LABEL_REVISION] = selected

    before = len(world.client.calls)
    world.change(SERVICES, NAME, move)
    world.edit(replicas=3)
    world.advance(120)
    written = {call.resource for call in world.client.calls[before:]}
    assert written <= {MODEL_DEPLOYMENTS}
    assert world.need(SERVICES)["spec"]["selector"][names.LABEL_REVISION] == selected


def test_the_sentence_is_that_of_the_reader_where_not_even_json_could_be_read() -> None:
    world = serving(replicas=2)
    found = junk(world, {}, {})
    world.deliver()
    kept = world.cache.get(CONTROLLER_REVISIONS, NAMESPACE, found["metadata"]["name"])
    assert kept is not None
    kept[UNREADABLE] = "its data is nested too deeply"
    world.reconcile()
    assert f"ControllerRevision ml/{NAME}-junk is not one that Podium wrote: its data is nested too deeply." in (
        world.message("RecordUnreadable")
    )


def test_a_mistake_beyond_spec_is_no_InvalidSpec(monkeypatch: pytest.MonkeyPatch) -> None:
    world = serving(replicas=2)

    def broken(*_: object) -> None:
        raise ValueError("not about spec")

    with monkeypatch.context() as patched:
        patched.setattr("podium.reconcile.readings.read_revision", broken)
        with pytest.raises(ValueError, match="not about spec"):
            world.reconcile()
    assert world.condition("Ready") == ("False", "InternalError")


@pytest.mark.parametrize("changes", [{"kind": "StatefulSet"}, {"name": "other"}])
def test_the_uid_alone_makes_no_child(changes: dict[str, str]) -> None:
    world = serving(replicas=2)
    obj = junk(world, {}, {})
    reference = owner_reference(Owner(NAME, NAMESPACE, world.md["metadata"]["uid"])) | changes
    world.change(
        CONTROLLER_REVISIONS, obj["metadata"]["name"], lambda o: o["metadata"].update(ownerReferences=[reference])
    )
    world.rest()
    assert world.condition("RecordUnreadable") is None


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_times_at_the_ends_of_the_calendar_are_times(year: str) -> None:
    world = serving(replicas=2)
    pod = world.pods()[0]["metadata"]["name"]

    def odd(obj: Object) -> None:
        for condition in obj["status"].get("conditions", []):
            condition["lastTransitionTime"] = f"{year}-12-31T23:59:59Z"

    world.change(PODS, pod, odd)
    world.edit(model=model("2"))
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_a_grace_of_64_bits_is_a_grace() -> None:
    world = serving(replicas=2)
    pod = world.pods()[0]["metadata"]["name"]
    far = {"deletionTimestamp": "9999-12-31T23:59:59Z", "deletionGracePeriodSeconds": 2**62}
    world.change(PODS, pod, lambda obj: obj["metadata"].update(far))
    world.advance(60)
    assert world.condition("Ready") is not None
    assert (world.condition("Ready") or ("", ""))[1] != "InternalError"
