"""Refusals, row by row: what stops, what goes on, what is said."""

import pytest

from podium.api import names
from podium.kube.client import ApiError, Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS, MODEL_DEPLOYMENTS, PDBS, SERVICES
from podium.reconcile.outcome import Fault, refusal_of
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import AUTOSCALING, BLUE_GREEN, created, empty, serving, switched
from tests.unit.planner.refusing import FAULTS, foreign, refuse
from tests.unit.planner.test_canary import canary
from tests.unit.planner.world import NAME, NAMESPACE, World, model

CANNOT_CALL = FAULTS["webhook"]().message
POLICY = FAULTS["a policy"]().message


def foreign_pdb(world: World) -> Object:
    return foreign(world, "PodDisruptionBudget", "policy/v1", NAME, selector={"matchLabels": {"app": "x"}})


# --- the PodDisruptionBudget


def test_a_foreign_PodDisruptionBudget_stops_nothing_and_is_a_condition_that_names_it() -> None:
    world = empty()
    foreign_pdb(world)
    world.create(replicas=2, rollout={**BLUE_GREEN, "scaleDownDelay": "10s"})
    world.advance(120)
    assert (world.phase, world.condition("Ready")) == ("Healthy", ("True", "Serving"))
    assert world.condition("Disruption") == ("False", "NameConflict")
    assert "PodDisruptionBudget fraud exists" in world.message("Disruption")
    for version in ("2", "3"):
        world.edit(model=model(version))
        world.advance(300)
        assert world.status["champion"]["version"] == version
        assert {d["metadata"]["name"] for d in world.api.all(DEPLOYMENTS)} == {world.revision(version)}


def test_the_condition_goes_once_the_budget_can_be_made() -> None:
    world = empty()
    foreign_pdb(world)
    world.create(replicas=2)
    world.advance(60)
    world.api.delete(PDBS, NAMESPACE, NAME)
    world.rest()
    assert world.condition("Disruption") is None
    assert world.live(PDBS) is not None


# --- the preview Service


def test_a_foreign_preview_Service_stops_nothing() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    foreign(world, "Service", "v1", f"{NAME}-preview", selector={"app": "x"}, ports=[{"port": 80}])
    world.edit(model=model("2"))
    world.until(lambda: world.condition("Preview") is not None)
    assert world.condition("Preview") == ("False", "NameConflict")
    world.api.delete(DEPLOYMENTS, NAMESPACE, world.revision("1"))
    world.advance(5)
    assert world.replicas(world.revision("1")) == 2, "the champion's Deployment is made again"
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert world.condition("Preview") is None


# --- the stable Service


def test_while_the_stable_Service_is_refused_nothing_that_serves_shrinks_or_goes() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    one = world.revision("1")
    end = refuse(world, "no right", lambda call: (call.resource, call.name) == (SERVICES, NAME))
    world.edit(model=model("2"))
    world.advance(300)
    assert world.backends() == {one}
    assert len(world.ready_pods(one)) == 2
    assert world.condition("Ready") == ("False", "Forbidden")
    assert world.condition("Stalled") == ("True", "Forbidden")
    end()
    world.rest()
    assert (world.status["champion"]["version"], world.phase) == ("2", "Healthy")


def test_without_the_stable_Service_the_champion_is_not_scaled_down() -> None:
    world = serving(replicas=3)
    end = refuse(world, "no right", lambda call: (call.resource, call.name) == (SERVICES, NAME))
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.edit(replicas=1)
    world.advance(60)
    assert world.replicas(world.revision("1")) == 3
    end()
    world.rest()
    assert world.replicas(world.revision("1")) == 1


def test_without_the_stable_Service_a_loser_stays() -> None:
    world = switched(replicas=2, rollout={"scaleDownDelay": "20s"})
    one = world.revision("1")
    end = refuse(world, "no right", lambda call: (call.resource, call.name) == (SERVICES, NAME))
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.advance(120)
    assert world.replicas(one) == 2
    end()
    world.rest()
    assert world.live(DEPLOYMENTS, one) is None


@pytest.mark.parametrize("deleted", [True, False])
def test_a_RollingUpdate_makes_up_for_nobody_with_pods_that_the_Service_does_not_list(deleted: bool) -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    refuse(world, "webhook", lambda call: (call.resource, call.name) == (SERVICES, NAME))
    world.edit(model=model("2"))
    world.advance(100)
    if deleted:
        world.api.delete(DEPLOYMENTS, NAMESPACE, one)
        world.advance(100)
    assert world.replicas(one) == 2
    assert world.outcome(world.revision("2")) == ""


# --- the champion's Deployment gives pods up


IN_PLACE = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


@pytest.mark.parametrize("rollout", [IN_PLACE, {**canary(50, 75), **IN_PLACE}], ids=["RollingUpdate", "Canary"])
def test_a_candidate_takes_no_place_that_the_champion_was_not_let_give_up(rollout: Object) -> None:
    world = serving(replicas=3, rollout=rollout)
    one, largest = world.revision("1"), 0

    def count() -> None:
        nonlocal largest
        largest = max(largest, sum(each["spec"]["replicas"] for each in world.api.all(DEPLOYMENTS)))

    world.after_pass.append(count)
    world.edit(model=model("2"))
    for left in (2, 1, 0):
        end = refuse(world, "no right", lambda call, left=left: call.name == one and _asks_for(call, left))
        world.until(lambda: world.condition("Ready") == ("False", "Forbidden"))
        world.advance(40)
        assert world.outcome(world.revision("2")) == ""
        end()
    world.rest()
    assert (world.status["champion"]["version"], world.phase) == ("2", "Healthy")
    assert (world.replicas(one) or 0, largest) == (0, 3)


def _asks_for(call: Call, pods: int) -> bool:
    return call.resource is DEPLOYMENTS and bool(call.body) and call.body["spec"].get("replicas") == pods


# --- the candidate's Deployment


def test_a_policy_that_says_no_to_the_candidate_is_told_and_judged_at_its_deadline() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.edit(model=model("2"))
    refuse(world, "a policy", lambda call: call.resource is DEPLOYMENTS and call.name != world.revision("1"))
    world.advance(30)
    assert world.condition("Ready") == ("False", "Forbidden")
    assert POLICY in world.message()
    world.advance(60)
    two = world.revision("2")
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")
    assert POLICY in world.annotations(two)[names.ANNOTATION_CAUSE]
    assert world.phase == "RolledBack"


@pytest.mark.parametrize(
    ("said", "whose"),
    [
        ('deployments.apps "x" is forbidden: User "podium" cannot patch resource "deployments"', Fault.RIGHTS),
        ('forbidden: User "podium" cannot get path "/apis"', Fault.RIGHTS),
        ('deployments.apps "x" is forbidden: cannot set blockOwnerDeletion if an ownerReference', Fault.RIGHTS),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', Fault.PERSON),
        ('deployments.apps "x" is forbidden: exceeded quota: team', Fault.PERSON),
        ('admission webhook "p" denied the request: User "system:podium" cannot deploy image evil:1', Fault.PERSON),
        ('admission webhook "p" denied the request: x is forbidden: User "podium" cannot deploy it', Fault.PERSON),
        ("deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
         'User "podium" cannot deploy it', Fault.PERSON),
    ],
)  # fmt: skip
def test_a_403_is_a_missing_right_only_by_the_authorizers_own_sentence(said: str, whose: Fault) -> None:
    assert refusal_of(ApiError(403, "Forbidden", said), "Podium cannot write it").fault is whose


@pytest.mark.parametrize("fault", ["webhook", "time-out", "no right", "too many requests"])
def test_time_in_which_the_cluster_takes_no_Deployment_does_not_count_against_the_candidate(fault: str) -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.edit(model=model("2"))
    end = refuse(world, fault, lambda call: call.resource is DEPLOYMENTS and call.name != world.revision("1"))
    world.advance(600)
    two = world.revision("2")
    assert world.outcome(two) == ""
    assert FAULTS[fault]().message in world.message()
    end()
    world.until(lambda: world.outcome(two) != "", within=60)
    assert world.outcome(two) == "Promoted"


@pytest.mark.parametrize(("sentence", "outcome"), [(CANNOT_CALL, ""), ("exceeded quota: pods", "RolledBack")])
def test_nor_does_time_in_which_it_takes_no_pods_but_a_quota_is_a_persons(sentence: str, outcome: str) -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.cluster.refused = sentence
    world.edit(model=model("2"))
    world.advance(200)
    two = world.revision("2")
    assert world.outcome(two) == outcome
    world.cluster.refused = ""
    world.rest()
    assert world.outcome(two) == (outcome or "Promoted")


def test_a_webhook_that_cannot_be_called_is_told_within_30_s_also_at_the_first_rollout() -> None:
    world = created(replicas=2)
    end = refuse(world, "webhook", lambda call: True)
    world.advance(29)
    assert world.condition("Ready") == ("False", "Environment")
    assert world.condition("Reconciling") == ("True", "Environment")
    assert CANNOT_CALL in world.message()
    end()
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_one_refusal_that_clears_by_itself_alarms_nobody() -> None:
    world = serving(replicas=2)
    world.client.faults = [ApiError(500, "InternalError", CANNOT_CALL)]
    world.edit(replicas=3)
    world.rest()
    assert len(world.ready_pods()) == 3
    assert not [event for event in world.heard.said if CANNOT_CALL in event.note]


# --- HPA


def test_an_HPA_that_is_refused_leaves_the_live_count_and_is_a_condition() -> None:
    world = serving(replicas=3)
    end = refuse(world, "no right", lambda call: call.resource is HPAS)
    world.edit(autoscaling=AUTOSCALING)
    world.advance(120)
    assert world.replicas(world.revision("1")) == 3
    assert world.condition("ScalingActive") == ("False", "Forbidden")
    assert world.condition("Ready") == ("True", "Serving")
    end()
    world.rest()
    assert world.hpas() == [world.revision("1")]
    assert world.condition("ScalingActive") is None


@pytest.mark.parametrize("restarted", [False, True])
def test_an_HPA_that_is_refused_is_tried_again_alone(restarted: bool) -> None:
    world = serving(replicas=3)
    end = refuse(world, "webhook", lambda call: call.resource is HPAS)
    world.edit(autoscaling=AUTOSCALING)
    world.advance(20)
    assert world.managers(world.revision("1")) == {names.HANDOVER_MANAGER}
    if restarted:
        world.restart_operator()
    calls = len(world.client.calls)
    world.advance(60)
    tried = {(call.verb, call.resource) for call in world.client.calls[calls:] if call.verb not in ("get", "status")}
    assert tried == {("apply", HPAS)}
    end()
    world.rest()
    assert world.replicas(world.revision("1")) == 3


def test_and_takes_over_what_was_made_of_the_count_meanwhile() -> None:
    world = serving(replicas=3)
    one = world.revision("1")
    end = refuse(world, "webhook", lambda call: call.resource is HPAS)
    world.edit(autoscaling=AUTOSCALING)
    world.advance(20)
    world.change(DEPLOYMENTS, one, lambda obj: obj["spec"].update(replicas=5))
    world.advance(20)
    world.edit(autoscaling=None)
    world.advance(20)
    assert world.replicas(one) == 3
    world.edit(autoscaling=AUTOSCALING)
    world.advance(20)
    end()
    world.rest()
    assert (world.replicas(one), world.hpas()) == (3, [one])


# --- a deletion


def test_a_loser_that_cannot_be_deleted_is_scaled_to_0_and_is_in_nobodys_way() -> None:
    world = serving(replicas=2, rollout={**BLUE_GREEN, "scaleDownDelay": "10s"})
    one = world.revision("1")
    end = refuse(world, "no right", lambda call: call.verb == "delete")
    for version in ("2", "3"):
        world.edit(model=model(version))
        world.advance(120)
        assert world.status["champion"]["version"] == version
    assert world.replicas(one) == 0
    assert "not deleted yet" in world.status["message"]
    assert world.condition("Ready") == ("True", "Serving")
    end()
    world.rest()
    assert world.live(DEPLOYMENTS, one) is None


# --- commands


def test_a_command_whose_record_is_refused_is_Pending_with_the_refusal_and_done_later() -> None:
    world = switched(replicas=2)
    two = world.revision("2")
    end = refuse(world, "a policy", lambda call: call.resource is CONTROLLER_REVISIONS)
    value = world.command("abort", two)
    world.advance(20)
    last = world.status["lastCommand"]
    assert (last["value"], last["result"]) == (value, "Pending")
    assert POLICY in last["message"]
    assert world.status["champion"]["revision"] == two
    assert not [said for said in world.heard.said if said.reason == "RolledBack"]
    end()
    world.rest()
    assert world.status["lastCommand"]["result"] == "Done"
    assert world.status["champion"]["version"] == "1"
    assert len([said for said in world.heard.said if said.reason == "RolledBack"]) == 1


def test_the_Event_of_a_decision_is_told_though_a_later_write_of_the_pass_fails() -> None:
    world = serving(replicas=2)
    refuse(world, "time-out", lambda call: call.resource is DEPLOYMENTS and call.name != world.revision("1"))
    world.edit(model=model("2"))
    world.advance(1)
    assert len(world.events("RolloutStarted")) == 2


# --- ControllerRevisions


@pytest.mark.parametrize("fault", ["not found", "conflict", "too many requests", "webhook", "time-out"])
@pytest.mark.parametrize("written", ["a new revision", "an outcome"])
def test_what_passes_by_itself_about_our_own_record_never_stalls(written: str, fault: str) -> None:
    world = serving(replicas=2)
    if written == "an outcome":
        world.edit(model=model("2"))
        world.until(lambda: len(world.api.all(DEPLOYMENTS)) == 2)
    told = len(world.api.streams[MODEL_DEPLOYMENTS])
    end = refuse(world, fault, lambda call: call.resource is CONTROLLER_REVISIONS)
    if written == "a new revision":
        world.edit(model=model("2"))
    world.advance(60)
    since = [event.obj["status"]["conditions"] for event in world.api.streams[MODEL_DEPLOYMENTS][told:]]
    assert "Stalled" not in {condition["type"] for conditions in since for condition in conditions}
    assert (world.condition("Reconciling") or ("",))[0] == "True"
    assert FAULTS[fault]().message in world.message("Reconciling"), "it is told what is tried again"
    assert world.status["champion"]["version"] == "1"
    end()
    world.rest()
    assert (world.status["champion"]["version"], world.phase) == ("2", "Healthy")


@pytest.mark.parametrize("label", [names.LABEL_MODEL, names.LABEL_REVISION, names.LABEL_MANAGED_BY])
@pytest.mark.parametrize("edited", [False, True])
def test_a_record_that_has_lost_a_label_gets_it_back(edited: bool, label: str) -> None:
    world = serving(replicas=2)
    one = world.revision("1")
    if edited:
        world.edit(model=model("2"))
    world.change(CONTROLLER_REVISIONS, one, lambda obj: obj["metadata"]["labels"].pop(label))
    world.rest()
    assert world.need(CONTROLLER_REVISIONS, one)["metadata"]["labels"][label]
    assert world.status["champion"]["version"] == ("2" if edited else "1")
    rules = [world.rule(revision["metadata"]["name"]) for revision in world.api.all(CONTROLLER_REVISIONS)]
    assert rules == (["first", "rolling-complete"] if edited else ["first"])
    assert world.condition("Ready") == ("True", "Serving")


def _of_another(world: World, *, record: bool) -> str:
    """A ControllerRevision of the name that the next rollout needs, under another controller; its name."""
    other = created(replicas=2)
    other.edit(model=model("2"))
    other.advance(1)
    obj = next(r for r in other.api.all(CONTROLLER_REVISIONS) if r["data"]["version"] == "2")
    meta = obj["metadata"]
    owner = foreign(world, "Service", "v1", "db", selector={"app": "db"}, ports=[{"port": 1}])
    uid = owner["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Service", "name": "db", "uid": uid, "controller": True}
    copied = {
        **obj,
        "metadata": {"name": meta["name"], "namespace": NAMESPACE, "ownerReferences": [reference]},
        "data": obj["data"] if record else {"spec": {}},
    }
    world.api.create(copied, "kubectl")
    return str(meta["name"])


@pytest.mark.parametrize("record", [True, False])
def test_NameConflict_about_a_ControllerRevision_offers_adoption_only_where_it_works(record: bool) -> None:
    world = serving(replicas=2)
    name = _of_another(world, record=record)
    world.edit(model=model("2"))
    world.advance(30)
    assert world.condition("Ready") == ("False", "NameConflict")
    assert (names.ANNOTATION_ADOPT in world.message()) is record
    uid = world.md["metadata"]["uid"]
    adopt = {names.ANNOTATION_ADOPT: uid}
    world.change(CONTROLLER_REVISIONS, name, lambda o: o["metadata"].update(annotations=adopt))
    world.advance(300)
    champion = world.status["champion"]["version"]
    assert champion == ("2" if record else "1"), world.describe()
    if record:
        owners = world.need(CONTROLLER_REVISIONS, name)["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners if owner.get("controller")] == [uid]


# --- when it looks again


def test_after_a_refusal_it_looks_again_at_the_earlier_of_the_retry_and_what_the_plan_waits_for() -> None:
    world = empty()
    foreign_pdb(world)
    world.create(replicas=2, rollout={**BLUE_GREEN, "scaleDownDelay": "12s"})
    world.advance(60)
    world.edit(model=model("2"))
    world.until(lambda: world.status["champion"]["version"] == "2")
    one = world.revision("1")
    world.advance(14)
    assert world.live(DEPLOYMENTS, one) is None, "the warm window ended 12 s after the switch, not at the next retry"


# --- a mistake of ours


def test_a_pass_that_fails_by_our_own_mistake_says_so_and_what_to_report(monkeypatch: pytest.MonkeyPatch) -> None:
    world = serving(replicas=2)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    with monkeypatch.context() as patched:
        patched.setattr("podium.reconcile.loop.plan", broken)
        with pytest.raises(ZeroDivisionError):
            world.reconcile()
    world.wakes.after(1)  # as the queue does
    world.deliver()
    assert world.condition("Ready") == ("False", "InternalError")
    assert "ZeroDivisionError: division by zero" in world.message()
    assert world.status["champion"]["version"] == "1"
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


# --- the scale subresource


def test_the_scale_subresource_tells_of_the_pods_behind_the_stable_Service_alone() -> None:
    world = serving(replicas=2, rollout={**BLUE_GREEN, "promotion": "Manual"})
    one = world.revision("1")
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Paused")
    assert len(world.ready_pods()) == 4
    assert world.status["replicas"] == 2
    assert world.status["selector"] == f"{names.LABEL_MODEL}={NAME},{names.LABEL_REVISION}={one}"


def test_and_of_both_revisions_while_a_RollingUpdate_shares_it() -> None:
    world = serving(replicas=2)
    world.edit(model=model("2"))
    world.until(lambda: len(world.ready_pods()) == 3)
    world.advance(1)
    assert world.status["selector"] == f"{names.LABEL_MODEL}={NAME}"
    assert world.status["replicas"] == 3


@pytest.mark.parametrize(
    ("edit", "reason", "says"),
    [({"suspend": True}, "Suspended", "The model is suspended"), ({"replicas": 0}, "ScaledToZero", "scaled to zero")],
)
def test_a_refusal_changes_ready_and_leaves_available_why_no_pod_serves(edit: Object, reason: str, says: str) -> None:
    world = serving(replicas=2)
    world.edit(**edit)
    world.rest()
    refuse(world, "a policy", lambda call: call.resource is SERVICES)
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.advance(5)
    assert world.condition("Ready") == ("False", "Forbidden")
    assert world.condition("Available") == ("False" if reason == "Suspended" else "True", reason)
    assert says in world.message("Available")
