"""Canary, with a router that keeps weights."""

import pytest

from podium.kube.client import Object
from podium.kube.resources import HPAS
from tests.unit.planner.given import AUTOSCALING, serving, updating
from tests.unit.planner.test_canary import IN_PLACE, PAUSE, at_step, canary, one, sizes, two, until_step
from tests.unit.planner.weighing import given, weighing
from tests.unit.planner.world import World, model

__all__ = ["weighing"]
pytestmark = pytest.mark.usefixtures("weighing")


def shares(world: World) -> tuple[int, int]:
    """Parts of 10,000 that (version 1, version 2) get."""
    found = given(world)
    return found.get(one(world), 0), found.get(two(world), 0)


@pytest.mark.parametrize(
    ("weight", "replicas", "expected"), [(5, 1, 1), (5, 10, 1), (25, 10, 3), (50, 3, 2), (75, 4, 3), (99, 2, 2)]
)
def test_the_weight_is_exact_and_the_candidate_has_the_pods_for_it_beside_the_champions(
    weight: int, replicas: int, expected: int
) -> None:
    world = at_step(1, canary(weight, PAUSE), replicas=replicas)
    assert shares(world) == (10_000 - weight * 100, weight * 100)
    assert sizes(world) == (replicas, expected)
    world.advance(2)
    assert world.status["rollout"]["weight"] == {"desired": weight, "applied": weight, "routers": 2, "confirmed": 2}
    assert world.status["champion"]["weight"] == 100 - weight
    assert world.condition("WeightPossible") is None


def test_weight_is_given_only_as_far_as_available_pods_carry_it() -> None:
    world = serving(replicas=10, rollout=canary(50, PAUSE))

    def check() -> None:
        found = given(world)
        if len(found) == 2:
            pods = [pod for pod in world.ready_pods(two(world)) if world.cluster.is_available(pod, 10)]
            assert found[two(world)] <= 1000 * len(pods)

    world.client.after.append(lambda _: check())
    world.edit(model=model("2"))
    world.until(lambda: world.pods(two(world)) if len(world.pods()) > 10 else None)
    for number, pod in enumerate(world.pods(two(world))):
        world.behave(pod["metadata"]["name"], ready_after=5.0 * number)
    until_step(world, 1)


def test_without_a_ready_pod_the_weight_is_0_at_once() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.behave("2", ready_after=40.0)
    world.cluster.stop(world.pods(two(world))[0])
    world.advance(2)
    assert shares(world) == (10_000, 0)
    world.until(lambda: shares(world) == (9_000, 1_000), within=120)


def test_while_it_is_promoted_the_weight_stays_and_moves_with_the_outcome() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.command("promote", two(world))
    seen: list[tuple[str, tuple[int, int]]] = []
    world.after_pass.append(lambda: seen.append((world.outcome(two(world)), shares(world))))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert {found for outcome, found in seen if not outcome} == {(9_000, 1_000)}
    assert shares(world) == (0, 10_000)


def test_a_restart_of_the_operator_takes_no_weight_away() -> None:
    world = at_step(1, canary(10, PAUSE))
    seen: set[tuple[int, int]] = set()
    world.client.after.append(lambda _: seen.add(shares(world)))
    world.restart_operator()
    world.advance(30)
    assert seen <= {(9_000, 1_000)}


@pytest.mark.parametrize("weight", [10, 90])
def test_an_abort_moves_all_requests_back_at_once(weight: int) -> None:
    world = at_step(1, canary(weight, PAUSE))
    world.command("abort", two(world))
    world.advance(1)
    assert shares(world) == (10_000, 0)
    world.until(lambda: world.phase == "RolledBack")


def test_an_abort_never_gives_the_candidate_more_than_it_had_though_the_champion_lacks_a_pod() -> None:
    world = at_step(1, canary(5, PAUSE), replicas=4)
    world.behave(world.pods(one(world))[0]["metadata"]["name"], ready_after=None)
    world.advance(2)
    seen: set[int] = set()
    world.client.after.append(lambda _: seen.add(shares(world)[1]))
    world.command("abort", two(world))
    world.advance(5)
    assert seen <= {0, 500}
    assert shares(world) == (10_000, 0)


def test_with_maxSurge_0_pods_are_exchanged_and_weights_are_exact_all_the_same() -> None:
    world = at_step(1, canary(30, PAUSE, rollingUpdate=IN_PLACE), replicas=4)
    assert (sizes(world), shares(world)) == ((2, 2), (7_000, 3_000))
    world.command("promote", two(world))
    seen: list[tuple[int, int]] = []
    world.after_pass.append(lambda: seen.append((sum(size or 0 for size in sizes(world)), shares(world)[1])))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert max(pods for pods, _ in seen) == 4
    assert sizes(world)[1] == 4


def test_under_autoscaling_the_candidate_gets_an_HPA_once_it_has_its_weight() -> None:
    world = serving(replicas=4, rollout=canary(50, PAUSE), autoscaling={**AUTOSCALING, "minReplicas": 3})
    world.until(lambda: world.hpas() == [one(world)])
    world.edit(model=model("2"))
    world.until(lambda: len(world.pods()) > 4)
    until_step(world, 1)
    world.until(lambda: world.hpas() == sorted([one(world), two(world)]), within=10)
    found: Object = world.need(HPAS, two(world))["spec"]
    assert found["minReplicas"] == 2  # ceil(3 * 0.5)
    assert world.need(HPAS, one(world))["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"


def test_what_an_HPA_makes_of_the_candidate_takes_no_weight_away_and_stops_no_step() -> None:
    world = updating(replicas=8, rollout=canary(50, {"weight": 60, "for": "30m"}), autoscaling=AUTOSCALING)
    until_step(world, 1)
    world.cluster.demand[two(world)] = 1
    seen: set[int] = set()
    world.client.after.append(lambda _: seen.add(shares(world)[1]))
    until_step(world, 2)
    assert min(seen) >= 5_000
    world.advance(60)
    assert shares(world) == (4_000, 6_000)
