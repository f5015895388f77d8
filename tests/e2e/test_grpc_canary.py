"""A canary whose callers speak gRPC: on a few kept connections its weight is exact, and no call is lost."""

import queue
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import grpc

from podium.api import names
from tests.canaries import (
    callers,
    command,
    drawn,
    kill_routers,
    ready_routers,
    until_all_are_of,
    until_routed,
    until_weight,
)
from tests.client import Object, wait
from tests.cluster.podium import DRAIN
from tests.e2e.ground import require_host
from tests.e2e.world import World, scene
from tests.load import Counts
from tests.load_grpc import OPTIONS
from tests.models.grpc_server import STREAM, grpc_model, put_grpc_server
from tests.stage import GRPC_PORT, SLOW_START, Stage

NAME = "named"
LONG = 5
"""Seconds of a call that outlasts the moment at which its pod is told to leave."""
ENOUGH = 600
"""Calls that a share is judged by."""
STREAMS = 16
"""Held at once, each on a connection of its own: that a router of two has none of them happens once in 65,536 runs."""
LEAVES = 20.0
"""Seconds after which a router that is told to leave has gone if no caller stays: 5 at least, and 10 without a call."""
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
class Streams:
    """Those that were held while a router was told to leave."""

    answers: set[str]
    """Revisions that answered meanwhile."""
    stayed: bool
    """Whether the router was still there when nobody but them kept it."""
    ends: list[grpc.StatusCode]


@dataclass
class Outlived:
    """Streams that lasted longer than a router waits for its callers."""

    first: float
    """Seconds after the router was told to leave until it took the first of them with it."""
    ends: set[grpc.StatusCode]
    """How those ended."""
    others: set[grpc.StatusCode]
    """How those of the other router ended."""
    again: set[str]
    """Revisions that answered the callers' next streams."""


@dataclass
class Called:
    """Parts of the load, and the candidate's revision."""

    parts: dict[str, Counts] = field(default_factory=dict)
    candidate: str = ""
    streams: Streams | None = None
    outlived: Outlived | None = None


class Stream:
    """A stream of gRPC that says something whenever it is told to."""

    def __init__(self, target: str) -> None:
        self._says: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(target, options=OPTIONS)
        self._call = self._channel.stream_stream(STREAM)(iter(self._says.get, None), timeout=180)

    def ask(self) -> str:
        """The revision that answers; raises grpc.RpcError if the stream has ended."""
        self._says.put(b"")
        return str(next(self._call).decode())

    def end(self) -> grpc.StatusCode:
        """Says nothing more; how it ended."""
        self._says.put(None)
        code: grpc.StatusCode = self._call.code()
        return code

    def close(self) -> None:
        """Its connection."""
        self._says.put(None)
        self._channel.close()


def add_router(stage: Stage) -> None:
    """A third one, which their autoscaler lets be until it is told otherwise."""
    leave_be = {"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}
    stage.client.patch("HorizontalPodAutoscaler", stage.namespace, names.ROUTER, leave_be)
    stage.cluster.kubectl(f"--namespace={stage.namespace}", "scale", f"deployment/{names.ROUTER}", "--replicas=3")
    wait("three routers", lambda: len(ready_routers(stage)) == 3, SLOW_START)


def fewer_pods(stage: Stage) -> Counts:
    """From two pods of the model to one, and by their autoscaler from three routers to two, while calls are long."""
    stage.apply(grpc_model(NAME, "2", **ROUTED | {"replicas": 2}))
    stage.until_ready(NAME, "2")
    add_router(stage)
    with stage.grpc_load(NAME, rate=2, lasting=LONG) as long:  # its connections are new: the third router has some
        long.await_answers(5)
        stage.apply(grpc_model(NAME, "2", **ROUTED))
        stage.client.patch("HorizontalPodAutoscaler", stage.namespace, names.ROUTER, {"spec": {"behavior": None}})
        wait("one pod of the model and two routers", lambda: len(stage.client.list("Pod", stage.namespace)) == 3, 120)
        return long.await_answers(5)


def hold_streams(stage: Stage) -> Streams:
    """Streams through both routers go on while the elder one leaves, and end when they are done."""
    wait("two routers", lambda: len(ready_routers(stage)) >= 2, SLOW_START)
    elder = min(ready_routers(stage), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    leaving = elder["metadata"]["name"]
    host = stage.client.get("Service", stage.namespace, NAME)["spec"]["clusterIP"]

    def there() -> bool:
        return leaving in {pod["metadata"]["name"] for pod in stage.client.list("Pod", stage.namespace)}

    with ExitStack() as stack:
        held = [stack.enter_context(closing(Stream(f"{host}:{GRPC_PORT}"))) for _ in range(STREAMS)]
        answers = {stream.ask() for stream in held}
        stage.client.delete("Pod", stage.namespace, leaving)
        told = time.monotonic()

        def lasted() -> bool:
            answers.update([stream.ask() for stream in held])
            return time.monotonic() - told > LEAVES

        wait("streams beyond the router's time to leave", lasted, LEAVES + 60)
        seen = Streams(answers, there(), [stream.end() for stream in held])
    wait("the router gone", lambda: not there(), SLOW_START)
    return seen


def outlast_drain(stage: Stage) -> Outlived:
    """Streams that do not end when they are asked to, at a router that is told to leave."""
    wait("two routers", lambda: len(ready_routers(stage)) >= 2, SLOW_START)
    host = stage.client.get("Service", stage.namespace, NAME)["spec"]["clusterIP"]
    with ExitStack() as stack:
        held = [stack.enter_context(closing(Stream(f"{host}:{GRPC_PORT}"))) for _ in range(STREAMS)]
        for stream in held:
            stream.ask()
        # The node may not have known of both routers yet.
        leaving = max(ready_routers(stage), key=lambda router: callers(router, NAME))["metadata"]["name"]
        stage.client.delete("Pod", stage.namespace, leaving)
        told, ended = time.monotonic(), dict[Stream, float]()

        def some_ended() -> bool:
            for stream in held:
                try:
                    stream.ask()
                except grpc.RpcError:
                    ended.setdefault(stream, time.monotonic() - told)
            return bool(ended)

        def gone() -> bool:
            return leaving not in {pod["metadata"]["name"] for pod in stage.client.list("Pod", stage.namespace)}

        wait("streams that the router took with it", some_ended, DRAIN + 60)
        wait("the router gone", gone, SLOW_START)
        some_ended()  # one may have been asked just before the others of its router ended
        again = [stack.enter_context(closing(Stream(f"{host}:{GRPC_PORT}"))).ask() for _ in ended]
        return Outlived(
            first=min(ended.values()),
            ends={stream.end() for stream in ended},
            others={stream.end() for stream in held if stream not in ended},
            again=set(again),
        )


@scene
def canary_of_grpc(world: World) -> Called:
    """Version 2 at 25 %, promoted; then routers leave, are killed, and end with streams that do not."""
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

        seen.parts["long calls"] = fewer_pods(stage)
        seen.streams = hold_streams(stage)

        left = load.await_answers(1)
        kill_routers(stage)
        wait("a call that failed", lambda: load.counts().failed > left.failed, 60)
        seen.parts["routers killed"] = load.counts().since(left)
    seen.outlived = outlast_drain(stage)
    return seen


def test_no_call_is_lost_from_the_first_weight_to_the_end_of_the_former_pods(canary_of_grpc: Called) -> None:
    assert not canary_of_grpc.parts["all"].failed, str(canary_of_grpc.parts["all"])


def test_calls_of_five_seconds_outlast_a_pod_and_a_router_that_are_scaled_away(canary_of_grpc: Called) -> None:
    counts = canary_of_grpc.parts["long calls"]

    assert not counts.failed, str(counts)


def test_a_stream_keeps_the_router_that_leaves_and_lives_to_its_end(canary_of_grpc: Called) -> None:
    streams = canary_of_grpc.streams

    assert streams
    assert streams.answers == {canary_of_grpc.candidate}
    assert streams.stayed
    assert set(streams.ends) == {grpc.StatusCode.OK}


def test_a_stream_that_outlasts_the_drain_is_told_so_and_begins_anew_elsewhere(canary_of_grpc: Called) -> None:
    outlived = canary_of_grpc.outlived

    assert outlived
    assert outlived.first > DRAIN
    assert outlived.ends == {grpc.StatusCode.UNAVAILABLE}
    assert outlived.others <= {grpc.StatusCode.OK}
    assert outlived.again == {canary_of_grpc.candidate}


def test_calls_that_routers_took_with_them_are_counted_by_the_same_load(canary_of_grpc: Called) -> None:
    assert canary_of_grpc.parts["routers killed"].failed


def test_the_share_of_calls_is_the_weight_exactly(canary_of_grpc: Called) -> None:
    counts = canary_of_grpc.parts["at 25 %"]

    assert drawn(counts.revisions.get(canary_of_grpc.candidate, 0), counts.answered, 25), str(counts)


def test_every_call_is_the_candidates_once_it_is_promoted(canary_of_grpc: Called) -> None:
    assert list(canary_of_grpc.parts["promoted"].revisions) == [canary_of_grpc.candidate]
