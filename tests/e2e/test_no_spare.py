"""No spare accelerator: all pieces of a resource are the champion's, so an update has to take its pods' places."""

import json
from dataclasses import dataclass

from tests import stage as s
from tests.client import Object, condition
from tests.e2e.ground import require_host
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts

DEVICE = "example.com/device"
PIECES = 2
SOON = 60
"""Seconds within which it has to be told."""


@dataclass(frozen=True)
class Scarce:
    """An update beside the champion's pods, and one in their places."""

    told: Object
    after: Object
    counts: Counts


def advertise(world: World) -> None:
    """The node says that it has so many pieces, as a device plugin would have it say."""
    require_host(world.cluster)
    (node,) = world.client.list("Node")
    has = json.dumps({"status": {field: {DEVICE: str(PIECES)} for field in ("capacity", "allocatable")}})
    world.cluster.kubectl("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=merge", "-p", has)


@scene
def no_spare(world: World) -> Scarce:
    """Two pods hold both pieces; version 2 waits for a third, is put back, and comes in their places."""
    advertise(world)
    stage = world.stage("e2e-no-spare")
    runtime = {"resources": {"limits": {DEVICE: "1"}}}
    stage.apply(s.onnx("digits", "1", replicas=PIECES, runtime=runtime, rollout=QUICK))
    stage.until_ready("digits", "1")
    with world.load_turn, stage.load("digits", world.digits.questions()) as load:
        load.await_answers()
        stage.apply(s.onnx("digits", "2", replicas=PIECES, runtime=runtime, rollout=QUICK))
        told = stage.until("digits", "what is scarce", lambda obj: "waits for" in obj["status"]["message"], SOON)
        stage.apply(s.onnx("digits", "1", replicas=PIECES, runtime=runtime, rollout=QUICK))
        stage.until_ready("digits", "1")
        places = QUICK | {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        stage.apply(s.onnx("digits", "2", replicas=PIECES, runtime=runtime, rollout=places))
        return Scarce(told, stage.until_ready("digits", "2"), load.close())


def test_the_message_names_the_resource_who_holds_it_and_the_way_out(no_spare: Scarce) -> None:
    way = "set spec.rollout.rollingUpdate.maxSurge: 0 and maxUnavailable: 1"  # as this scene does then
    assert f"waits for {DEVICE}, which only version 1's pods hold; {way}" in no_spare.told["status"]["message"]
    assert f"Insufficient {DEVICE}" in condition(no_spare.told, "PodFailure")["message"]


def test_that_way_the_update_needs_no_piece_more_and_loses_no_request(no_spare: Scarce) -> None:
    assert s.champion(no_spare.after) == "2"
    assert not no_spare.counts.failed, str(no_spare.counts)
