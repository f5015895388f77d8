"""Before there is a champion: a first revision that spec leaves goes on serving until the next one can."""

from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS
from tests.unit.planner.given import created
from tests.unit.planner.world import World, model

RIPENING: Object = {"minReadySeconds": 60}


def left(**behaviour: object) -> tuple[World, str]:
    """Version 1 is Ready, serves and is not available yet when spec asks for version 2; its revision."""
    world = created(replicas=1, rollout=RIPENING)
    world.until(lambda: world.ready_pods())
    world.advance(2)
    first = world.revision("1")
    world.behave("2", **behaviour)
    world.edit(model=model("2"))
    world.until(lambda: world.outcome(first) == "Superseded")
    return world, first


def test_requests_go_to_it_until_a_pod_of_the_next_is_ready() -> None:
    world, first = left()
    assert not world.ready_pods(world.revision("2"))
    world.until(lambda: not world.pods(first))
    assert world.ready_pods(world.revision("2"))
    assert world.backends() == {world.revision("2")}


def test_it_keeps_its_pods_until_the_one_that_is_promoted_is_listed() -> None:
    world = created(replicas=4, rollout={"minReadySeconds": 0}, autoscaling={"minReplicas": 2, "maxReplicas": 6})
    world.advance(5)
    first = world.revision("1")
    world.edit(model=model("3"))
    world.until(lambda: not world.pods(first))
    assert world.outcome(world.revision("3")) == "Promoted"
    assert world.backends() == {world.revision("3")}


def test_it_goes_on_serving_while_the_next_fails() -> None:
    world, first = left(failure="crash")
    world.advance(300)
    assert world.backends() == {first}


def test_where_the_cluster_has_no_room_for_both_a_suspension_lets_the_next_one_in() -> None:
    world, first = left(failure="unschedulable")
    world.advance(300)
    assert world.backends() == {first}
    world.edit(suspend=True)
    world.until(lambda: not world.pods(first))
    world.behave("2")
    world.edit(suspend=False)
    world.until(lambda: world.backends() == {world.revision("2")})
    assert world.live(DEPLOYMENTS, first) is None


def test_nor_does_a_pause_take_away_what_serves() -> None:
    world = created(replicas=2, rollout=RIPENING)
    world.until(lambda: world.ready_pods())
    first = world.revision("1")
    world.edit(paused=True)
    world.advance(2)
    world.edit(model=model("2"))
    world.advance(120)
    assert world.outcome(first) == "Superseded"
    assert world.backends() == {first}
    world.edit(paused=False)
    world.until(lambda: world.backends() != {first})
    assert world.backends() == {world.revision("2")}
