"""Children: drift, foreign objects, adoption."""

import json

import pytest

from podium.api import names
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
    resource_of,
)
from podium.reconcile.drift import project
from tests.unit.planner.given import AUTOSCALING, MANUAL, created, empty, serving, updating
from tests.unit.planner.world import NAME, NAMESPACE, World, model


def _foreign(world: World, **metadata: Object) -> Object:
    """A Service of the same name that another made."""
    spec = {"selector": {"app": "other"}, "ports": [{"port": 80}]}
    meta = {"name": NAME, "namespace": NAMESPACE, **metadata}
    return world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}, "helm")


# --- names


def test_a_foreign_object_of_a_childs_name_is_NameConflict_naming_it_and_it_is_not_touched() -> None:
    world = empty()
    before = _foreign(world)
    world.create()
    world.advance(300)
    assert world.condition("Ready") == ("False", "NameConflict")
    assert "Service fraud" in world.message()
    assert world.live(SERVICES) == before


def test_behind_a_foreign_Service_the_pods_come_up_all_the_same() -> None:
    world = empty()
    _foreign(world)
    world.create(replicas=2)
    world.advance(300)
    assert len(world.ready_pods(world.revision("1"))) == 2


def test_it_goes_on_once_the_foreign_object_is_gone() -> None:
    world = empty()
    _foreign(world)
    world.create()
    world.advance(60)
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_an_object_that_carries_podium_dev_adopt_with_the_uid_is_taken_over() -> None:
    world = empty()
    _foreign(world)
    world.create()
    world.advance(10)
    uid = world.md["metadata"]["uid"]
    adopt = {names.ANNOTATION_ADOPT: uid}
    world.change(SERVICES, NAME, lambda o: o["metadata"].update(annotations=adopt))
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.need(SERVICES)["metadata"]["ownerReferences"][0]["uid"] == uid


def test_an_adopt_annotation_with_another_uid_is_no_permission() -> None:
    world = empty()
    _foreign(world, annotations={names.ANNOTATION_ADOPT: "uid-of-another"})
    world.create()
    world.advance(60)
    assert world.condition("Ready") == ("False", "NameConflict")


def test_an_object_with_our_label_and_another_controller_is_foreign() -> None:
    world = empty()
    other = {"apiVersion": "v1", "kind": "Other", "name": "x", "uid": "uid-x", "controller": True}
    world.api.objects[(PODS, "other", "keeper")] = {"metadata": {"uid": "uid-x", "name": "keeper"}}
    _foreign(world, labels=names.model_labels(NAME), ownerReferences=[other])
    world.create()
    del world.api.objects[(PODS, "other", "keeper")]
    world.deliver()
    world.reconcile()
    assert world.condition("Ready") == ("False", "NameConflict")


def test_orphans_with_our_labels_are_adopted_without_restarting_a_pod() -> None:
    world = serving(replicas=2)
    pods = {pod["metadata"]["uid"] for pod in world.pods()}
    spec = world.spec
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME, "Orphan")
    world.advance(5)
    world.create(**spec)
    world.rest()
    uid = world.md["metadata"]["uid"]
    assert world.condition("Ready") == ("True", "Serving")
    assert {pod["metadata"]["uid"] for pod in world.pods()} == pods
    for resource, name in ((DEPLOYMENTS, world.revision("1")), (SERVICES, NAME), (PDBS, NAME)):
        assert [r["uid"] for r in world.need(resource, name)["metadata"]["ownerReferences"]] == [uid], resource


def test_adopted_revisions_belong_to_the_new_ModelDeployment_and_go_with_it() -> None:
    world = serving(replicas=2)
    spec = world.spec
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME, "Orphan")
    world.create(**spec)
    world.rest()
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME)
    world.advance(60)
    left = [obj["kind"] for obj in world.api.objects.values() if obj["kind"] not in ("ModelRuntime",)]
    assert left == []


def test_an_orphaned_preview_Service_that_nothing_asks_for_is_removed() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    assert world.live(SERVICES, "fraud-preview")
    spec = {**world.spec, "model": model("1"), "rollout": {"strategy": "RollingUpdate"}}
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME, "Orphan")
    world.create(**spec)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.live(SERVICES, "fraud-preview") is None


def test_a_preview_Service_without_our_labels_is_left_alone() -> None:
    world = empty()
    meta = {"name": "fraud-preview", "namespace": NAMESPACE}
    before = world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": []}}, "helm")
    world.create(replicas=2)
    world.rest()
    assert world.live(SERVICES, "fraud-preview") == before


def _theirs(resource: Resource, name: str, **spec: Object) -> Object:
    """An object of a person's own that has the label of the ModelDeployment, and nothing else of Podium's."""
    meta = {"name": name, "namespace": NAMESPACE, "labels": {names.LABEL_MODEL: NAME}}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, **spec}


SCALED = {"apiVersion": names.API_VERSION, "kind": "ModelDeployment", "name": NAME}
DEBUG = {
    "replicas": 0,
    "selector": {"matchLabels": {"app": "x"}},
    "template": {"metadata": {"labels": {"app": "x"}}, "spec": {}},
}


@pytest.mark.parametrize(
    "theirs",
    [
        _theirs(DEPLOYMENTS, "fraud-debug", spec=DEBUG),
        _theirs(HPAS, "mine", spec={"scaleTargetRef": SCALED, "minReplicas": 1, "maxReplicas": 3}),
        _theirs(SERVICES, "fraud-preview", spec={"selector": {}, "ports": []}),
        _theirs(PDBS, NAME, spec={"maxUnavailable": 1}),
        _theirs(CONTROLLER_REVISIONS, "fraud-x", data={}, revision=1),
    ],
    ids=lambda theirs: theirs["kind"],
)
def test_an_object_that_only_has_the_label_is_its_authors_and_is_left_alone(theirs: Object) -> None:
    world = serving(replicas=1)
    before = world.api.create(theirs, "kubectl")
    world.edit(model=model("2"))
    world.rest()
    left = world.api.objects[(resource_of(theirs), NAMESPACE, theirs["metadata"]["name"])]
    assert (left["metadata"]["uid"], left.get("spec")) == (before["metadata"]["uid"], before.get("spec"))
    assert world.condition("Ready") == ("True", "Serving")


def test_an_object_of_a_childs_name_that_only_has_the_label_is_NameConflict_and_no_orphan_to_adopt() -> None:
    world = empty()
    before = world.api.create(_theirs(SERVICES, NAME, spec={"selector": {"app": "x"}, "ports": []}), "kubectl")
    world.create()
    world.advance(60)
    assert world.condition("Ready") == ("False", "NameConflict")
    assert world.live(SERVICES) == before


def test_every_child_has_a_controller_reference_with_blockOwnerDeletion_and_the_labels() -> None:
    world = updating(replicas=2, rollout={"strategy": "BlueGreen"})
    uid = world.md["metadata"]["uid"]
    children = [o for o in world.api.objects.values() if o["kind"] not in ("ModelDeployment", "ModelRuntime", "Pod")]
    for child in (c for c in children if c["kind"] != "EndpointSlice"):
        (reference,) = child["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"], reference["blockOwnerDeletion"]) == (uid, True, True)
        assert names.model_labels(NAME).items() <= child["metadata"]["labels"].items()


# --- drift


@pytest.mark.parametrize(
    ("resource", "own", "change", "check"),
    [
        (
            SERVICES,
            False,
            lambda o: o["spec"].update(selector={"app": "x"}),
            lambda o: "app" not in o["spec"]["selector"],
        ),
        (
            SERVICES,
            False,
            lambda o: o["spec"]["selector"].update(app="x"),
            lambda o: "app" not in o["spec"]["selector"],
        ),
        (DEPLOYMENTS, True, lambda o: o["spec"].update(replicas=9), lambda o: o["spec"]["replicas"] == 2),
        (DEPLOYMENTS, True, lambda o: o["metadata"].update(labels={}), lambda o: o["metadata"]["labels"]),
        (PDBS, False, lambda o: o["spec"].update(maxUnavailable=2), lambda o: o["spec"]["maxUnavailable"] == 1),
    ],
    ids=["selector", "key added to selector", "replicas", "labels", "pdb"],
)
def test_a_field_of_ours_that_another_changes_is_put_back(resource: Resource, own: bool, change, check) -> None:  # type: ignore[no-untyped-def]
    world = serving(replicas=2)
    name = world.revision("1") if own else NAME
    world.change(resource, name, change)
    world.advance(5)
    assert check(world.need(resource, name))


@pytest.mark.parametrize("resource", [SERVICES, DEPLOYMENTS, PDBS])
def test_a_child_that_is_deleted_is_made_again(resource: Resource) -> None:
    world = serving(replicas=2)
    world.api.delete(resource, NAMESPACE, world.revision("1") if resource is DEPLOYMENTS else NAME)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.live(resource, world.revision("1") if resource is DEPLOYMENTS else NAME) is not None


def test_an_HPA_that_is_deleted_is_made_again_and_the_number_of_pods_stays() -> None:
    world = serving(replicas=4, autoscaling=AUTOSCALING)
    world.advance(30)
    one = world.revision("1")
    world.api.delete(HPAS, NAMESPACE, one)
    world.rest()
    assert world.hpas() == [one]
    assert world.replicas(one) == 4


def test_fields_that_others_add_are_theirs() -> None:
    world = serving(replicas=2)
    world.change(SERVICES, NAME, lambda o: o["metadata"].update(annotations={**o["metadata"]["annotations"], "a": "b"}))
    calls = len(world.client.calls)
    world.rest()
    assert world.need(SERVICES)["metadata"]["annotations"]["a"] == "b"
    assert [str(c) for c in world.client.calls[calls:] if c.verb == "apply"] == []


def _mutate(resource: Resource, obj: Object) -> None:
    """A webhook that pulls every image from a mirror."""
    if resource is DEPLOYMENTS:
        for container in obj["spec"]["template"]["spec"]["containers"]:
            container["image"] = "mirror.example/" + container["image"].removeprefix("mirror.example/")


def test_what_a_mutating_webhook_makes_of_a_child_is_accepted_without_a_loop() -> None:
    world = empty()
    world.api.admit.append(_mutate)
    world.create(replicas=2)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    applies = [c for c in world.client.calls if c.verb == "apply" and c.resource is DEPLOYMENTS]
    assert len(applies) == 1


def test_after_a_restart_a_mutated_child_costs_one_apply_and_no_pod() -> None:
    world = empty()
    world.api.admit.append(_mutate)
    world.create(replicas=2)
    world.rest()
    pods = {pod["metadata"]["uid"] for pod in world.pods()}
    world.restart_operator()
    world.rest()
    applies = [c for c in world.client.calls if c.verb == "apply" and c.resource is DEPLOYMENTS]
    assert len(applies) <= 1
    assert {pod["metadata"]["uid"] for pod in world.pods()} == pods


def test_a_restart_at_rest_writes_nothing() -> None:
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    world.rest()
    world.restart_operator()
    world.rest()
    assert [str(c) for c in world.client.calls] == []


def _fight(world: World, times: int) -> None:
    for number in range(times):
        world.change(SERVICES, NAME, lambda o, n=number: o["spec"].update(selector={"app": f"x{n}"}))  # type: ignore[misc]
        world.advance(5)


def test_the_same_field_repaired_five_times_in_ten_minutes_is_DriftContested_naming_the_managers() -> None:
    world = serving(replicas=2)
    _fight(world, 5)
    assert "podium.dev/model" in (world.selector() or {})
    assert world.condition("DriftContested") is None
    _fight(world, 1)
    assert "app" in (world.selector() or {})
    assert world.condition("DriftContested") == ("True", "AnotherWriter")
    assert "Service fraud" in world.message("DriftContested")
    assert "kubectl" in world.message("DriftContested")


def test_a_contested_field_is_repaired_again_after_ten_minutes() -> None:
    world = serving(replicas=2)
    _fight(world, 6)
    world.advance(620)
    assert "podium.dev/model" in (world.selector() or {})
    assert world.condition("DriftContested") is None


def _take_port(world: World, times: int) -> None:
    for number in range(times):
        world.change(SERVICES, NAME, lambda o, n=number: o["spec"]["ports"][0].update(targetPort=9000 + n))  # type: ignore[misc]
        world.advance(5)


def test_while_one_field_is_contested_the_others_are_still_put_back_and_that_one_is_left() -> None:
    world = serving(replicas=2)
    _take_port(world, 6)
    assert world.condition("DriftContested") == ("True", "AnotherWriter")
    world.change(SERVICES, NAME, lambda o: o["spec"].update(selector={"app": "theirs"}))
    world.advance(5)
    assert "podium.dev/model" in (world.selector() or {})
    assert "app" not in (world.selector() or {})
    assert world.need(SERVICES)["spec"]["ports"][0]["targetPort"] == 9005
    assert "spec.ports[0].targetPort" in world.message("DriftContested")
    assert "spec.selector" not in world.message("DriftContested")


def test_a_field_that_was_left_to_another_writer_is_still_ours_after_the_rest_was_put_back() -> None:
    world = serving(replicas=2)
    _take_port(world, 6)
    world.change(SERVICES, NAME, lambda o: o["spec"].update(selector={"app": "theirs"}))
    world.advance(620)
    assert world.need(SERVICES)["spec"]["ports"][0]["targetPort"] == "http"
    assert world.condition("DriftContested") is None


def test_a_selector_is_one_field_whatever_keys_the_other_writer_puts_into_it() -> None:
    world = serving(replicas=2)
    for number in range(8):
        world.change(SERVICES, NAME, lambda o, n=number: o["spec"].update(selector={f"app{n}": "x"}))  # type: ignore[misc]
        world.advance(5)
    assert world.selector() == {"app7": "x"}
    assert world.condition("DriftContested") == ("True", "AnotherWriter")


@pytest.mark.parametrize(
    ("take", "away"),
    [
        (
            lambda o: o["metadata"]["labels"].pop("app.kubernetes.io/instance", None),
            lambda o: "app.kubernetes.io/instance" not in o["metadata"]["labels"],
        ),
        (lambda o: o["spec"].update(ports=[]), lambda o: o["spec"]["ports"] == []),
    ],
    ids=["label", "ports"],
)
def test_what_another_writer_keeps_taking_away_stays_away_when_the_rest_is_put_back(take, away) -> None:  # type: ignore[no-untyped-def]
    world = serving(replicas=2)
    for _ in range(6):
        world.change(SERVICES, NAME, take)
        world.advance(5)
    assert world.condition("DriftContested") == ("True", "AnotherWriter")
    world.change(SERVICES, NAME, lambda o: o["spec"].update(selector={"app": "theirs"}))
    world.advance(5)
    assert "podium.dev/model" in (world.selector() or {})
    assert away(world.need(SERVICES))
    applied = [c.body for c in world.client.calls if c.verb == "apply" and c.resource is SERVICES][-1]
    assert "null" not in json.dumps(applied)


# --- what the API server refuses


def test_what_the_API_server_refuses_is_a_condition_in_its_own_words_and_tried_again() -> None:
    world = created(replicas=2)

    def refuse(resource: Resource, obj: Object) -> None:
        if resource is DEPLOYMENTS and "status" not in obj:
            raise ApiError(403, "Forbidden", "exceeded quota: deployments")

    world.api.admit.append(refuse)
    world.advance(60)
    assert world.condition("Ready") == ("False", "Forbidden")
    assert world.message().endswith(": exceeded quota: deployments.")
    world.api.admit.clear()
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_admission_that_does_not_know_the_new_CRDs_yet_is_waited_for_and_nobody_is_alarmed() -> None:
    world = created()
    said = (
        'controllerrevisions.apps "fraud-x" is forbidden: cannot set blockOwnerDeletion in this case because cannot '
        "find RESTMapping for APIVersion podium.dev/v1alpha1 Kind ModelDeployment: no matches for kind"
    )

    def refuse(resource: Resource, obj: Object) -> None:
        if obj["metadata"].get("ownerReferences"):
            raise ApiError(403, "Forbidden", said)

    world.api.admit.append(refuse)
    world.advance(25)
    assert (world.condition("Ready"), world.condition("Stalled")) == (("False", "Pending"), None)
    assert said in world.message()
    world.api.admit.clear()
    world.advance(3)
    assert world.pods(), "tried again every two seconds"
    assert not [event for event in world.heard.said if event.type == "Warning"]


@pytest.mark.parametrize("status", [0, 409, 429, 500, 503])
@pytest.mark.parametrize("nth", range(6))
def test_a_write_that_fails_for_now_is_tried_again_and_the_end_state_is_the_same(status: int, nth: int) -> None:
    world = serving(replicas=2)
    world.edit(model=model("2"))
    world.client.faults = [*[None] * nth, ApiError(status, "Passing", "not now")]
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert len(world.failures) == 1


def test_an_empty_text_that_the_API_server_leaves_out_is_no_drift() -> None:
    desired = {"env": [{"name": "A", "value": ""}, {"name": "B", "value": "1"}]}
    assert project({"env": [{"name": "A"}, {"name": "B", "value": "1"}]}, desired) == desired
    assert project({"env": [{"name": "A"}, {"name": "B"}]}, desired) != desired


def test_pods_fetch_through_the_proxy_of_the_operators_settings() -> None:
    world = empty(fetcher_proxy="http://proxy.corp:3128", fetcher_no_proxy=(".svc", "10.0.0.0/8"))
    world.create()
    world.advance(3)
    (fetcher,) = world.need(DEPLOYMENTS, world.revision("1"))["spec"]["template"]["spec"]["initContainers"]
    env = {each["name"]: each.get("value") for each in fetcher["env"]}
    assert env["HTTPS_PROXY"] == "http://proxy.corp:3128"
    assert env["NO_PROXY"] == ".svc,10.0.0.0/8"
