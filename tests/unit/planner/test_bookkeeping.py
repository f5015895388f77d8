"""Marks that nothing relies on: a refusal of one stops that mark alone, is told, and ends by itself."""

import pytest

from podium.api import names
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import rolled_back, serving
from tests.unit.planner.refusing import FAULTS, refuse
from tests.unit.planner.test_refused import says_only_what_was_written
from tests.unit.planner.world import World, model


def _watched(world: World) -> World:
    world.after_pass.append(lambda: says_only_what_was_written(world))
    return world


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rolled_back_record_that_cannot_be_marked_holds_no_other_rollout(fault: str) -> None:
    world = _watched(rolled_back(replicas=3))
    one, two = world.revision("1"), world.revision("2")
    end = refuse(world, fault, lambda call: (call.resource, call.name) == (CONTROLLER_REVISIONS, two))
    world.edit(model=model("3"))
    world.advance(200)
    assert world.outcome(world.revision("3")) == "Promoted", world.describe()
    assert world.condition("Ready") == ("True", "Serving")
    assert "not recorded yet: " in world.status["message"]
    assert FAULTS[fault]().message in world.status["message"]
    assert {h["revision"]: h["outcome"] for h in world.status["history"]}[two] == "RolledBack"
    assert world.live(DEPLOYMENTS, one) is None, "what serves no more goes"
    end()
    world.rest()
    assert world.outcome(two) == "Superseded"
    assert world.status["message"].endswith("serves with 3 pods.")


def test_a_command_whose_end_cannot_be_recorded_stays_Accepted_and_holds_nothing() -> None:
    world = _watched(serving(replicas=2))
    one = world.revision("1")

    def done(call: Call) -> bool:
        said = (call.body or {}).get(names.ANNOTATION_COMMAND, "") if call.verb == "annotate" else ""
        return call.name == one and '"Done"' in said

    end = refuse(world, "a policy", done)
    value = world.command("restart", one)
    world.advance(120)
    assert world.status["champion"]["revision"] == world.revision("1") != one
    assert world.condition("Ready") == ("True", "Serving")
    last = world.status["lastCommand"]
    assert (last["value"], last["result"]) == (value, "Accepted")
    assert "not recorded yet: " in world.status["message"]
    end()
    world.rest()
    assert world.status["lastCommand"]["result"] == "Done"


def test_a_command_whose_refusal_cannot_be_recorded_is_Pending_and_holds_nothing() -> None:
    world = _watched(serving(replicas=2))
    one = world.revision("1")
    end = refuse(world, "a policy", lambda call: (call.resource, call.name) == (CONTROLLER_REVISIONS, one))
    value = world.command("abort", one)
    world.edit(model=model("2"))
    world.advance(120)
    assert world.status["champion"]["version"] == "2"
    last = world.status["lastCommand"]
    assert (last["value"], last["result"]) == (value, "Pending")
    assert FAULTS["a policy"]().message in last["message"]
    assert not world.events("CommandRefused")
    end()
    world.rest()
    assert world.status["lastCommand"]["result"] == "Refused"
    assert len(world.events("CommandRefused")) == 1


def test_two_marks_are_refused_each_for_itself() -> None:
    world = _watched(rolled_back(replicas=2))
    two = world.revision("2")
    world.behave("3", failure="crash")
    end = refuse(world, "a policy", lambda call: (call.resource, call.name) == (CONTROLLER_REVISIONS, two))
    world.edit(model=model("3"))
    world.until(lambda: world.phase == "RolledBack" and "ersion 3" in world.message())
    three = world.revision("3")
    world.edit(model=model("4"))
    world.advance(120)
    assert (world.outcome(two), world.outcome(three)) == ("RolledBack", "Superseded")
    end()
    world.rest()
    assert world.outcome(two) == "Superseded"
