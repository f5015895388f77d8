"""What a new rollout waits for: pods of earlier revisions that are still going."""

import pytest

from podium.kube.client import Object
from podium.kube.resources import PODS
from tests.unit.planner.given import BLUE_GREEN, created, updating
from tests.unit.planner.world import NAMESPACE, World, model

NOT_WARM: Object = {**BLUE_GREEN, "scaleDownDelay": "0s"}


def _one_pod_left(**spec: Object) -> tuple[World, str]:
    """Version 2 has replaced version 1, one of whose pods was on a node that is gone."""
    world = updating(replicas=2, **spec)
    one = world.revision("1")
    left = world.pods(one)[0]
    world.cluster.lose_the_node_of(left)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.advance(60)
    assert [pod["metadata"]["name"] for pod in world.pods(one)] == [left["metadata"]["name"]]
    return world, left["metadata"]["name"]


# --- RollingUpdate: the stable Service is about to select every pod of the model


def test_a_pod_that_outlives_its_grace_is_named_with_the_way_out() -> None:
    world, pod = _one_pod_left()
    world.edit(model=model("3"))
    world.advance(5)
    assert world.condition("Reconciling") == ("True", "Draining")
    assert f"pod {pod} is gone" in world.message()
    assert f"kubectl delete pod {pod} -n {NAMESPACE} --force --grace-period=0" in world.message()
    assert "node" in world.message()


def test_the_way_out_lets_the_rollout_start() -> None:
    world, pod = _one_pod_left()
    world.edit(model=model("3"))
    world.advance(600)
    assert world.status["champion"]["version"] == "2"
    world.api.purge((PODS, NAMESPACE, pod))
    world.rest()
    assert world.status["champion"]["version"] == "3"


def test_as_long_as_its_grace_lasts_nobody_is_told_to_use_force() -> None:
    world = updating(replicas=2)
    world.cluster.grace = 120
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")
    seen: set[str] = set()
    world.after_pass.append(lambda: seen.add(world.message()))
    world.edit(model=model("3"))
    world.until(lambda: world.status["champion"]["version"] == "3")
    assert any("waits until" in message for message in seen)
    assert not any("force" in message for message in seen)


def test_it_is_named_when_its_grace_is_over_though_nothing_else_happens() -> None:
    world = updating(replicas=2)
    world.cluster.grace = 120
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")
    world.cluster.dead |= {pod["metadata"]["name"] for pod in world.pods(world.revision("1"))}
    world.edit(model=model("3"))
    world.advance(100)
    assert "force" not in world.message()
    world.advance(60)
    assert "--force" in world.message()


# --- BlueGreen: the stable Service selects the champion's pods alone


def test_for_BlueGreen_a_rollout_starts_while_a_third_revision_has_terminating_pods_alone() -> None:
    world, _ = _one_pod_left(rollout=NOT_WARM)
    world.edit(model=model("3"))
    world.until(lambda: world.status["champion"]["version"] == "3", within=60)
    assert world.backends() == {world.revision("3")}


def test_for_BlueGreen_it_does_not_wait_for_pods_that_are_on_their_way_either() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.cluster.grace = 300
    world.behave("2", ready_after=None)
    world.edit(model=model("3"))
    world.until(lambda: world.status["champion"]["version"] == "3", within=60)
    assert world.pods(two)


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
def test_never_do_pods_of_more_than_one_revision_go_while_two_others_have_theirs(rollout: Object) -> None:
    """Invariants watch that no more than three have any."""
    world = updating(replicas=2, rollout=rollout)
    world.cluster.grace = 60
    for version in ("2", "3", "4", "5"):
        world.behave(version, ready_after=None)
        world.advance(2)
        world.edit(model=model(version))
    world.behave("5")
    world.until(lambda: world.status["champion"]["version"] == "5")


def test_for_BlueGreen_pods_that_stay_are_waited_for() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.until(lambda: world.pods(two))
    world.cluster.collecting = False  # it is long behind: the Deployment is gone, and its pods know nothing of it yet
    world.edit(model=model("3"))
    world.advance(30)
    assert world.condition("Reconciling") == ("True", "Draining")
    world.cluster.collecting = True
    world.rest()
    assert world.status["champion"]["version"] == "3"


# --- without a champion


def test_without_a_champion_one_revision_whose_pods_are_going_is_not_waited_for() -> None:
    world = created(replicas=1)
    world.behave("1", ready_after=None)
    world.advance(10)
    world.cluster.lose_the_node_of(world.pods()[0])
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Healthy", within=60)
