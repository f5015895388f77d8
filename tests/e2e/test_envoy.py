"""`router: Envoy` on a real cluster, under load: led to the routers, updated there, led away again."""

from dataclasses import dataclass, field

from podium.api import names
from tests import stage as s
from tests.canaries import callers, until_routed
from tests.client import Object, condition, wait
from tests.e2e.world import World, scene
from tests.load import Counts

QUICK = {"minReadySeconds": 5}
NAME, OTHER = "digits", "other"


@dataclass
class Journey:
    """What was seen on the way, each part since the one before."""

    parts: dict[str, Counts] = field(default_factory=dict)
    weights: list[tuple[int, ...]] = field(default_factory=list)
    conditions: list[Object] = field(default_factory=list)
    routers: list[Object] = field(default_factory=list)
    other: str = ""
    """The revision of another ModelDeployment that answered through the same routers."""


def comes_and_goes(world: World, stage: s.Stage, routed: Object) -> str:
    """Another ModelDeployment behind the same routers; the revision that answered. It is gone when this returns."""
    stage.apply(s.onnx(OTHER, "1", replicas=1, rollout=QUICK, **routed))
    stage.until_ready(OTHER, "1")
    until_routed(stage, OTHER)
    _, revision = stage.ask(OTHER, world.digits.images[0])
    stage.client.delete("ModelDeployment", stage.namespace, OTHER)
    told = ("ConfigMap", stage.namespace, names.routing_name(OTHER))
    wait("the routers are told of it no more", lambda: stage.client.find(*told) is None, 60)
    return revision


@scene
def through_routers(world: World) -> Journey:
    """Version 1 without a router; with one; version 2 pod by pod; version 1 all at once; without one again."""
    stage, seen = world.stage("e2e-envoy"), Journey()
    stage.apply(s.onnx(NAME, "1", rollout=QUICK))
    stage.until_ready(NAME, "1")

    def selects_routers() -> bool:
        service = stage.client.get("Service", stage.namespace, NAME)
        return bool(service["spec"]["selector"] == names.router_selector())

    def routers_are_up() -> bool:
        pods = stage.client.list("Pod", stage.namespace, f"{names.LABEL_ROUTER}={names.ROUTER}")
        seen.routers = [pod for pod in pods if condition(pod, "Ready").get("status") == "True"]
        return len(seen.routers) >= 2

    with world.load_turn, stage.load(NAME, world.digits.questions()) as load:
        load.await_answers()
        counted = load.counts()

        def part(name: str) -> None:
            nonlocal counted
            load.await_answers(200)
            now = load.counts()
            seen.parts[name], counted = now.since(counted), now

        # Those who keep their connections are asked to end them once no answer can be under way any more.
        routed = {"traffic": {"router": "Envoy", "timeout": "5s"}}
        stage.apply(s.onnx(NAME, "1", rollout=QUICK, **routed))
        wait("the Service leads to the routers", selects_routers, s.SLOW_START)
        wait("two routers", routers_are_up, s.SLOW_START)
        stage.until_ready(NAME, "1")
        part("to the routers")
        stage.apply(s.onnx(NAME, "2", rollout=QUICK, **routed))
        stage.until_ready(NAME, "2")
        part("RollingUpdate")
        seen.other = comes_and_goes(world, stage, routed)
        part("another came and went")
        green = {"strategy": "BlueGreen", "scaleDownDelay": "0s", **QUICK}
        stage.apply(s.onnx(NAME, "1", rollout=green, **routed))
        after = stage.until_ready(NAME, "1")
        seen.conditions = after["status"]["conditions"]
        part("BlueGreen")
        stage.apply(s.onnx(NAME, "1", rollout=green))
        wait("the Service leads to the pods", lambda: not selects_routers(), 60)
        stage.until_ready(NAME, "1")
        assert any(callers(each, NAME) for each in seen.routers), "half of the load keeps its connections"
        part("from the routers")
        wait("all callers have left the routers", lambda: not any(callers(each, NAME) for each in seen.routers), 240)
        part("past the routers")
    return seen


def test_nothing_of_it_loses_a_request(through_routers: Journey) -> None:
    on_the_way = ["RollingUpdate", "another came and went", "BlueGreen"]
    assert list(through_routers.parts) == ["to the routers", *on_the_way, "from the routers", "past the routers"]
    for name, counts in through_routers.parts.items():
        assert not counts.failed, f"{name}: {counts}"


def test_the_routers_are_two_and_none_of_them_is_unreachable(through_routers: Journey) -> None:
    assert len(through_routers.routers) == 2
    assert "RouterUnreachable" not in {one["type"] for one in through_routers.conditions}


def test_another_model_comes_and_goes_behind_the_same_routers(through_routers: Journey) -> None:
    assert through_routers.other.startswith(f"{OTHER}-")
