"""What a change of spec makes of a rollout, and what becomes champion without one."""

import pytest

from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS
from tests.unit.planner.given import BLUE_GREEN, created, serving, updating
from tests.unit.planner.test_gates import verdict_on
from tests.unit.planner.world import model

# --- spec changes


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
def test_spec_changed_mid_rollout_supersedes_the_candidate_and_the_champion_stays(rollout: Object) -> None:
    world = updating(replicas=3, rollout=rollout)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.ready_pods(two))
    world.edit(model=model("3"))
    world.advance(2)
    assert world.outcome(two) == "Superseded"
    assert world.status["champion"]["revision"] == one
    world.rest()
    assert world.status["champion"]["version"] == "3"
    assert world.live(DEPLOYMENTS, two) is None


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
def test_spec_put_back_mid_way_retires_the_candidate_phase_Healthy(rollout: Object) -> None:
    world = updating(replicas=3, rollout=rollout)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 2)
    world.edit(model=model("1"))
    world.rest()
    assert world.phase == "Healthy"
    assert world.condition("Ready") == ("True", "Serving")
    assert world.outcome(two) == "Superseded"
    assert world.status["champion"]["revision"] == one
    assert (world.replicas(one), world.replicas(two)) == (3, None)
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2


def test_a_candidate_that_was_superseded_before_does_not_stop_the_same_inputs_from_starting_anew() -> None:
    world = updating(replicas=2)
    world.edit(model=model("1"))
    world.advance(5)
    world.edit(model=model("2"))
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_spec_changed_on_a_first_revision_that_never_came_up_starts_the_new_one() -> None:
    world = created(replicas=2)
    world.behave("1", failure="crash")
    world.until(lambda: world.phase == "Failed")
    world.edit(model=model("2"))
    world.rest()
    assert world.phase == "Healthy"
    assert verdict_on(world) == ("Promoted", "first")
    assert verdict_on(world, "1") == ("Superseded", "spec-changed")


# --- first, no-replicas


def test_a_first_revision_that_failed_has_no_outcome_and_becomes_champion_if_it_comes_up_after_all() -> None:
    world = created(replicas=2)
    world.behave("1", failure="crash", until=900)
    world.until(lambda: world.phase == "Failed")
    assert verdict_on(world, "1") == ("", "")
    assert len(world.pods()) == 2
    world.rest()
    assert verdict_on(world, "1") == ("Promoted", "first")
    assert world.phase == "Healthy"


def test_with_replicas_0_a_new_revision_becomes_champion_at_once() -> None:
    world = serving(replicas=0)
    world.edit(model=model("2"))
    world.advance(2)
    assert verdict_on(world) == ("Promoted", "no-replicas")
    assert world.pods() == []
    assert world.condition("Ready") == ("True", "ScaledToZero")


def test_from_0_to_some_replicas_it_is_Ready_once_they_serve() -> None:
    world = serving(replicas=0)
    world.edit(replicas=2)
    world.advance(3)
    assert world.condition("Ready") == ("False", "Degraded")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
