"""What people do with a ModelDeployment, as scripts: actions, each after a condition has come.

Every condition that is waited for in the middle of a script stays once it has come, so a script can be played while
the operator is killed and started again. `ready_to_act` marks the moment before the actions that a script is about.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from podium.api import names
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.callers import Callers
from tests.integration.rollouts.kubelet import SERVES, Crashes, FetchFails, Serves
from tests.integration.rollouts.stage import MODEL, Stage, spec

ReadyToAct = Callable[[], Awaitable[None]]
Play = Callable[[Stage, ReadyToAct], Awaitable[None]]

BLUE_GREEN: Final = {"strategy": "BlueGreen", "scaleDownDelay": "1h"}
CANARY: Final = {
    "strategy": "Canary",
    "steps": [{"weight": 25}, {"pause": True}],
    "analysis": {"metrics": []},  # the routers here are played, and count nothing
    "scaleDownDelay": "1h",
}
CPU: Final = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
}
ENVOY: Final = {"router": "Envoy"}
AUTOSCALING: Final = {"minReplicas": 2, "maxReplicas": 5, "metrics": [CPU]}


@dataclass(frozen=True)
class Scenario:
    """A script and the one condition by which it has ended."""

    name: str
    play: Play
    ended: Callable[[Stage], object]


async def _first(stage: Stage, replicas: int = 2, **other: object) -> None:
    await stage.apply(spec("v1", replicas, **other))
    await stage.until_ready("v1")


async def first_rollout(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """The first revision comes up."""
    await ready_to_act()
    await stage.apply(spec("v1", 2))


async def rolling_update(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """Three pods of v1 are replaced by v2."""
    await _first(stage, 3)
    await ready_to_act()
    await stage.apply(spec("v2", 3))


async def crash_rollback(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 crashes; v1 stays."""
    await _first(stage, 2)
    stage.kubelet.script(stage.namespace, "v2", Crashes())
    await ready_to_act()
    await stage.apply(spec("v2", 2))


async def late_rollback(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """One pod of v2 serves in place of one of v1, the next cannot fetch its model: the mirror image of an update."""
    loose = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    await _first(stage, 3, rollout=loose)
    stage.kubelet.script(stage.namespace, "v2", Serves(limit=1))
    await ready_to_act()
    await stage.apply(spec("v2", 3, rollout=loose))
    await stage.until(lambda: len(stage.pods("v2")) == 2 and len(stage.endpoints()) == 2, "a second pod of v2")
    stage.kubelet.script(stage.namespace, "v2", FetchFails())


async def blue_green(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 takes all traffic at once; v1 goes when its warm time is over."""
    rollout = {"strategy": "BlueGreen", "scaleDownDelay": "1s"}
    await _first(stage, 2, rollout=rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=rollout))


async def blue_green_undone(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 takes all traffic, and while v1 is kept warm a person takes it back."""
    await _first(stage, 2, rollout=BLUE_GREEN)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=BLUE_GREEN))
    await stage.until_ready("v2")
    await stage.command("abort", stage.revision("v2"), "1")


async def promoted_by_a_person(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 waits behind the preview Service until a person promotes it."""
    rollout = {**BLUE_GREEN, "promotion": "Manual"}
    await _first(stage, 2, rollout=rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=rollout))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.command("promote", stage.revision("v2"), "1")


async def canary(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 gets a pod beside three of v1, then as many, and then all requests."""
    rollout = {**CANARY, "steps": [{"weight": 25, "for": "1s"}, {"weight": 50}], "scaleDownDelay": "1s"}
    await _first(stage, 3, rollout=rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 3, rollout=rollout))


async def canary_in_place(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """Pods of v2 take the places of pods of v1, until at a pause a person promotes it."""
    rollout = {**CANARY, "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    await _first(stage, 3, rollout=rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 3, rollout=rollout))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.command("promote", stage.revision("v2"), "1")


async def canary_aborted(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 has most of the requests, and v1 a single pod left, when a person takes them back."""
    rollout = {**CANARY, "steps": [{"weight": 75}, {"pause": True}]}
    await _first(stage, 3, rollout=rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 3, rollout=rollout))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.command("abort", stage.revision("v2"), "1")


async def canary_put_back(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """While a pod of v2 serves beside three of v1 the spec is put back."""
    await _first(stage, 3, rollout=CANARY)
    await ready_to_act()
    await stage.apply(spec("v2", 3, rollout=CANARY))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.apply(spec("v1", 3, rollout=CANARY))


async def _routed(stage: Stage, rollout: Object) -> None:
    await stage.router()
    await _first(stage, 2, rollout=rollout, traffic=ENVOY)
    await stage.until(lambda: _led_to_routers(stage), "the stable Service leads to the routers")


async def taken_up_by_routers(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """A live ModelDeployment is led through routers, which are made for it."""
    await stage.router()
    await _first(stage, 2)
    await ready_to_act()
    await stage.apply(spec("v1", 2, traffic=ENVOY))


async def envoy_canary(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 gets a quarter of the requests through a router, then half, and then all."""
    rollout = {**CANARY, "steps": [{"weight": 25, "for": "1s"}, {"weight": 50}], "scaleDownDelay": "1s"}
    await _routed(stage, rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=rollout, traffic=ENVOY))


async def envoy_canary_aborted(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 has half of the requests through a router when a person takes them back."""
    rollout = {**CANARY, "steps": [{"weight": 50}, {"pause": True}]}
    await _routed(stage, rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=rollout, traffic=ENVOY))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.command("abort", stage.revision("v2"), "1")


async def envoy_canary_put_back(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """While v2 has a quarter of the requests through a router the spec is put back."""
    await _routed(stage, CANARY)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=CANARY, traffic=ENVOY))
    await stage.until(lambda: stage.phase == "Paused", "that it waits for a person")
    await stage.apply(spec("v1", 2, rollout=CANARY, traffic=ENVOY))


WEIGHED: Final = {
    "strategy": "Canary",
    "steps": [{"weight": 25, "for": "1s"}, {"weight": 50, "for": "1s"}],
    "analysis": {"interval": "1s", "warmUp": "0s"},
    "scaleDownDelay": "1s",
}


FEW: Final = 5.0
"""Requests a second of which no decision can be made while a test runs: the rollback by evidence takes minutes."""


async def promoted_by_evidence(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 fails no more often than v1, which callers show soon enough."""
    (await stage.router()).callers = Callers(failing={"v1": 0.01, "v2": 0.01})
    await _routed(stage, WEIGHED)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=WEIGHED, traffic=ENVOY))


async def rolled_back_by_evidence(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """v2 fails three times as often as v1, and never gets more than a quarter of the requests."""
    rollout = {**WEIGHED, "steps": [{"weight": 25, "for": "1h"}]}
    (await stage.router()).callers = Callers(failing={"v1": 0.01, "v2": 0.03})
    await _routed(stage, rollout)
    await ready_to_act()
    await stage.apply(spec("v2", 2, rollout=rollout, traffic=ENVOY))


async def reverted_midway(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """With one pod of v2 serving and one that is not ready the spec is put back."""
    await _first(stage, 3)
    stage.kubelet.script(stage.namespace, "v2", Serves(limit=1))
    await ready_to_act()
    await stage.apply(spec("v2", 3))
    await stage.until(lambda: len(stage.pods("v2")) == 2 and len(stage.endpoints()) == 3, "a second pod of v2")
    await stage.apply(spec("v1", 3))


async def replaced_midway(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """While v2 does not get ready, v3 is asked for."""
    await _first(stage, 2)
    stage.kubelet.script(stage.namespace, "v2", Serves(limit=0))
    await ready_to_act()
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: stage.pods("v2"), "a pod of v2")
    await stage.apply(spec("v3", 2))


async def autoscaling_on_and_off(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """The pods are handed to an HPA, which makes them four, and taken back."""
    await _first(stage, 2)
    await ready_to_act()
    await stage.apply(spec("v1", 2, autoscaling=AUTOSCALING))
    await stage.until(lambda: stage.is_ready("v1") and stage.all("HorizontalPodAutoscaler"), "an HPA")
    scale = {"spec": {"replicas": 4}}
    manager = "kube-controller-manager"
    await stage.api.merge(
        "Deployment", stage.namespace, stage.revision("v1"), scale, subresource="scale", manager=manager
    )
    await stage.until(lambda: stage.is_ready("v1") and len(stage.endpoints()) == 4, "four pods")
    await stage.apply(spec("v1", 3))


async def updated_under_autoscaling(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """A RollingUpdate takes the count from the HPA and gives it to the next one."""
    await _first(stage, 2, autoscaling=AUTOSCALING)
    await stage.until(lambda: stage.all("HorizontalPodAutoscaler"), "an HPA")
    await ready_to_act()
    await stage.apply(spec("v2", 2, autoscaling=AUTOSCALING))


async def paused_and_resumed(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """A rollout is held by a command, and goes on by one."""
    await _first(stage, 2)
    stage.kubelet.script(stage.namespace, "v2", Serves(limit=0))
    await ready_to_act()
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: stage.pods("v2"), "a pod of v2")
    await stage.command("pause", stage.revision("v2"), "1")
    await stage.until(lambda: stage.condition("Paused"), "the pause")
    stage.kubelet.script(stage.namespace, "v2", SERVES)
    await stage.until(lambda: len(stage.endpoints()) == 3, "the pod of v2 beside those of v1")
    await stage.command("resume", stage.revision("v2"), "2")


async def restarted(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """A person restarts the champion: a new revision of the same inputs."""
    await _first(stage, 2)
    first = stage.revision("v1")
    await ready_to_act()
    await stage.command("restart", first, "1")


async def retried(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """What was rolled back is tried again after its cause has gone."""
    await _first(stage, 2)
    stage.kubelet.script(stage.namespace, "v2", Crashes())
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: stage.phase == "RolledBack", "the rollback")
    rejected = stage.revision("v2")
    stage.kubelet.script(stage.namespace, "v2", SERVES)
    await ready_to_act()
    await stage.command("retry", rejected, "1")


async def deleted(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """In the middle of an update the ModelDeployment goes, and all that belongs to it."""
    await _first(stage, 2)
    stage.kubelet.script(stage.namespace, "v2", Serves(limit=0))
    await ready_to_act()
    await stage.apply(spec("v2", 2))
    await stage.until(lambda: stage.pods("v2"), "a pod of v2")
    await stage.delete()


async def to_zero_and_back(stage: Stage, ready_to_act: ReadyToAct) -> None:
    """Scaled to nothing, updated there, and back with the new version."""
    await _first(stage, 2)
    await ready_to_act()
    await stage.apply(spec("v1", 0))
    await stage.until(lambda: stage.is_ready("v1") and not stage.all("Pod"), "no pods")
    await stage.apply(spec("v2", 0))
    await stage.until_ready("v2")
    await stage.apply(spec("v2", 1))


def _only(stage: Stage, version: str, pods: int) -> bool:
    """Whether one version serves with so many pods, and nothing of any other is left but its record."""
    name = stage.revision(version)
    return (
        [one["metadata"]["name"] for one in stage.all("Deployment")] == [name]
        and len(stage.all("Pod")) == pods == len(stage.endpoints())
        and (stage.get("Service", MODEL) or {})["spec"]["selector"].get("podium.dev/revision") == name
        and stage.get("Service", f"{MODEL}-preview") is None
        and stage.settled
        and stage.status["champion"]["available"] == pods
    )


def _led_to_routers(stage: Stage) -> bool:
    return stage.selector == names.router_selector()


def _only_through_routers(stage: Stage, version: str, pods: int) -> bool:
    """As `_only`, with routers before it: all requests go to one version, which alone has pods."""
    name = stage.revision(version)
    services = {one["metadata"]["name"] for one in stage.all("Service")}
    return (
        stage.weights == {name: 10_000}
        and _led_to_routers(stage)
        and services == {MODEL, name}
        and {one["metadata"]["name"] for one in stage.all("Deployment")} == {names.ROUTER, name}
        and len(stage.endpoints(name)) == pods == len(stage.pods(version))
        and len(stage.all("Pod")) == pods + 1
        and stage.settled
        and stage.status["champion"]["available"] == pods
    )


def _routed_to(version: str, pods: int) -> Callable[[Stage], object]:
    return lambda stage: stage.is_ready(version) and _only_through_routers(stage, version, pods)


def _rolled_back_through_routers(to: str, version: str, pods: int) -> Callable[[Stage], object]:
    return lambda stage: (
        stage.phase == "RolledBack"
        and stage.outcome(version) == "RolledBack"
        and _only_through_routers(stage, to, pods)
    )


def _serves(version: str, pods: int) -> Callable[[Stage], object]:
    return lambda stage: stage.is_ready(version) and _only(stage, version, pods)


def _rolled_back(to: str, version: str, pods: int) -> Callable[[Stage], object]:
    return lambda stage: (
        stage.phase == "RolledBack" and stage.outcome(version) == "RolledBack" and _only(stage, to, pods)
    )


def _warm(version: str, previous: str, pods: int) -> Callable[[Stage], object]:
    def ended(stage: Stage) -> object:
        names = sorted(one["metadata"]["name"] for one in stage.all("Deployment"))
        return (
            stage.is_ready(version)
            and names == sorted([stage.revision(version), stage.revision(previous)])
            and len(stage.endpoints()) == pods
            and len(stage.all("Pod")) == 2 * pods
            and stage.get("Service", f"{MODEL}-preview") is None
            and "candidate" not in stage.status
        )

    return ended


def _handed_over(version: str, pods: int) -> Callable[[Stage], object]:
    def ended(stage: Stage) -> object:
        hpas = [one["metadata"]["name"] for one in stage.all("HorizontalPodAutoscaler")]
        return _serves(version, pods)(stage) and hpas == [stage.revision(version)]

    return ended


def _restarted(stage: Stage) -> object:
    done = (stage.status.get("lastCommand") or {}).get("result") == "Done"
    return len(stage.all("ControllerRevision")) == 2 and done and _serves("v1", 2)(stage)


def _without_hpa(stage: Stage) -> object:
    return _serves("v1", 3)(stage) and not stage.all("HorizontalPodAutoscaler")


def nothing_left(stage: Stage) -> bool:
    """Whether the ModelDeployment and all that belonged to it are gone."""
    kinds = (MODEL_DEPLOYMENT, "ControllerRevision", "Deployment", "ReplicaSet", "Pod", "Service")
    return not any(stage.all(kind) for kind in (*kinds, "PodDisruptionBudget", "HorizontalPodAutoscaler"))


SCENARIOS: Final = (
    Scenario("first-rollout", first_rollout, _serves("v1", 2)),
    Scenario("rolling-update", rolling_update, _serves("v2", 3)),
    Scenario("crash-rollback", crash_rollback, _rolled_back("v1", "v2", 2)),
    Scenario("late-rollback", late_rollback, _rolled_back("v1", "v2", 3)),
    Scenario("blue-green", blue_green, _serves("v2", 2)),
    Scenario("blue-green-undone", blue_green_undone, _rolled_back("v1", "v2", 2)),
    Scenario("promoted-by-a-person", promoted_by_a_person, _warm("v2", "v1", 2)),
    Scenario("canary", canary, _serves("v2", 3)),
    Scenario("canary-in-place", canary_in_place, _serves("v2", 3)),
    Scenario("canary-aborted", canary_aborted, _rolled_back("v1", "v2", 3)),
    Scenario("canary-put-back", canary_put_back, _serves("v1", 3)),
    Scenario("taken-up-by-routers", taken_up_by_routers, _routed_to("v1", 2)),
    Scenario("envoy-canary", envoy_canary, _routed_to("v2", 2)),
    Scenario("envoy-canary-aborted", envoy_canary_aborted, _rolled_back_through_routers("v1", "v2", 2)),
    Scenario("envoy-canary-put-back", envoy_canary_put_back, _routed_to("v1", 2)),
    Scenario("promoted-by-evidence", promoted_by_evidence, _routed_to("v2", 2)),
    Scenario("rolled-back-by-evidence", rolled_back_by_evidence, _rolled_back_through_routers("v1", "v2", 2)),
    Scenario("reverted-midway", reverted_midway, _serves("v1", 3)),
    Scenario("replaced-midway", replaced_midway, _serves("v3", 2)),
    Scenario("autoscaling-on-and-off", autoscaling_on_and_off, _without_hpa),
    Scenario("updated-under-autoscaling", updated_under_autoscaling, _handed_over("v2", 2)),
    Scenario("paused-and-resumed", paused_and_resumed, _serves("v2", 2)),
    Scenario("restarted", restarted, _restarted),
    Scenario("retried", retried, _serves("v2", 2)),
    Scenario("deleted", deleted, nothing_left),
    Scenario("to-zero-and-back", to_zero_and_back, _serves("v2", 1)),
)
BY_NAME: Final = {scenario.name: scenario for scenario in SCENARIOS}


async def at_once() -> None:
    """For a run in which nothing is done before the actions."""


async def run(scenario: Scenario, stage: Stage, ready_to_act: ReadyToAct = at_once) -> None:
    """Play a scenario to its end."""
    await scenario.play(stage, ready_to_act)
    await stage.until(lambda: scenario.ended(stage) and _all_told(stage), f"the end of {scenario.name}")
    await stage.world.caught_up(stage.namespace)


async def run_undecided(scenario: Scenario, stage: Stage, look: Callable[[], Awaitable[None]]) -> None:
    """Play one by evidence, with so few callers that nothing can be decided before `look` has returned.

    `look` is called once evidence is weighed, which it then still is until it returns.
    """

    begun = asyncio.Event()

    async def few() -> None:
        (await _callers(stage)).rate = FEW
        begun.set()

    async def undecided() -> None:
        await begun.wait()
        await stage.until(lambda: stage.phase == "Analyzing", "that evidence is weighed")
        await look()
        assert stage.phase == "Analyzing", stage.explain()
        (await _callers(stage)).rate = Callers.rate

    async with asyncio.TaskGroup() as group:
        group.create_task(run(scenario, stage, few))
        group.create_task(undecided())


async def _callers(stage: Stage) -> Callers:
    callers = (await stage.router()).callers
    assert callers is not None
    return callers


def _all_told(stage: Stage) -> bool:
    """Whether Deployments count the pods that there are, and status what Deployments say.

    Each follows the other by a write of its own, and on a busy machine by seconds.
    """
    if stage.get(MODEL_DEPLOYMENT, MODEL) is None:
        return True
    counts = {one["metadata"]["name"]: one.get("status", {}).get("replicas", 0) for one in _deployments(stage)}
    pods = Counter(one["metadata"]["labels"].get(names.LABEL_REVISION) for one in stage.all("Pod"))
    wanted = dict(one.split("=") for one in stage.status["selector"].split(","))
    revision = wanted.get(names.LABEL_REVISION)
    behind = sum(count for name, count in counts.items() if revision in (None, name))
    warm = stage.status.get("previous", {}).get("revision")
    return (
        all(pods[name] == count for name, count in counts.items())
        and stage.status["replicas"] == behind
        and (warm in counts if warm else "kept warm" not in stage.status["message"])
    )


def _deployments(stage: Stage) -> list[Object]:
    return [one for one in stage.all("Deployment") if one["metadata"]["name"] != names.ROUTER]


def revision_annotations(stage: Stage, version: str) -> Object:
    """The durable record of a version's newest revision."""
    found = stage.get("ControllerRevision", stage.revision(version))
    return dict((found or {"metadata": {}})["metadata"].get("annotations") or {})
