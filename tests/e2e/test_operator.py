"""The operator itself: what others change is put back, and when its leader dies the other takes over."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests import stage as s
from tests.client import Object, wait
from tests.cluster.podium import NAMESPACE
from tests.e2e import ground
from tests.e2e.test_rollouts import QUICK, Update, both_versions_answered
from tests.e2e.world import Performance, World, scene

PUT_BACK = 5
"""Seconds within which what somebody else changed is put back."""
TAKEOVER = 15
"""Seconds within which another replica leads after the leader was killed."""


@scene
def drift(world: World) -> dict[str, float]:
    """Changes and deletes children by hand; returns the seconds until each was as before."""
    stage = world.stage("e2e-drift")
    client, namespace = world.client, stage.namespace
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    revision = stage.until_ready("digits", "1")["status"]["champion"]["revision"]
    found: dict[str, float] = {}

    def undone(what: str, change: Callable[[], object], holds: Callable[[], bool]) -> None:
        change()
        began = time.monotonic()
        wait(what, lambda: holds(), 60, every=0.1)
        found[what] = time.monotonic() - began

    def selector() -> Object:
        service: Object = client.get("Service", namespace, "digits")["spec"]["selector"]
        return service

    wanted = selector()
    undone(
        "a Service's selector",
        lambda: client.patch("Service", namespace, "digits", {"spec": {"selector": {"podium.dev/model": "other"}}}),
        lambda: selector() == wanted,
    )
    undone(
        "a Deployment's replicas",
        lambda: client.patch("Deployment", namespace, revision, {"spec": {"replicas": 1}}),
        lambda: client.get("Deployment", namespace, revision)["spec"]["replicas"] == 2,
    )
    uid = client.get("Service", namespace, "digits")["metadata"]["uid"]
    undone(
        "a deleted Service",
        lambda: client.delete("Service", namespace, "digits"),
        lambda: (client.find("Service", namespace, "digits") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid,
    )
    undone(
        "a deleted PodDisruptionBudget",
        lambda: client.delete("PodDisruptionBudget", namespace, "digits"),
        lambda: client.find("PodDisruptionBudget", namespace, "digits") is not None,
    )
    stage.until_ready("digits", "1")
    return found


@dataclass(frozen=True)
class Takeover:
    """What happened after the leader's pod was killed in the middle of an update."""

    holders: tuple[str, str]
    seconds: float
    update: Update


@pytest.fixture(scope="session")
def leader_killed(world: World, performance: Performance) -> Takeover:
    """Kills the leader's process (SIGKILL) when a candidate has just come up, and deletes its pod.

    After all scenes: what is to be told or put back within seconds has to have its leader.
    """
    performance.finish()
    stage = world.stage("e2e-leader")
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    with world.load_turn, stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        began = time.monotonic()
        stage.apply(s.onnx("digits", "2", rollout=QUICK))
        stage.until("digits", "a candidate", lambda o: bool(o["status"].get("candidate")))
        first = holder(world)
        killed = time.monotonic()
        kill(world, first)
        second = wait("another leader", lambda: holder(world) if holder(world) not in ("", first) else None, 60)
        took = time.monotonic() - killed
        after = stage.until_ready("digits", "2")
        load.await_answers()
        return Takeover((first, second), took, Update(load.close(), time.monotonic() - began, after))


def holder(world: World) -> str:
    """Who holds the Lease."""
    return str(world.client.get("Lease", NAMESPACE, "podium")["spec"].get("holderIdentity") or "")


def kill(world: World, identity: str) -> None:
    """Ends the pod of an operator without letting it say good-bye."""
    (pod,) = [
        pod["metadata"]["name"]
        for pod in world.client.list("Pod", NAMESPACE)
        if identity.startswith(pod["metadata"]["name"])
    ]
    ground.kill(pod, signal.SIGKILL)
    world.client.delete("Pod", NAMESPACE, pod, grace=0)


def test_what_others_change_is_put_back_within_5_seconds(drift: dict[str, float]) -> None:
    assert len(drift) == 4
    assert {what: seconds for what, seconds in drift.items() if seconds > PUT_BACK} == {}


def test_another_replica_leads_within_15_seconds_of_the_leaders_death(leader_killed: Takeover) -> None:
    assert leader_killed.seconds < TAKEOVER


def test_the_update_under_way_goes_on_and_no_request_is_lost(leader_killed: Takeover) -> None:
    assert not leader_killed.update.counts.failed, str(leader_killed.update.counts)
    assert both_versions_answered(leader_killed.update.counts)
