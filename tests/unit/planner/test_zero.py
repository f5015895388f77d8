"""spec.replicas 0 in the middle of a rollout: it stands still, and what is not proven replaces nothing."""

import pytest

from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS
from tests.unit.planner.given import BLUE_GREEN, MANUAL, serving, updating
from tests.unit.planner.refusing import refuse
from tests.unit.planner.test_canary import at_step, canary, one, record, sizes, two, until_step
from tests.unit.planner.world import World, model


def emptied(world: World) -> World:
    """No pods are asked for, and none is left."""
    world.edit(replicas=0)
    world.until(lambda: not world.pods())
    world.advance(3600)
    return world


@pytest.mark.parametrize("rollout", [canary(25), canary(25, {"pause": True}), BLUE_GREEN, MANUAL])
def test_nothing_is_promoted_and_status_says_how_to_go_on(rollout: Object) -> None:
    world = emptied(updating(replicas=4, rollout=rollout))
    assert (world.outcome(two(world)), sizes(world)) == ("", (0, 0))
    assert world.phase == "Paused"
    assert (world.condition("Ready"), world.condition("Paused")) == (
        ("False", "ScaledToZero"),
        ("True", "ScaledToZero"),
    )
    assert world.condition("Available") == ("True", "ScaledToZero")
    assert world.message() == (
        "Version 1 is scaled to zero. The rollout of version 2 stands still. To go on: raise spec.replicas."
    )


def test_the_champion_comes_back_first_and_the_rollout_goes_on_with_its_step() -> None:
    world = emptied(at_step(2, canary(25, 50)))
    world.edit(replicas=10)
    world.until(lambda: world.ready_pods(one(world)))
    assert world.pods(two(world)) == []
    until_step(world, 2)
    world.until(lambda: world.rule(two(world)) == "steps-complete")


def test_a_switch_still_waits_for_a_person() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    emptied(world)
    world.edit(replicas=2)
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForPromotion"))
    world.advance(600)
    assert world.backends() == {one(world)}


@pytest.mark.parametrize("rollout", [canary(25), MANUAL])
def test_a_person_may_promote_it_all_the_same(rollout: Object) -> None:
    world = updating(replicas=4, rollout=rollout)
    world.advance(5)
    emptied(world)
    world.command("promote", two(world))
    world.until(lambda: world.outcome(two(world)) == "Promoted", within=10)
    assert world.rule(two(world)) == "person"
    assert world.condition("Ready") == ("True", "ScaledToZero")


@pytest.mark.parametrize("rollout", [canary(25), MANUAL])
def test_one_that_never_got_a_pod_is_not_promoted_either(rollout: Object) -> None:
    world = serving(replicas=4, rollout=rollout)
    refuse(world, "webhook", lambda call: call.resource is DEPLOYMENTS and call.name != one(world))
    world.edit(model=model("2"))
    world.advance(20)
    emptied(world)
    assert world.outcome(two(world)) == ""


def test_what_evidence_has_decided_needs_no_pods() -> None:
    world = at_step(1, canary(25))
    world.until(lambda: "promoting" in record(world))
    world.edit(replicas=0)
    world.until(lambda: world.rule(two(world)) == "no-replicas", within=5)


def test_another_spec_replaces_what_stands_still() -> None:
    world = emptied(at_step(1, canary(25)))
    world.edit(model=model("1"))
    world.until(lambda: world.condition("Ready") == ("True", "ScaledToZero"), within=10)
    assert world.outcome(two(world)) == "Superseded"
