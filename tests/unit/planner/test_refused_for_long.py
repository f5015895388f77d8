"""What refusals must not lead to when they last, come together, change their kind, or outlive a leader."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS, MODEL_DEPLOYMENTS, PDBS, SERVICES, Resource
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import BLUE_GREEN, created, empty, serving, switched, updating
from tests.unit.planner.refusing import FAULTS, foreign, refuse
from tests.unit.planner.world import KEY, NAME, NAMESPACE, World, model

CANNOT_CALL = FAULTS["webhook"]().message
POLICY = FAULTS["a policy"]().message


# --- records that nobody can look for, or use


def test_a_record_that_cannot_be_looked_for_is_told_of_and_what_serves_is_repaired() -> None:
    world = switched(replicas=2)
    one = world.revision("1")

    async def refuse_get(resource: Resource, namespace: str | None, name: str) -> Object | None:
        if resource is CONTROLLER_REVISIONS:
            raise FAULTS["webhook"]()
        return await found(resource, namespace, name)

    found, world.client.get = world.client.get, refuse_get  # type: ignore[method-assign]
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, one)
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.advance(60)
    assert world.live(SERVICES) is not None
    assert world.condition("Ready") == ("False", "Environment")
    world.client.get = found  # type: ignore[method-assign]
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_the_same_about_the_champions_own_record_touches_nothing_and_is_told_of() -> None:
    world = serving(replicas=2)
    one = world.revision("1")

    async def refuse_get(resource: Resource, namespace: str | None, name: str) -> Object | None:
        raise FAULTS["webhook"]()

    found, world.client.get = world.client.get, refuse_get  # type: ignore[method-assign]
    world.change(CONTROLLER_REVISIONS, one, lambda obj: obj["metadata"]["labels"].pop(names.LABEL_MODEL))
    world.edit(model=model("2"))
    world.advance(60)
    assert len(world.ready_pods(one)) == 2
    assert world.condition("Ready") == ("False", "Environment")
    assert len(world.api.all(DEPLOYMENTS)) == 1
    world.client.get = found  # type: ignore[method-assign]
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert world.rule(one) == "first"


def test_a_record_that_somebody_keeps_taking_the_label_from_ends_in_a_sentence_and_no_loop() -> None:
    world = serving(replicas=2)
    one = world.revision("1")

    def strip(resource: Resource, obj: Object) -> None:
        if resource is CONTROLLER_REVISIONS:
            obj["metadata"].get("labels", {}).pop(names.LABEL_MODEL, None)

    world.api.admit.append(strip)
    world.change(CONTROLLER_REVISIONS, one, lambda obj: None)
    calls = len(world.client.calls)
    world.advance(60)
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    assert "takes its labels away" in world.message()
    assert len(world.client.calls) - calls < 40
    world.api.admit.remove(strip)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


# --- what a refused record must not lead to


def test_an_abort_that_cannot_be_recorded_keeps_what_it_needs_beyond_the_warm_window() -> None:
    world = switched(replicas=2, rollout={"scaleDownDelay": "30s"})
    one, two = world.revision("1"), world.revision("2")
    end = refuse(world, "webhook", lambda call: call.resource is CONTROLLER_REVISIONS)
    world.command("abort", two)
    world.advance(120)
    assert world.replicas(one) == 2
    end()
    world.rest()
    assert world.status["champion"]["revision"] == one


def test_a_command_that_is_withdrawn_before_it_could_be_recorded_is_shown_no_more() -> None:
    world = switched(replicas=2)
    refuse(world, "a policy", lambda call: call.resource is CONTROLLER_REVISIONS)
    world.command("abort", world.revision("2"))
    world.advance(20)
    assert world.status["lastCommand"]["result"] == "Pending"
    world.annotate(names.ANNOTATION_COMMAND, "")
    world.advance(20)
    assert "lastCommand" not in world.status


def test_a_command_that_names_no_revision_is_answered_although_a_record_is_refused() -> None:
    world = switched(replicas=2)
    refuse(world, "a policy", lambda call: call.resource is CONTROLLER_REVISIONS)
    world.edit(model=model("3"))
    value = world.command("promote", "fraud-unknown")
    world.advance(20)
    assert (world.status["lastCommand"]["value"], world.status["lastCommand"]["result"]) == (value, "Refused")


def test_a_start_that_is_refused_while_another_record_is_gone_is_no_InternalError() -> None:
    world = serving(replicas=2, rollout={**BLUE_GREEN, "promotion": "Manual"})
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Paused")
    end = refuse(world, "no right", lambda call: call.verb == "create")
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, world.revision("2"))
    world.advance(60)
    assert world.condition("Ready") == ("False", "Forbidden")
    end()
    world.until(lambda: world.phase == "Paused")


# --- whose time it is


def test_time_is_booked_once_although_the_fault_changes_kind() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "120s"})
    world.edit(model=model("2"))
    for _ in range(6):
        for fault in ("a policy", "time-out"):
            end = refuse(world, fault, lambda call: call.resource is DEPLOYMENTS and call.name != world.revision("1"))
            world.advance(30)
            end()
    two = world.revision("2")
    refuse(world, "a policy", lambda call: call.resource is DEPLOYMENTS and call.name == two)
    world.advance(120)
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")


@pytest.mark.parametrize("fault", ["webhook", "time-out"])
def test_a_successor_tries_before_it_judges_what_its_predecessor_was_refused(fault: str) -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.edit(model=model("2"))
    end = refuse(world, fault, lambda call: call.name != world.revision("1") and call.resource is not SERVICES)
    world.advance(1)
    world.advance(120)
    world.restart_operator()
    world.advance(120)
    revisions = [r["metadata"]["name"] for r in world.api.all(CONTROLLER_REVISIONS)]
    assert not [name for name in revisions if world.outcome(name) == "RolledBack"]
    end()
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_whoever_regains_the_Lease_knows_nothing_of_what_it_was_refused_before() -> None:
    world = serving(replicas=2)
    foreign(world, "Service", "v1", f"{NAME}-preview", selector={"app": "x"}, ports=[{"port": 80}])
    world.edit(rollout=BLUE_GREEN, model=model("2"))
    world.until(lambda: world.condition("Preview") is not None)
    assert world.reconciler._applier.refusals(KEY)
    world.reconciler.step_down()
    assert not world.reconciler._applier.refusals(KEY)


# --- what status says meanwhile


def test_while_the_Service_is_refused_the_scale_subresource_tells_of_the_pods_that_it_selects() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    one = world.revision("1")
    refuse(world, "no right", lambda call: (call.resource, call.name) == (SERVICES, NAME))
    world.edit(model=model("2"))
    world.advance(1)
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")
    world.advance(10)
    assert world.status["selector"] == f"{names.LABEL_MODEL}={NAME},{names.LABEL_REVISION}={one}"
    world.behave("2", failure="crash")
    for pod in world.pods(world.revision("2")):
        world.cluster.stop(pod)
    world.advance(30)
    assert (world.condition("Available") or ("", ""))[0] == "True"


def test_a_policy_that_speaks_of_a_timeout_is_a_policy() -> None:
    world = serving(replicas=2, rollout={"progressDeadline": "60s"})
    world.cluster.refused = 'admission webhook "p" denied the request: timed out probes: set a timeout'
    world.edit(model=model("2"))
    world.advance(120)
    assert world.outcome(world.revision("2")) == "RolledBack"


# --- a webhook that hangs


HANGS = 10.0
"""Seconds until the API server gives up on an admission webhook, by default."""


def hang(world: World, which: Callable[[Call], bool]) -> list[Call]:
    """Such writes are refused after HANGS; answers the list that they will be in."""
    hung: list[Call] = []

    def judge(call: Call) -> None:
        if which(call):
            hung.append(call)
            world.now += timedelta(seconds=HANGS)
            raise FAULTS["webhook"]()

    world.client.before.insert(0, judge)
    return hung


def tellings(world: World, hung: list[Call]) -> list[tuple[timedelta, int]]:
    """A list that will say how long from now, and after how many writes that hung, status tells of the webhook."""
    begun = world.now
    told: list[tuple[timedelta, int]] = []

    def note(call: Call) -> None:
        if call.resource is MODEL_DEPLOYMENTS and CANNOT_CALL in world.message():
            told.append((world.now - begun, len(hung)))

    world.client.after.append(note)
    return told


def test_a_webhook_that_hangs_on_every_child_of_a_first_rollout_is_told_of_after_its_first_refusal() -> None:
    world = created(replicas=2)
    hung = hang(world, lambda call: call.resource in (SERVICES, DEPLOYMENTS, HPAS, PDBS))
    told = tellings(world, hung)
    world.advance(120)
    assert told[0] == (timedelta(seconds=HANGS), 1)
    assert world.condition("Ready") == ("False", "Environment")
    assert {call.resource for call in hung} >= {SERVICES, DEPLOYMENTS}, "each is tried all the same"


@pytest.mark.parametrize("at_once", [CONTROLLER_REVISIONS, SERVICES, DEPLOYMENTS])
def test_a_webhook_that_hangs_for_a_while_changes_nothing(at_once: Resource) -> None:
    world = updating(replicas=2)
    hung = hang(world, lambda call: call.resource is at_once and len(hung) < 3)
    world.change(SERVICES, NAME, lambda obj: obj["spec"].update(selector={"app": "else"}))
    world.rest()
    assert hung
    assert world.status["champion"]["version"] == "2"
    assert world.condition("Ready") == ("True", "Serving")


def test_where_a_champion_serves_a_pass_goes_on_until_half_a_minute_is_near() -> None:
    world = serving(replicas=2)
    hung = hang(world, lambda call: call.resource in (SERVICES, DEPLOYMENTS, HPAS, PDBS))
    told = tellings(world, hung)
    for resource, name in ((SERVICES, NAME), (PDBS, NAME), (DEPLOYMENTS, world.revision("1"))):
        world.api.delete(resource, NAMESPACE, name)
    world.advance(60)
    assert told[0][0] <= timedelta(seconds=30)
    assert told[0][1] == 2, "what comes after the first that hangs is not put off"
    assert {call.resource for call in hung} >= {SERVICES, DEPLOYMENTS, PDBS}, "each is tried all the same"


def test_what_is_refused_for_good_puts_off_no_word_of_a_webhook_that_hangs() -> None:
    world = empty()
    foreign(world, "PodDisruptionBudget", "policy/v1", NAME, selector={"matchLabels": {"app": "x"}})
    world.create(replicas=2, rollout=BLUE_GREEN)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    hung = hang(world, lambda call: call.resource in (SERVICES, DEPLOYMENTS))
    told = tellings(world, hung)
    for resource, name in ((SERVICES, NAME), (DEPLOYMENTS, world.revision("1"))):
        world.api.delete(resource, NAMESPACE, name)
    world.edit(model=model("2"))
    world.advance(120)
    assert told[0][0] <= timedelta(seconds=30)
    assert len(hung) > told[0][1], "each is tried all the same"
