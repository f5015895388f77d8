"""Gates: spec.suspend takes all pods away, and false brings the same champion and candidate back."""

import pytest

from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS, SERVICES
from tests.unit.planner.given import AUTOSCALING, MANUAL, serving, updating
from tests.unit.planner.test_canary import at_step, canary, listed, one, record, sizes, two
from tests.unit.planner.world import NAMESPACE, World, model


def suspended(world: World) -> World:
    """All pods are away."""
    world.edit(suspend=True)
    world.until(lambda: world.phase == "Suspended" and not world.pods())
    world.rest()
    return world


def until_serving(world: World) -> None:
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))


def test_all_pods_go_and_the_Services_stay() -> None:
    world = suspended(serving(replicas=3))
    assert world.replicas(one(world)) == 0
    assert world.live(SERVICES) is not None


def test_a_Deployment_that_is_deleted_meanwhile_is_made_again_without_pods() -> None:
    world = suspended(serving(replicas=3))
    world.api.delete(DEPLOYMENTS, NAMESPACE, one(world))
    world.rest()
    assert world.replicas(one(world)) == 0


def test_conditions_say_so_and_kstatus_is_Current() -> None:
    world = suspended(serving(replicas=3))
    assert world.condition("Suspended") == ("True", "Suspended")
    assert world.condition("Ready") == ("True", "Suspended")
    assert world.condition("Available") == ("False", "Suspended")
    assert (world.condition("Reconciling"), world.condition("Stalled")) == (None, None)
    assert "set spec.suspend to false" in world.message()


def test_false_brings_the_champion_back() -> None:
    world = suspended(serving(replicas=3))
    world.edit(suspend=False)
    until_serving(world)
    assert world.replicas(one(world)) == 3
    assert world.condition("Suspended") is None


def test_HPAs_are_let_go_and_come_back() -> None:
    world = suspended(serving(replicas=3, autoscaling=AUTOSCALING))
    assert world.hpas() == []
    world.edit(suspend=False)
    until_serving(world)
    world.until(lambda: world.hpas() == [one(world)])


def test_a_new_spec_starts_nothing_while_it_is_suspended() -> None:
    world = suspended(serving(replicas=2))
    world.edit(model=model("2"))
    world.advance(600)
    assert world.phase == "Suspended"
    assert "candidate" not in world.status
    world.edit(suspend=False)
    world.until(lambda: world.status["champion"]["version"] == "2")


@pytest.mark.parametrize(
    "rollout",
    [
        {},
        {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        {"rollingUpdate": {"maxUnavailable": "50%"}},
        MANUAL,
    ],
)
def test_a_rollout_stands_still_and_the_champion_comes_back_before_it_goes_on(rollout: Object) -> None:
    world = updating(replicas=3, rollout={**rollout, "progressDeadline": "2m"})
    suspended(world)
    world.advance(3600)
    assert (world.outcome(two(world)), sizes(world)) == ("", (0, 0))
    world.edit(suspend=False)
    first: list[str] = []
    world.after_pass.append(lambda: first.extend(sorted(world.backends())[:1]))
    world.until(lambda: world.ready_pods(one(world)))
    assert world.pods(two(world)) == []
    world.until(lambda: world.ready_pods(two(world)))
    assert first[0] == one(world)
    world.until(lambda: world.outcome(two(world)) == "Promoted" or world.phase == "Paused")


def test_a_canary_goes_on_with_its_step_which_holds_anew_once_its_weight_is_back() -> None:
    world = at_step(2, canary(10, 50), replicas=4)
    world.advance(20)
    suspended(world)
    world.advance(3600)
    world.edit(suspend=False)
    world.behave("2", ready_after=300.0)
    world.until(lambda: listed(world)[1])
    back = world.now
    assert world.status["rollout"]["step"] == 2
    world.until(lambda: "promoting" in record(world))
    assert 60 <= (world.now - back).total_seconds() <= 70, "no time without its weight counts"


def test_a_rollout_goes_on_beside_a_champion_that_comes_back_only_in_part() -> None:
    world = suspended(updating(replicas=4, rollout={**MANUAL, "progressDeadline": "2m"}))
    world.edit(suspend=False)
    world.until(lambda: len(world.pods(one(world))) == 4)
    world.behave(world.pods(one(world))[0]["metadata"]["name"], ready_after=None)
    world.advance(100)
    assert world.pods(two(world)) == []
    assert "goes on after that, or after 2 min" in world.message()
    world.advance(60)
    assert world.pods(two(world))


def test_time_in_which_the_cluster_took_no_pods_is_not_counted_twice() -> None:
    world = updating(replicas=2, rollout={"progressDeadline": "2m"})
    world.cluster.refused = "exceeded quota"
    world.advance(1)
    world.behave("2", ready_after=None)
    suspended(world)
    held = record(world).get("heldSince")
    world.advance(3600)
    world.cluster.refused = ""
    world.edit(suspend=False)
    world.until(lambda: "suspendedSince" not in record(world))
    assert held is None
    assert record(world)["held"] < 3700


def test_a_command_is_refused_with_the_way_out() -> None:
    world = suspended(at_step(1, canary(10, 50)))
    world.command("promote", two(world))
    world.advance(2)
    assert world.status["lastCommand"]["result"] == "Refused"
    assert "set spec.suspend to false" in world.status["lastCommand"]["message"]


def test_a_candidate_that_crashed_before_is_not_judged_while_it_is_suspended() -> None:
    world = updating(replicas=2, rollout={"progressDeadline": "2m"})
    world.behave("2", ready_after=None)
    suspended(world)
    world.advance(600)
    assert world.outcome(two(world)) == ""
    world.edit(suspend=False)
    world.until(lambda: world.outcome(two(world)) == "RolledBack")
    until_back = world.condition("Available")
    assert until_back is not None
    assert until_back[0] == "True"


def test_a_first_revision_is_suspended_too() -> None:
    world = serving(replicas=0)
    world.edit(replicas=2, suspend=True)
    world.until(lambda: world.phase == "Suspended")
    world.rest()
    assert world.pods() == []
