"""A pod that is over (status.phase Failed or Succeeded): its ReplicaSet has made another one, and the object stays."""

import pytest

from podium.api import names
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


MODELS = 'Usage of EmptyDir volume "podium-models" exceeds the limit "2Gi". '
CACHE = 'Usage of EmptyDir volume "cache" exceeds the limit "1Gi". '
POD = "Pod ephemeral local storage usage exceeds the total limit of containers 3Gi. "
CONTAINER = 'Container model exceeded its local ephemeral storage limit "3Gi". '
NODE = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. "


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (MODELS, "spec.model.storage.sizeLimit"),
        (POD, "spec.model.storage.sizeLimit"),
        (CONTAINER, "spec.model.storage.sizeLimit"),
        (NODE, "spec.model.storage.sizeLimit"),
        (CACHE, "sizeLimit of volume cache in spec.podTemplate.volumes"),
    ],
)
def test_one_that_wrote_too_much_to_disk_is_the_reason_why_its_successor_does_not_serve(said: str, field: str) -> None:
    world = serving()
    gone = world.pods()[0]
    world.behave("1", ready_after=None)
    world.cluster.evict(gone, said)
    world.advance(5)

    assert world.condition("PodFailure") == ("True", "Evicted")
    message = world.message("PodFailure")
    assert f"pod {gone['metadata']['name']} was evicted: {said.rstrip('. ')}; raise" in message
    assert field in message
    assert message in world.events("Evicted")[0]
    # and of a pod that is made an hour later it is not the reason
    world.advance(3600)
    world.cluster.stop(world.pods()[0])
    world.advance(30)
    assert world.pods()
    assert world.condition("PodFailure") is None


def test_it_is_no_evidence_of_a_crash() -> None:
    world = updating(rollout=BLUE_GREEN)
    two = world.revision("2")
    world.until(lambda: world.pods(two))
    world.behave("2", ready_after=None)
    world.cluster.evict(world.pods(two)[0], POD)
    world.advance(60)
    assert world.condition("PodFailure") == ("True", "Evicted")
    world.until(lambda: world.outcome(two), within=700)
    assert world.rule(two) == "deadline"


def test_a_pod_that_says_itself_what_ails_it_is_believed_first() -> None:
    world = serving()
    world.behave("1", failure="image")
    world.cluster.evict(world.pods()[0], POD)
    world.advance(30)
    assert world.condition("PodFailure") == ("True", "ImagePull")


def test_nor_does_one_that_its_node_had_no_room_for_go_unheard() -> None:
    said = "Pod was rejected: Node didn't have enough resource: ephemeral-storage, requested: 2147483648, used: 9"
    world = serving()
    gone = world.pods()[0]
    world.behave("1", ready_after=None)
    world.cluster.evict(gone, said, reason="OutOfephemeral-storage")
    world.advance(5)

    assert world.condition("PodFailure") == ("True", "Evicted")
    assert f"pod {gone['metadata']['name']} was refused by its node: {said}; the pods ask for disk by " in (
        world.message("PodFailure")
    )
