"""A canary whose callers speak gRPC: on a few kept connections its weight is exact, and no call is lost."""

from dataclasses import dataclass, field

from tests.canaries import command, drawn, kill_routers, routers, until_all_are_of, until_routed, until_weight
from tests.client import Object, wait
from tests.e2e.ground import require_host
from tests.e2e.world import World, scene
from tests.load import Counts, Load
from tests.models.grpc_server import grpc_model, put_grpc_server
from tests.stage import Stage

NAME = "named"
LONG = 5
"""Seconds of a call that outlasts the moment at which its pod is told to leave."""
ENOUGH = 600
"""Calls that a share is judged by."""
ROUTED: Object = {
    "traffic": {"router": "Envoy"},
    "replicas": 1,
    "rollout": {
        "strategy": "Canary",
        "steps": [{"weight": 25}, {"pause": True}],
        "analysis": {"metrics": []},
        "minReadySeconds": 1,
        "scaleDownDelay": "0s",
    },
}


@dataclass
class Called:
    """Parts of the load, and the candidate's revision."""

    parts: dict[str, Counts] = field(default_factory=dict)
    candidate: str = ""


def fewer_pods(stage: Stage, long: Load) -> Counts:
    """From two pods of the model to one, and a router less, as its autoscaler would have it, while calls are long."""
    stage.apply(grpc_model(NAME, "2", **ROUTED | {"replicas": 2}))
    stage.until_ready(NAME, "2")
    long.await_answers(5)
    before = routers(stage)
    stage.apply(grpc_model(NAME, "2", **ROUTED))
    leaving = before[0]["metadata"]["name"]
    stage.client.delete("Pod", stage.namespace, leaving)

    def gone() -> bool:
        pods = {pod["metadata"]["name"] for pod in stage.client.list("Pod", stage.namespace)}
        return leaving not in pods and len(pods) == len(before) + 1

    wait("one pod of the model, and the router gone", gone, 90)
    return long.await_answers(5)


@scene
def canary_of_grpc(world: World) -> Called:
    """Version 2 at 25 %, promoted; then the routers are killed."""
    require_host(world.cluster)
    put_grpc_server(world.cluster, world.client)
    stage, seen = world.stage("e2e-grpc"), Called()
    stage.apply(grpc_model(NAME, "1", **ROUTED))
    stage.until_ready(NAME, "1")
    until_routed(stage, NAME)
    with world.load_turn, stage.grpc_load(NAME) as load:
        begun = load.await_answers()
        stage.apply(grpc_model(NAME, "2", **ROUTED))
        seen.candidate = until_weight(stage, NAME, "2", 25)
        applied = load.await_answers(1)
        seen.parts["at 25 %"] = load.await_answers(ENOUGH).since(applied)
        command(stage, NAME, "promote", seen.candidate)
        stage.until_ready(NAME, "2")
        until_all_are_of(load, seen.candidate)
        promoted = load.await_answers(1)
        # Pods of version 1 end meanwhile.
        after = load.await_answers(ENOUGH)
        seen.parts["promoted"] = after.since(promoted)
        seen.parts["all"] = after.since(begun)

        with stage.grpc_load(NAME, rate=2, lasting=LONG) as long:
            seen.parts["long calls"] = fewer_pods(stage, long)

        kill_routers(stage)
        wait("a call that failed", lambda: load.counts().failed > after.failed, 60)
        seen.parts["routers killed"] = load.counts().since(after)
    return seen


def test_no_call_is_lost_from_the_first_weight_to_the_end_of_the_former_pods(canary_of_grpc: Called) -> None:
    assert not canary_of_grpc.parts["all"].failed, str(canary_of_grpc.parts["all"])


def test_calls_of_five_seconds_outlast_the_pods_and_the_router_that_leave(canary_of_grpc: Called) -> None:
    counts = canary_of_grpc.parts["long calls"]

    assert counts.answered
    assert not counts.failed, str(counts)


def test_calls_that_routers_took_with_them_are_counted_by_the_same_load(canary_of_grpc: Called) -> None:
    assert canary_of_grpc.parts["routers killed"].failed


def test_the_share_of_calls_is_the_weight_exactly(canary_of_grpc: Called) -> None:
    counts = canary_of_grpc.parts["at 25 %"]

    assert drawn(counts.revisions.get(canary_of_grpc.candidate, 0), counts.answered, 25), str(counts)


def test_every_call_is_the_candidates_once_it_is_promoted(canary_of_grpc: Called) -> None:
    assert list(canary_of_grpc.parts["promoted"].revisions) == [canary_of_grpc.candidate]
