"""A write may have been made although its answer did not come: what it decided is told all the same, and once."""

from collections.abc import Callable

import pytest

from podium.api import names
from podium.kube.client import ApiError
from podium.kube.resources import CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import BLUE_GREEN, MANUAL, serving, updating
from tests.unit.planner.refusing import FAULTS, lose_answer, refuse
from tests.unit.planner.world import World, model


def record(call: Call) -> bool:
    """A write of the durable record."""
    return call.resource is CONTROLLER_REVISIONS and call.verb in ("create", "annotate")


def outcome(call: Call) -> bool:
    """One that says how a rollout ended."""
    return record(call) and call.verb == "annotate" and names.ANNOTATION_OUTCOME in call.body


def command(call: Call) -> bool:
    """One that answers a person's command."""
    return record(call) and call.verb == "annotate" and names.ANNOTATION_COMMAND in call.body


def status(call: Call) -> bool:
    """The status."""
    return call.resource is MODEL_DEPLOYMENTS


def test_the_Event_of_a_start_is_told_although_the_answer_to_its_record_was_lost() -> None:
    world = serving(replicas=2)
    lost = lose_answer(world, record)
    world.edit(model=model("2"))
    world.rest()
    assert [call.verb for call in lost] == ["create"]
    assert len([note for note in world.events("RolloutStarted") if "ersion 2" in note]) == 1


@pytest.mark.parametrize(
    ("reason", "act"),
    [
        ("Promoted", lambda world: None),
        ("RolledBack", lambda world: world.behave("2", failure="crash")),
        ("Superseded", lambda world: world.edit(model=model("3"))),
    ],
)
def test_the_Event_of_an_outcome_is_told_although_the_answer_to_its_record_was_lost(
    reason: str, act: Callable[[World], None]
) -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    lost = lose_answer(world, outcome)
    act(world)
    world.rest()
    assert [call.name for call in lost] == [two]
    assert len([note for note in world.events(reason) if note.startswith("Version 2 was ")]) == 1


def test_the_Event_of_a_command_is_told_although_the_answer_to_its_record_was_lost() -> None:
    world = serving(replicas=2)
    lost = lose_answer(world, command)
    world.command("pause", world.revision("1"))
    world.rest()
    assert lost
    assert len(world.events("PauseAccepted")) == 1


def test_it_is_told_once_where_the_watch_is_late_and_the_decision_is_tried_again_meanwhile() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.lag[CONTROLLER_REVISIONS] = 20
    lose_answer(world, outcome)
    world.rest()
    assert len([note for note in world.events("Promoted") if "ersion 2" in note]) == 1


def test_it_is_not_told_of_a_write_that_was_never_made() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    end = refuse(world, "time-out", record)
    world.command("promote", world.revision("2"))
    world.advance(30)
    world.command("abort", world.revision("2"), "t2")
    end()
    world.rest()
    assert not [note for note in world.events("Promoted") if "ersion 2" in note]
    assert len(world.events("RolledBack")) == 1


def test_what_a_status_told_is_told_although_its_answer_was_lost() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    lost = lose_answer(
        world, lambda call: status(call) and "WaitingForPromotion" in [c["reason"] for c in call.body["conditions"]]
    )
    world.rest()
    assert lost
    assert len(world.events("WaitingForPromotion")) == 1


def test_so_is_the_refusal_of_a_command_that_status_alone_records() -> None:
    world = serving(replicas=2)
    lost = lose_answer(world, lambda call: status(call) and "lastCommand" in call.body)
    world.command("promote", "fraud-unknown")
    world.rest()
    assert lost
    assert len(world.events("CommandRefused")) == 1


@pytest.mark.parametrize("reason", ["Unreachable", "NotKubernetes"])
def test_a_connection_that_breaks_is_no_different_from_an_answer_that_is_late(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAULTS, "time-out", lambda: ApiError(0, reason, "reset by peer"))
    world = serving(replicas=2)
    lose_answer(world, record)
    world.edit(model=model("2"))
    world.rest()
    assert len([note for note in world.events("RolloutStarted") if "ersion 2" in note]) == 1
