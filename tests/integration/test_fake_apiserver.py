"""The simulated API server of the planner's tests does what a real one does, as far as it claims to.

Rows are calls that tell a rule, one after the other; and random calls look for what no row thought of
(PODIUM_CALLS=2000 plays more of them).
"""

import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from podium.kube.aio import AioClient
from podium.kube.client import Object
from podium.kube.connect import connect
from podium.kube.resources import (
    BY_KIND,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    PDBS,
    SERVICES,
)
from podium.kube.transport import Transport
from tests.cluster.controlplane import ControlPlane
from tests.integration.both import ANOTHER, Both, Place, Side
from tests.unit.planner.apiserver import ApiServer, Client

CALLS = int(os.environ.get("PODIUM_CALLS", "150"))
OWNER = {"apiVersion": "podium.dev/v1alpha1", "kind": "ModelDeployment", "name": "fraud", "controller": True}
LABELS = {"podium.dev/model": "fraud"}


def _object(api_version: str, kind: str, name: str, annotations: Object, **content: Any) -> Object:
    meta: Object = {"name": name, "labels": dict(LABELS)}
    if annotations:
        meta["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **content}


def deployment(name: str, replicas: int | None = None, *, app: str = "fraud", seconds: int = 0, **notes: str) -> Object:
    """`replicas` None leaves the field out."""
    container = {"name": "model", "image": "serving:1"}
    spec: Object = {
        "selector": {"matchLabels": {"app": app}},
        "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container]}},
    }
    if seconds:
        spec["minReadySeconds"] = seconds
    if replicas is not None:
        spec["replicas"] = replicas
    return _object("apps/v1", "Deployment", name, notes, spec=spec)


def replicas_alone(name: str, replicas: int) -> Object:
    """What is applied to hand a number of pods over."""
    meta = {"name": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas}}


def service(name: str, **selector: str) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    return _object("v1", "Service", name, {}, spec={"type": "ClusterIP", "selector": selector, "ports": ports})


def hpa(name: str, least: int, most: int, **behavior: Any) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    spec: Object = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most}
    return _object(
        "autoscaling/v2", "HorizontalPodAutoscaler", name, {}, spec=spec | ({"behavior": behavior} if behavior else {})
    )


def pdb(name: str, unavailable: int) -> Object:
    spec = {"selector": {"matchLabels": {"app": "fraud"}}, "maxUnavailable": unavailable}
    return _object("policy/v1", "PodDisruptionBudget", name, {}, spec=spec)


def record(name: str, uri: str = "s3://1", number: int = 1, **notes: str) -> Object:
    return _object("apps/v1", "ControllerRevision", name, notes, revision=number, data={"inputs": {"uri": uri}})


def config_map(name: str, annotations: Object | None = None, **data: str) -> Object:
    """What routers are told, or a ledger: texts by key."""
    return _object("v1", "ConfigMap", name, annotations or {}, **({"data": data} if data else {}))


def model(name: str, replicas: int = 1) -> Object:
    spec = {"model": {"uri": "s3://models/fraud/1", "format": "onnx"}, "replicas": replicas}
    return _object("podium.dev/v1alpha1", "ModelDeployment", name, {}, spec=spec)


def owned(obj: Object, *uids: str, controller: bool = True) -> Object:
    references = [{**OWNER, "uid": uid, "controller": controller} for uid in uids]
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": references}}


@pytest_asyncio.fixture
async def play(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, namespace: str) -> AsyncIterator[Both]:
    """Two empty namespaces of one name, one in each API server."""
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig()))
    transport = Transport(await connect("podium-test"))
    real = AioClient(transport, fence=lambda: None, write_timeout=10.0)
    api = ApiServer(lambda: datetime(2030, 1, 1, tzinfo=UTC))
    yield Both(Side(Client(api)), Side(real), namespace)
    await transport.close()


# --- rows


async def a_name_is_taken_once(play: Both) -> None:
    assert await play.create(record("a")) == ""
    assert await play.create(record("a")) == "409 AlreadyExists"


async def what_is_not_there_is_not_found(play: Both) -> None:
    place = (CONTROLLER_REVISIONS, "nobody")
    assert await play.annotate(place, {"x": "1"}) == "404 NotFound"
    assert await play.merge(place, {"metadata": {"labels": {"x": "1"}}}) == "404 NotFound"
    assert await play.delete(place) == ""
    await play.create(model("m"))
    await play.delete((MODEL_DEPLOYMENTS, "m"))


async def a_status_of_what_has_gone_is_not_found(play: Both) -> None:
    await play.create(model("m"))
    sides = [(side, dict(side.last)) for side in (play.fake, play.real)]
    await play.delete((MODEL_DEPLOYMENTS, "m"))
    for side, known in sides:
        side.last.update(known)
    answer = [await side.call(lambda s: s.client.write_status(MODEL_DEPLOYMENTS, *_m(s))) for side, _ in sides]
    assert answer == ["404 NotFound"] * 2


def _m(side: Side) -> tuple[Object, Object]:
    return side.last[MODEL_DEPLOYMENTS, "m"], {"phase": "Healthy"}


async def a_stale_version_is_refused(play: Both) -> None:
    place = (CONTROLLER_REVISIONS, "a")
    await play.create(record("a"))
    assert await play.annotate(place, {"podium.dev/outcome": "Promoted"}, version="last") == ""
    assert await play.annotate(place, {"podium.dev/outcome": "RolledBack"}, version="first") == "409 Conflict"
    assert await play.annotate(place, {"podium.dev/outcome": None}) == ""


async def a_stale_status_is_refused(play: Both) -> None:
    place = (MODEL_DEPLOYMENTS, "m")
    await play.create(model("m"))
    assert await play.status(place, {"phase": "Progressing", "observedGeneration": 1}) == ""
    assert await play.status(place, {"phase": "Healthy"}, version="first") == "409 Conflict"
    assert await play.status(place, {"phase": "Healthy"}) == ""
    assert await play.status(place, {"phase": "Healthy"}) == ""  # no new version


async def a_new_one_has_the_status_that_its_kind_begins_with(play: Both) -> None:
    await play.apply(model("m"), "kubectl")
    await play.status((MODEL_DEPLOYMENTS, "m"), {"phase": "Healthy"})


async def spec_counts_the_generation_and_status_does_not(play: Both) -> None:
    await play.apply(model("m", 1), "kubectl")
    await play.status((MODEL_DEPLOYMENTS, "m"), {"phase": "Healthy"})
    await play.annotate((MODEL_DEPLOYMENTS, "m"), {"podium.dev/command": "pause x 1"})
    await play.apply(model("m", 2), "kubectl")
    await play.apply(model("m", 2), "kubectl")


async def a_Deployments_generation_counts(play: Both) -> None:
    await play.apply(deployment("d", 2))
    await play.annotate((DEPLOYMENTS, "d"), {"note": "1"})
    await play.merge((DEPLOYMENTS, "d"), {"metadata": {"labels": {"note": "1"}}})
    await play.apply(deployment("d", 3))
    await play.apply(deployment("d", 3))
    await play.delete((DEPLOYMENTS, "d"), propagation="Foreground")


async def what_nobody_applies_any_more_falls_back(play: Both) -> None:
    await play.apply(deployment("d", 3, note="1"))
    await play.apply(deployment("d"))


async def a_number_is_handed_over_to_an_autoscaler(play: Both) -> None:
    await play.apply(deployment("d", 3))
    await play.apply(replicas_alone("d", 3), "podium-handover")
    await play.apply(deployment("d"))
    await play.merge((DEPLOYMENTS, "d"), {"spec": {"replicas": 5}})
    await play.apply(deployment("d"))
    await play.apply(deployment("d", 4))


async def force_takes_a_field_from_another_manager(play: Both) -> None:
    await play.apply(deployment("d", 3), "kubectl")
    await play.apply(deployment("d", 4))
    await play.apply(deployment("d", 3), "kubectl")
    await play.apply(deployment("d"), "kubectl")
    await play.apply(deployment("d"))


async def what_a_kind_requires_cannot_be_let_go_of(play: Both) -> None:
    assert await play.apply(replicas_alone("d", 3)) == "422 Invalid"
    await play.apply(deployment("d", 3))
    assert await play.apply(replicas_alone("d", 3)) == "422 Invalid"


async def what_a_POST_wrote_stays_when_an_apply_leaves_it_out(play: Both) -> None:
    await play.create(deployment("d", 3, note="1"))
    await play.apply(deployment("d"))
    await play.apply(deployment("d", 2))
    await play.apply(deployment("d"))


async def a_merge_removes_by_null_and_replaces_lists(play: Both) -> None:
    place = (SERVICES, "s")
    await play.apply(service("s", app="fraud"))
    ports = [{"name": "grpc", "port": 8081, "targetPort": "grpc", "protocol": "TCP"}]
    await play.merge(place, {"spec": {"ports": ports}, "metadata": {"labels": {"podium.dev/model": None}}})


async def a_selector_is_applied_as_a_whole(play: Both) -> None:
    await play.apply(service("s", app="fraud", revision="a"))
    await play.apply(service("s", app="fraud"))
    await play.merge((SERVICES, "s"), {"spec": {"selector": {"theirs": "1"}}})
    await play.apply(service("s", app="fraud"))


async def a_Deployments_selector_never_changes(play: Both) -> None:
    await play.apply(deployment("d", 1))
    assert await play.apply(deployment("d", 1, app="other")) == "422 Invalid"


async def a_records_data_never_change(play: Both) -> None:
    await play.create(record("a"))
    assert await play.merge((CONTROLLER_REVISIONS, "a"), {"data": {"inputs": {"uri": "s3://2"}}}) == "422 Invalid"
    assert await play.merge((CONTROLLER_REVISIONS, "a"), {"revision": 2}) == ""


async def two_controllers_are_refused(play: Both) -> None:
    await play.apply(owned(pdb("p", 1), "u-1"))
    assert await play.apply(owned(pdb("p", 1), "u-2"), "another") == "422 Invalid"
    assert await play.apply(owned(pdb("p", 1), "u-2", controller=False), "another") == ""
    await play.apply(pdb("p", 1))
    assert await play.create(owned(pdb("q", 1), "u-1", "u-2")) == "422 Invalid"


async def an_autoscaler_of_more_than_most_is_refused(play: Both) -> None:
    assert await play.apply(hpa("h", 3, 2)) == "422 Invalid"
    await play.apply(hpa("h", 1, 2))
    assert await play.apply(hpa("h", 3, 2)) == "422 Invalid"


async def an_autoscaler_gets_its_defaults(play: Both) -> None:
    await play.apply(hpa("h", 1, 2))
    await play.apply(hpa("h", 1, 2, scaleDown={"stabilizationWindowSeconds": 5}))
    await play.apply(hpa("h", 1, 2, scaleDown={"selectPolicy": "Disabled"}))
    await play.apply(hpa("h", 1, 2))


async def a_budget_changes(play: Both) -> None:
    await play.apply(pdb("p", 1))
    await play.apply(pdb("p", 2))
    await play.merge((PDBS, "p"), {"metadata": {"annotations": {"x": "1"}}})


async def a_ConfigMaps_keys_have_managers_of_their_own(play: Both) -> None:
    place = (CONFIG_MAPS, "c")
    await play.apply(owned(config_map("c", {"podium.dev/ledger": "digest"}, ledger="1"), "u-1"))
    await play.apply(owned(config_map("c", {"podium.dev/ledger": "other"}, ledger="2"), "u-1"))
    await play.apply(config_map("c", theirs="1"), "kubectl")
    await play.merge(place, {"data": {"ledger": "3"}})
    await play.apply(owned(config_map("c", ledger="4", **{"routing.json": "{}"}), "u-1"))
    await play.apply(config_map("c"))
    await play.merge(place, {"data": {"theirs": None}})
    assert await play.delete(place, uid="last") == ""


async def only_the_object_that_was_meant_is_deleted(play: Both) -> None:
    place = (SERVICES, "s")
    await play.apply(service("s", app="fraud"))
    assert await play.delete(place, uid="another") == ""
    assert await play.delete(place, uid="last") == ""
    await play.apply(service("s", app="fraud"))


async def an_apply_lands_on_the_object_that_was_meant_or_on_none(play: Both) -> None:
    for obj in (service("s", app="fraud"), deployment("d", 1), owned(pdb("p", 1), "u-1"), hpa("h", 1, 2)):
        assert await play.apply(obj, uid=ANOTHER) == "409 Conflict of another"
        await play.apply(obj)
        assert await play.apply(obj, uid="last") == ""
        assert await play.apply(obj, uid=ANOTHER) == "422 Invalid of another"
        assert await play.apply(obj, "kubectl", uid=ANOTHER) == "422 Invalid of another"
        await play.apply(obj)


async def a_merge_lands_on_the_object_that_was_meant_or_on_none(play: Both) -> None:
    place = (CONTROLLER_REVISIONS, "a")
    assert await play.merge(place, {"metadata": {"uid": ANOTHER}}) == "404 NotFound"
    await play.create(record("a"))
    assert await play.merge(place, {"metadata": {"uid": ANOTHER, "labels": {"x": "1"}}}) == "422 Invalid of another"


async def deletion_in_the_foreground_waits_for_its_finalizer(play: Both) -> None:
    await play.apply(owned(deployment("d", 1), "u-1"))
    await play.delete((DEPLOYMENTS, "d"), propagation="Foreground")
    await play.apply(owned(deployment("d", 2), "u-1"))
    await play.delete((DEPLOYMENTS, "d"), propagation="Foreground")


async def an_adopted_record_gets_its_owner_and_labels_back(play: Both) -> None:
    place = (CONTROLLER_REVISIONS, "a")
    await play.create(owned(record("a", note="1"), "u-1"))
    await play.merge(place, {"metadata": {"ownerReferences": None, "labels": None}})
    references = [{**OWNER, "uid": "u-2"}]
    meta = {"labels": dict(LABELS), "ownerReferences": references, "annotations": {"note": None}}
    await play.merge(place, {"metadata": meta})


ROWS: tuple[Callable[[Both], Coroutine[Any, Any, None]], ...] = (
    a_name_is_taken_once,
    what_is_not_there_is_not_found,
    a_status_of_what_has_gone_is_not_found,
    a_stale_version_is_refused,
    a_stale_status_is_refused,
    a_new_one_has_the_status_that_its_kind_begins_with,
    spec_counts_the_generation_and_status_does_not,
    a_Deployments_generation_counts,
    what_nobody_applies_any_more_falls_back,
    a_number_is_handed_over_to_an_autoscaler,
    force_takes_a_field_from_another_manager,
    what_a_kind_requires_cannot_be_let_go_of,
    what_a_POST_wrote_stays_when_an_apply_leaves_it_out,
    a_merge_removes_by_null_and_replaces_lists,
    a_selector_is_applied_as_a_whole,
    a_Deployments_selector_never_changes,
    a_records_data_never_change,
    two_controllers_are_refused,
    an_autoscaler_of_more_than_most_is_refused,
    an_autoscaler_gets_its_defaults,
    a_budget_changes,
    a_ConfigMaps_keys_have_managers_of_their_own,
    only_the_object_that_was_meant_is_deleted,
    an_apply_lands_on_the_object_that_was_meant_or_on_none,
    a_merge_lands_on_the_object_that_was_meant_or_on_none,
    deletion_in_the_foreground_waits_for_its_finalizer,
    an_adopted_record_gets_its_owner_and_labels_back,
)


@pytest.mark.parametrize("row", ROWS, ids=[row.__name__ for row in ROWS])
async def test_both_answer_alike(play: Both, row: Callable[[Both], Coroutine[Any, Any, None]]) -> None:
    await row(play)


# --- random calls


TEXTS: tuple[dict[str, str], ...] = {}, {"ledger": "1"}, {"ledger": "2", "routing.json": ""}
MANAGERS = ("podium", "podium-handover", "kubectl")


def some(dice: random.Random) -> tuple[Place, Object]:
    """An object of a kind that Podium writes, as it may be next."""
    count, note = dice.choice([None, 0, 1, 3]), dice.choice([{}, {"note": "1"}, {"note": "2", "more": "1"}])
    obj = dice.choice(
        [
            lambda: deployment("d", count, seconds=dice.choice([0, 5]), **note),
            lambda: replicas_alone("d", count or 0),
            lambda: service("s", **dice.choice([{"app": "a"}, {"app": "a", "revision": "b"}])),
            lambda: hpa("h", dice.choice([1, 2]), dice.choice([1, 2, 8])),
            lambda: pdb("p", dice.choice([1, 2])),
            lambda: record("r", dice.choice(["s3://1", "s3://2"]), **note),
            lambda: config_map(
                "c", dict(note), **dice.choice([{}, {"ledger": "1"}, {"ledger": "2", "routing.json": ""}])
            ),
            lambda: model("m", dice.choice([1, 2])),
        ]
    )()
    if dice.random() < 0.3:
        obj = owned(obj, *dice.sample(["u-1", "u-2"], dice.choice([1, 1, 2])), controller=dice.random() < 0.7)
    return (BY_KIND[obj["kind"]], obj["metadata"]["name"]), obj


async def some_call(play: Both, dice: random.Random) -> None:
    place, obj = some(dice)
    # A custom resource keeps the empty map that a null leaves, which nobody tells from none.
    gone = "2" if place[0] is MODEL_DEPLOYMENTS else None
    notes: dict[str, str | None] = {dice.choice(["note", "more"]): dice.choice(["1", "3", gone])}
    match dice.choice(["create", "apply", "apply", "apply", "annotate", "merge", "status", "delete"]):
        case "create":
            await play.create(obj)
        case "apply":
            # Of a custom resource, which Podium sends no uid of, an apply with one makes another version.
            meant = random.Random(len(play.played)).choice(["", "", "last", ANOTHER])
            uid = "" if place[0] is MODEL_DEPLOYMENTS else meant
            await play.apply(obj, dice.choice(MANAGERS), uid=uid)
        case "annotate":
            await play.annotate(place, notes, version=dice.choice(["", "first", "last"]))
        case "merge":
            await play.merge(place, {"metadata": {"labels": {"note": dice.choice(["1", gone])}}})
        case "status" if (MODEL_DEPLOYMENTS, "m") in play.fake.last:
            status = {"phase": dice.choice(["Healthy", "Progressing"]), "observedGeneration": dice.choice([1, 2])}
            await play.status((MODEL_DEPLOYMENTS, "m"), status, version=dice.choice(["first", "last"]))
        case "delete" if dice.random() < 0.3:
            await play.delete(place, uid=dice.choice(["", "another"]))


@pytest.mark.parametrize("seed", range(4))
async def test_both_answer_alike_to_random_calls(play: Both, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(CALLS):
        await some_call(play, dice)
    assert len(play.played) > CALLS / 2
