"""A pod that is over (status.phase Failed or Succeeded): its ReplicaSet has made another one, and the object stays."""

import pytest

from podium import names
from podium.kube.resources import PODS
from tests.unit.planner.given import BLUE_GREEN, serving, updating
from tests.unit.planner.world import NAME, NAMESPACE, World, model


def _evicted(phase: str = "Failed") -> World:
    """One of version 1's two pods was ended by its node an hour ago."""
    world = serving(replicas=2)
    gone = world.pods(world.revision("1"))[0]
    world.cluster.evict(gone)
    world.change(PODS, gone["metadata"]["name"], lambda pod: pod["status"].update(phase=phase))
    world.advance(3600)
    assert world.live(PODS, gone["metadata"]["name"])
    return world


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_ails_nobody(phase: str) -> None:
    world = _evicted(phase)
    assert world.condition("PodFailure") is None
    assert world.condition("Ready") == ("True", "Serving")


def test_while_its_successor_comes_up_it_is_missing_and_no_failure() -> None:
    world = serving(replicas=2)
    seen = set()
    world.after_pass.append(lambda: seen.add((world.condition("Ready"), world.condition("PodFailure"))))
    world.cluster.evict(world.pods()[0])
    world.rest()
    assert seen == {(("False", "Degraded"), None), (("True", "Serving"), None)}


def test_what_is_left_of_it_holds_no_rollout_back() -> None:
    world = updating(replicas=2)
    one, two = world.revision("1"), world.revision("2")
    labels = names.revision_labels(NAME, one)
    meta = {"name": "debug", "namespace": NAMESPACE, "labels": labels}
    done = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Succeeded"}}
    world.api.create(done, "kubectl")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.edit(model=model("3"))
    world.until(lambda: world.status["champion"]["version"] == "3", within=120)


def test_a_pod_that_a_node_ended_is_neither_evidence_of_a_crash_nor_an_excuse_for_one() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    for version in ("1", "2"):
        world.behave(world.pods(world.revision(version))[0]["metadata"]["name"], failure="crash")
    world.advance(25)
    world.cluster.evict(world.pods(world.revision("1"))[0])
    world.until(lambda: world.outcome(world.revision("2")), within=15)
    assert world.rule(world.revision("2")) == "crash: CrashLoopBackOff"
