"""A candidate that had its pods and lost them."""

from datetime import datetime

import pytest

from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS, PODS
from tests.unit.planner.given import BLUE_GREEN, MANUAL, updating
from tests.unit.planner.refusing import FAULTS, refuse
from tests.unit.planner.test_canary import canary, until_step
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import NAMESPACE, model


def test_a_canary_whose_pods_are_all_lost_in_a_step_is_rolled_back_after_progressDeadline() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 1)
    world.behave("2", ready_after=None)
    world.until(lambda: not world.ready_pods(two))
    lost = world.now
    world.until(lambda: world.phase == "RollingBack" or world.outcome(two) == "RolledBack")
    assert world.rule(two) == "deadline"
    assert (world.now - lost).total_seconds() == pytest.approx(120, abs=3)
    world.rest()
    assert world.backends() == {world.revision("1")}


def test_a_candidate_that_waits_for_a_person_and_loses_its_pods_is_rolled_back_unless_they_come_again() -> None:
    world = updating(replicas=2, rollout={**BLUE_GREEN, "promotion": "Manual", "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    world.behave("2", ready_after=None)
    world.advance(100)
    world.behave("2", ready_after=1.0)
    world.advance(100)
    world.behave("2", ready_after=None)
    world.advance(110)
    assert world.outcome(two) == "", "they were there meanwhile"
    world.advance(20)
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")


def test_a_suspension_longer_than_progressDeadline_loses_no_candidate() -> None:
    world = updating(replicas=2, rollout={**MANUAL, "progressDeadline": "2m"})
    world.until(lambda: world.phase == "Paused")
    world.edit(suspend=True)
    world.advance(600)
    world.edit(suspend=False)
    world.advance(600)
    assert world.outcome(world.revision("2")) == ""
    assert world.condition("Ready") == ("False", "WaitingForPromotion")


def test_a_suspension_earlier_in_the_step_gives_lost_pods_no_longer() -> None:
    world = updating(replicas=2, rollout={**MANUAL, "progressDeadline": "2m"})
    world.until(lambda: world.phase == "Paused")
    world.edit(suspend=True)
    world.advance(3600)
    world.edit(suspend=False)
    two = world.revision("2")
    world.until(lambda: world.ready_pods(two))
    world.advance(60)
    world.behave("2", ready_after=None)
    world.until(lambda: not world.ready_pods(two))
    lost = world.now
    world.until(lambda: world.outcome(two) == "RolledBack")
    assert (world.now - lost).total_seconds() == pytest.approx(120, abs=3)


@pytest.mark.parametrize("rollout", [canary(50, progressDeadline="2m"), {**BLUE_GREEN, "progressDeadline": "2m"}])
def test_where_nobody_is_awaited_one_pod_that_stays_away_is_enough(rollout: Object) -> None:
    world = updating(replicas=4, rollout=rollout)
    two = world.revision("2")
    world.edit(paused=True)
    world.advance(40)
    world.behave(world.ready_pods(two)[0]["metadata"]["name"], ready_after=None)
    world.advance(600)
    assert world.outcome(two) == "", "while it is paused a person is awaited"
    world.edit(paused=False)
    resumed = world.now
    world.advance(5)
    said = datetime.fromisoformat(world.status["rollout"]["deadline"])
    assert (said - resumed).total_seconds() == pytest.approx(120, abs=5)
    world.until(lambda: world.outcome(two) == "RolledBack")
    assert world.rule(two) == "deadline"
    assert (world.now - resumed).total_seconds() == pytest.approx(120, abs=5)


def test_one_pod_that_is_lost_while_a_person_is_awaited_is_told_without_a_deadline() -> None:
    world = updating(replicas=4, rollout={**MANUAL, "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    world.behave(world.ready_pods(two)[0]["metadata"]["name"], ready_after=None)
    world.advance(600)
    assert world.outcome(two) == ""
    assert "3 of 4 pods available, and waits for the rest" in world.message()
    assert "deadline" not in world.status["rollout"]


def test_a_candidate_that_a_person_promoted_is_kept_when_its_pods_are_lost() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, promotion="Manual", progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 2)
    world.behave("2", ready_after=None)
    world.until(lambda: not world.ready_pods(two))
    world.command("promote", two)
    world.advance(300)
    assert world.outcome(two) == ""
    assert world.condition("Ready") == ("False", "PromotionStands")


def test_time_in_which_the_cluster_takes_no_pods_does_not_count_for_lost_ones_either() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 1)
    world.cluster.refused = FAULTS["webhook"]().message
    for pod in world.pods(two):
        world.api.purge((PODS, NAMESPACE, pod["metadata"]["name"]))
    world.advance(600)
    assert world.condition("Ready") == ("False", "Environment")
    world.cluster.refused = ""
    world.until(lambda: world.outcome(two) == "Promoted")


@pytest.mark.parametrize("at_last", [True, False], ids=["and comes back at last", "for good"])
def test_while_nobody_can_be_asked_to_admit_a_larger_Deployment_no_candidate_is_short(at_last: bool) -> None:
    world = updating(replicas=4, rollout=canary(50, {"weight": 75, "for": "10m"}, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 2)
    admit = refuse(world, "webhook", lambda call: call.resource is DEPLOYMENTS and call.name == two)
    world.edit(replicas=8)
    world.advance(118 if at_last else 900)
    assert world.condition("Ready") == ("False", "Environment")
    if at_last:
        admit()
        world.behave("2", ready_after=20.0)
        world.until(lambda: world.outcome(two) == "Promoted")
    else:
        assert world.outcome(two) == ""


def test_a_candidate_whose_Deployment_is_deleted_and_may_not_be_made_again_is_lost() -> None:
    world = updating(replicas=2, rollout={**MANUAL, "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")

    refuse(world, "a policy", lambda call: call.resource is DEPLOYMENTS and call.name == two)
    world.api.delete(DEPLOYMENTS, NAMESPACE, two)
    world.until(lambda: world.outcome(two) == "RolledBack", within=200)
    assert "no available pod" in world.message()
    assert "not that image" in world.message()


@pytest.mark.parametrize("whose", ["1", "2"])
def test_an_HPA_that_asks_for_more_than_there_is_room_for_costs_no_candidate(whose: str) -> None:
    """Without routers the candidate's pods follow the champion's HPA; with them it has its own."""
    rollout = canary({"weight": 50, "for": "1h"}, progressDeadline="2m")
    sized: Object = {"replicas": 4, "autoscaling": {"minReplicas": 4, "maxReplicas": 20}, "rollout": rollout}
    world = updating(**sized) if whose == "1" else routed(**sized)
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    until_step(world, 1)
    two = world.revision("2")
    world.advance(30)
    there = [pod["metadata"]["name"] for pod in world.ready_pods(two)]
    world.behave("2", failure="unschedulable")
    for name in there:
        world.behave(name)
    world.cluster.demand[world.revision(whose)] = 6
    world.advance(900)
    assert world.outcome(two) == ""
    assert len(world.pods(two)) > len(there)
