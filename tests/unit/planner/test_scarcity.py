"""No spare accelerator: a candidate that waits for what the champion's pods hold says so, and names the way out."""

import pytest

from podium.kube.client import Object
from tests.unit.planner.given import serving
from tests.unit.planner.world import World, model

GPU = "nvidia.com/gpu"
HELD = f"waits for {GPU}, which only version 1's pods hold; set "
SENTENCE = f"{HELD}spec.rollout.rollingUpdate.maxSurge: 0 and maxUnavailable: 1"


def unschedulable(rollout: Object, resource: str = GPU, replicas: int = 2) -> World:
    """No node has any of what version 2 asks for left."""
    world = serving(replicas=replicas, runtime={"resources": {"limits": {resource: 1}}}, rollout=rollout)
    world.behave("2", failure="unschedulable")
    world.edit(model=model("2"))
    world.until(lambda: world.condition("PodFailure"), within=60)
    world.advance(30)
    return world


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Canary"])
def test_the_message_names_resource_holder_and_way_out_within_30_s(strategy: str) -> None:
    world = unschedulable({"strategy": strategy})
    assert SENTENCE in world.message()


def test_what_spec_has_already_is_not_asked_for() -> None:
    world = unschedulable({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}})
    assert world.message().endswith(f"{HELD}spec.rollout.rollingUpdate.maxSurge: 0.")


@pytest.mark.parametrize(("strategy", "replicas"), [("BlueGreen", 2), ("Canary", 1)])
def test_what_cannot_exchange_pod_for_pod_has_to_become_a_RollingUpdate(strategy: str, replicas: int) -> None:
    world = unschedulable({"strategy": strategy}, replicas=replicas)
    way = "spec.rollout.strategy: RollingUpdate and spec.rollout.rollingUpdate.maxSurge: 0 and maxUnavailable: 1"
    assert world.message().endswith(f"{HELD}{way}.")


def test_the_rollback_at_the_deadline_gives_it_as_the_cause() -> None:
    world = unschedulable({"progressDeadline": "2m"})
    world.until(lambda: world.phase == "RolledBack")
    assert SENTENCE in world.message()


@pytest.mark.parametrize("moved", [{"nodeSelector": {"pool": "new"}}, {"runtimeClassName": "nvidia"}])
def test_it_is_not_said_of_pods_on_other_nodes_than_the_candidate_asks_for(moved: Object) -> None:
    world = serving(replicas=2, runtime={"resources": {"limits": {GPU: 1}}})
    world.behave("2", failure="unschedulable")
    world.edit(model=model("2"), podTemplate=moved)
    world.until(lambda: world.condition("PodFailure"), within=60)
    world.advance(30)
    assert f"Insufficient {GPU}" in world.message()
    assert "which only" not in world.message()


@pytest.mark.parametrize(
    ("rollout", "resource"),
    [
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, GPU),  # the champion's give way as it is
        ({}, "example.com/fpga"),  # the champion's pods have none of what is awaited
    ],
)
def test_it_is_not_said_where_it_would_not_help(rollout: Object, resource: str) -> None:
    world = unschedulable(rollout, resource)
    assert "Insufficient nvidia.com/gpu" in world.message()
    assert "which only" not in world.message()
