"""Canary with `router: Envoy`: the weights are the steps' own, once every router says so."""

import math

import pytest

from podium.kube.client import Object
from tests.unit.planner.given import serving
from tests.unit.planner.test_canary import IN_PLACE, PAUSE, canary, one, record, sizes, two, until_step
from tests.unit.planner.test_envoy import is_routed, routed, weights
from tests.unit.planner.world import NAME, World, model


def at_step(number: int, rollout: Object, **spec: object) -> World:
    """Version 2 has the weight of this step, of 10 replicas unless said otherwise."""
    world = routed(rollout=rollout, **{"replicas": 10, **spec})
    world.edit(model=model("2"))
    world.until(lambda: len(world.status.get("candidate", {})) > 0)
    until_step(world, number)
    return world


def shares(world: World) -> tuple[int, int]:
    """Parts of 10,000 that (version 1, version 2) get by what the routers are told."""
    found = weights(world)
    return found.get(one(world), 0), found.get(two(world), 0)


def in_force(world: World) -> list[tuple[int, int]]:
    """The same, by router, as it is in force."""
    return [(found.get(one(world), 0), found.get(two(world), 0)) for found in world.routers.weights(NAME)]


@pytest.mark.parametrize(("weight", "pods"), [(5, 1), (25, 3), (50, 5), (75, 8)])
def test_the_weight_is_exact(weight: int, pods: int) -> None:
    world = at_step(1, canary(weight, PAUSE))
    assert set(in_force(world)) == {(10_000 - 100 * weight, 100 * weight)}
    assert sizes(world) == (10, pods)
    world.advance(2)
    assert world.status["rollout"]["weight"] == {"desired": weight, "applied": weight, "routers": 2, "confirmed": 2}


def test_it_goes_through_its_steps_and_is_promoted() -> None:
    world = at_step(1, canary(5, 25, 50), replicas=4)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert set(in_force(world)) == {(0, 10_000)}


def test_a_step_lasts_from_when_the_last_router_has_its_weight() -> None:
    world = routed(rollout=canary(50), replicas=2)
    world.routers.late[sorted(world.routers.loaded)[0]] = 40.0
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    world.until(lambda: shares(world) == (5_000, 5_000))
    told = world.now
    world.until(lambda: world.status["rollout"]["weight"]["confirmed"] > 0)
    assert world.status["rollout"]["weight"] == {"desired": 50, "routers": 2, "confirmed": 1}
    until_step(world, 1)
    assert (world.now - told).total_seconds() >= 39


@pytest.mark.parametrize("weight", [10, 90])
def test_an_abort_moves_all_requests_back_at_once(weight: int) -> None:
    world = at_step(1, canary(weight, PAUSE))
    world.command("abort", two(world))
    world.advance(2)
    assert set(in_force(world)) == {(10_000, 0)}
    world.until(lambda: world.phase == "RolledBack")


def test_a_person_promotes_and_takes_it_back_within_the_warm_window() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.command("promote", two(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert set(in_force(world)) == {(0, 10_000)}
    world.command("abort", two(world), "t2")
    world.advance(3)
    assert set(in_force(world)) == {(10_000, 0)}
    world.until(lambda: world.phase == "RolledBack")


def test_pods_in_place_with_exact_weights() -> None:
    world = at_step(1, canary(30, PAUSE, rollingUpdate=IN_PLACE), replicas=4)
    assert (sizes(world), shares(world)) == ((2, 2), (7_000, 3_000))
    world.command("promote", two(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert sizes(world)[1] == 4


@pytest.mark.parametrize(("weight", "replicas", "given"), [(75, 2, 50), (51, 2, 50), (99, 3, 66), (80, 4, 75)])
def test_pods_in_place_that_cannot_carry_the_weight_carry_what_they_can_and_it_is_said(
    weight: int, replicas: int, given: int
) -> None:
    world = at_step(1, canary(weight, PAUSE, rollingUpdate=IN_PLACE), replicas=replicas)
    assert sizes(world) == (1, replicas - 1)
    assert shares(world)[1] // 100 == given
    assert world.condition("WeightPossible") == ("False", "WeightNotPossible")
    (said,) = world.events("WeightNotPossible")
    assert f"gets {given} %" in said
    enough = int(said.rpartition("raise spec.replicas to ")[2].rstrip("."))
    assert math.ceil(weight * enough / 100) <= enough - 1
    world.command("promote", two(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))


def test_without_a_ready_pod_the_weight_is_0_at_once() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.behave("2", ready_after=40.0)
    world.cluster.stop(world.pods(two(world))[0])
    world.advance(2)
    assert set(in_force(world)) == {(10_000, 0)}
    world.until(lambda: set(in_force(world)) == {(9_000, 1_000)}, within=120)


def test_a_switch_to_routers_at_a_pause_ends_in_the_same() -> None:
    world = serving(rollout=canary(25, PAUSE), replicas=6)
    world.routers.start()
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Paused")
    switched(world, "Envoy")


def test_a_switch_from_routers_at_a_pause_ends_in_the_same() -> None:
    world = at_step(1, canary(25, PAUSE), replicas=6)
    world.until(lambda: world.phase == "Paused")
    switched(world, "None")


def switched(world: World, router: str) -> None:
    """Nothing is decided by the switch; a promotion works after it as before."""
    world.edit(traffic={"router": router})
    world.rest()
    assert (world.phase, "promoting" in record(world)) == ("Paused", False)
    assert is_routed(world) == (router == "Envoy")
    world.command("promote", two(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.status["champion"]["revision"] == two(world)


def test_a_suspension_takes_all_pods_of_the_model_and_the_rollout_goes_on_after_it() -> None:
    world = at_step(1, canary(25, 50), replicas=4)
    world.edit(suspend=True)
    world.until(lambda: world.phase == "Suspended" and not world.pods(one(world)) and not world.pods(two(world)))
    world.rest()
    world.edit(suspend=False)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
