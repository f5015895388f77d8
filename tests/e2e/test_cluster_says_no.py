"""What only the cluster can refuse: quota, Pod Security. Its own sentence within 30 s, and the champion serves on."""

import time
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, condition
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts

SOON = 30
"""Seconds within which a refusal has to be told."""


@dataclass(frozen=True)
class Refused:
    """What a refusal looked like from outside."""

    told: Object
    seconds: float
    counts: Counts
    after: Object


def refused(stage: s.Stage, world: World, obj: Object, way_out: Object | None) -> Refused:
    """Applies a version whose pods are refused, waits until that is told, then takes the way out."""
    with world.load_turn, stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        began = time.monotonic()
        stage.apply(obj)
        told = stage.until("digits", "the refusal", lambda o: bool(condition(o, "PodFailure")), 60)
        seconds = time.monotonic() - began
        if way_out is not None:
            stage.apply(way_out)
        after = stage.until_ready("digits", "2" if way_out and way_out["kind"] == "ResourceQuota" else "1")
        return Refused(told, seconds, load.close(), after)


@scene
def quota(world: World) -> Refused:
    """A namespace with room for two pods, and an update that needs a third; then more room."""
    stage = world.stage("e2e-quota")

    def room(pods: int) -> Object:
        hard = {"pods": str(pods), "requests.cpu": "4", "requests.memory": "8Gi", "limits.cpu": "20"}
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "room"}, "spec": {"hard": hard}}

    stage.apply(room(2))
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    return refused(stage, world, s.onnx("digits", "2", rollout=QUICK), room(8))


@scene
def pod_security(world: World) -> Refused:
    """A restricted namespace, and a runtime that its cluster admin loosened; then back."""
    stage = world.stage("e2e-pod-security")
    stage.apply(s.onnx("digits", "1", rollout=QUICK))
    stage.until_ready("digits", "1")
    loose = world.client.get("ModelRuntime", None, "onnxruntime")["spec"]
    loose["securityContext"] = {"container": {"allowPrivilegeEscalation": True}}
    world.client.apply(
        {"apiVersion": "podium.dev/v1alpha1", "kind": "ModelRuntime", "metadata": {"name": "loose"}, "spec": loose}
    )
    back = s.onnx("digits", "1", rollout=QUICK)
    return refused(stage, world, s.onnx("digits", "2", runtime={"name": "loose"}, rollout=QUICK), back)


def test_a_full_quota_is_told_in_the_api_servers_words(quota: Refused) -> None:
    assert "exceeded quota: room" in condition(quota.told, "PodFailure")["message"]
    assert quota.seconds < SOON


def test_with_more_room_the_update_goes_on_by_itself_and_nobody_noticed(quota: Refused) -> None:
    assert s.champion(quota.after) == "2"
    assert not quota.counts.failed, str(quota.counts)


def test_pods_that_the_namespace_forbids_are_told_in_the_api_servers_words(pod_security: Refused) -> None:
    message = condition(pod_security.told, "PodFailure")["message"]
    assert 'violates PodSecurity "restricted' in message
    assert "allowPrivilegeEscalation" in message
    assert pod_security.seconds < SOON


def test_the_champion_serves_on_while_pods_are_forbidden(pod_security: Refused) -> None:
    assert s.champion(pod_security.after) == "1"
    assert not pod_security.counts.failed, str(pod_security.counts)
