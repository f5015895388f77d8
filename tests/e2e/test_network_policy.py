"""What a namespace's network may keep from what: routers from pods, callers and the operator from routers, and routers
from the API server. Where Podium can see it a condition says so, and the champion serves on.

The local cluster's network plugin enforces no NetworkPolicy. What stands in for a default-deny one is what enforces it
elsewhere: the node drops what comes from other pods, and lets in what comes from itself, as probes do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from podium.api import names
from podium.router.places import PORT
from podium.router.routing import LAST_PORT, LEAST_PORT
from tests import stage as s
from tests.canaries import Parts, command, ready_routers, until_routed, until_weight
from tests.client import Object, condition, wait
from tests.cluster.progress import ClusterError, run
from tests.cluster.slot import Slot
from tests.e2e.ground import operator_pods, require_host, until_condition
from tests.e2e.test_rollouts import QUICK
from tests.e2e.world import World, scene
from tests.load import Counts

NAME = "digits"


@dataclass(frozen=True)
class Denied:
    """What was seen while pods were kept from pods, and afterwards."""

    told: Object
    """The condition."""
    selector: Object
    """Of the stable Service, then."""
    status: Object
    """Of the ModelDeployment, then."""
    after: Object
    """The ModelDeployment, once they were let in."""
    counts: Counts


@contextmanager
def dropped(slot: Slot, rules: list[list[str]]) -> Iterator[None]:
    """What these rules of iptables match, each with its chain first, is dropped by the node."""
    rules = [[*rule, "--jump", "DROP"] for rule in rules]
    for rule in rules:
        run(slot.inside("iptables", "--wait", "--insert", *rule))
    try:
        yield
    finally:
        for rule in rules:
            run(slot.inside("iptables", "--wait", "--delete", *rule))


def addresses(pods: list[Object]) -> list[str]:
    """Theirs."""
    return [str(pod["status"]["podIP"]) for pod in pods]


@scene
def denied(world: World) -> Denied:
    """`router: Envoy` where no router gets through to a pod; then it does."""
    require_host(world.cluster)
    stage = world.stage("e2e-denied")
    stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK))
    stage.until_ready(NAME, "1")
    pods = stage.client.list("Pod", stage.namespace, f"{names.LABEL_MODEL}={NAME}")

    def selector() -> Object:
        return dict(stage.client.get("Service", stage.namespace, NAME)["spec"]["selector"])

    with world.load_turn, stage.load(NAME, world.digits.questions()) as load:
        load.await_answers()
        slot = world.cluster.slot
        with dropped(slot, [["FORWARD", "--source", slot.pods, "--destination", each] for each in addresses(pods)]):
            stage.apply(s.onnx(NAME, "1", replicas=1, rollout=QUICK, traffic={"router": "Envoy"}))
            told = until_condition(stage, NAME, "RouterUnreachable", "does not reach any pod", seconds=120)
            kept, status = selector(), stage.get(NAME)["status"]
        wait("the Service leads to the routers", lambda: selector() == names.router_selector(), s.SLOW_START)
        load.await_answers(200)
        return Denied(told, kept, status, stage.until_ready(NAME, "1"), load.close())


@dataclass
class CutOff:
    """What was seen while one way at a time was closed, and afterwards."""

    told: dict[str, Object] = field(default_factory=dict)
    """The condition, by the way that is closed."""
    status: dict[str, Object] = field(default_factory=dict)
    """Of the ModelDeployment, by the same."""
    parts: dict[str, Counts] = field(default_factory=dict)
    asked: dict[str, bool] = field(default_factory=dict)
    """Whether a caller on the node was answered: before its way was closed, and then."""
    revisions: dict[str, str] = field(default_factory=dict)
    """By version, of the rollouts in their order."""
    kept: int = 0
    """Ready pods of version 1 while the routers did not say whether they still send requests there."""


CALLERS, OPERATOR, API = "callers to routers", "operator to routers", "routers to the API server"


def answered(world: World, stage: s.Stage) -> bool:
    """Whether a caller on the node is answered by the model."""
    url = f"{stage.address(NAME)}/v2/health/live"
    try:
        run(world.cluster.slot.inside("curl", "--silent", "--fail", "--max-time", "5", url))
    except ClusterError:
        return False
    return True


@scene
def cut_off(world: World) -> CutOff:
    """A canary while a caller is kept from the routers, its promotion while the operator is; another while the routers
    are kept from the API server.
    """
    require_host(world.cluster)
    stage, seen, slot = world.stage("e2e-cut"), CutOff(), world.cluster.slot
    steps = [{"weight": 50}, {"pause": True}]
    rollout = {"strategy": "Canary", "steps": steps, "minReadySeconds": 1, "scaleDownDelay": "0s"}
    routed: Object = {"replicas": 1, "rollout": rollout, "traffic": {"router": "Envoy"}}
    stage.apply(s.onnx(NAME, "1", **routed))
    champion = stage.until_ready(NAME, "1")["status"]["champion"]["revision"]
    until_routed(stage, NAME)
    wait("two routers", lambda: len(ready_routers(stage)) == 2, s.SLOW_START)
    there = addresses(ready_routers(stage))

    with world.load_turn, stage.load(NAME, world.digits.questions()) as load:
        parts = Parts(load, seen.parts)
        seen.asked["before"] = answered(world, stage)
        listeners = ["--protocol", "tcp", "--dport", f"{LEAST_PORT}:{LAST_PORT}"]
        # Here the caller is a process of the node; the load comes from outside, and is let through.
        with dropped(slot, [["OUTPUT", "--destination", each, *listeners] for each in there]):
            stage.apply(s.onnx(NAME, "2", **routed))
            seen.revisions["2"] = until_weight(stage, NAME, "2", 50)
            seen.asked[CALLERS] = answered(world, stage)
            seen.status[CALLERS] = stage.get(NAME)["status"]
        parts.end(CALLERS)

        operators = addresses(operator_pods(stage))
        agents = ["--protocol", "tcp", "--dport", str(PORT)]
        ways = [["FORWARD", "--source", one, "--destination", each, *agents] for one in operators for each in there]
        with dropped(slot, ways):
            command(stage, NAME, "promote", seen.revisions["2"])
            seen.told[OPERATOR] = until_condition(stage, NAME, "RouterUnreachable", str(PORT))
            parts.end(OPERATOR)
            seen.status[OPERATOR] = stage.get(NAME)["status"]
            seen.kept = int(stage.client.get("Deployment", stage.namespace, champion)["status"].get("readyReplicas", 0))
        stage.until_ready(NAME, "2")
        parts.end("promoted")

        api = ["--protocol", "tcp"]
        there = addresses(ready_routers(stage))
        ways = [["INPUT", "--source", each, "--destination", slot.node, *api, "--dport", "6443"] for each in there]
        ways += [["OUTPUT", "--source", slot.node, "--destination", each, *api, "--sport", "6443"] for each in there]
        with dropped(slot, ways):
            stage.apply(s.onnx(NAME, "1", **routed))
            told = until_condition(stage, NAME, "RouterUnreachable", "has not loaded ConfigMap")
            seen.told[API] = told
            parts.end(API)
            seen.status[API] = stage.get(NAME)["status"]
        seen.revisions["1"] = until_weight(stage, NAME, "1", 50)
        parts.end("at 50 %")
    assert champion != seen.revisions["2"]
    return seen


def test_the_condition_names_the_router_the_revision_and_the_way_out(denied: Denied) -> None:
    assert "NetworkPolicies" in denied.told["message"]
    assert denied.status["champion"]["revision"] in denied.told["message"]
    assert "podium-router-" in denied.told["message"]


def test_the_service_goes_on_leading_to_the_pods_until_they_can_be_reached(denied: Denied) -> None:
    assert denied.selector[names.LABEL_MODEL] == NAME
    assert condition({"status": denied.status}, "Available")["status"] == "True"
    assert not condition(denied.after, "RouterUnreachable")


def test_nobody_who_calls_notices(denied: Denied) -> None:
    assert not denied.counts.failed, str(denied.counts)


def test_a_caller_that_may_not_reach_the_routers_is_not_answered_and_Podium_cannot_see_it(cut_off: CutOff) -> None:
    assert cut_off.asked == {"before": True, CALLERS: False}
    assert not condition({"status": cut_off.status[CALLERS]}, "RouterUnreachable")
    assert condition({"status": cut_off.status[CALLERS]}, "Available")["status"] == "True"


def test_an_operator_that_may_not_ask_the_routers_says_which_does_not_answer_at_which_port(cut_off: CutOff) -> None:
    assert "podium-router-" in cut_off.told[OPERATOR]["message"]
    assert f"port {PORT}" in cut_off.told[OPERATOR]["message"]
    assert "NetworkPolicy" in cut_off.told[OPERATOR]["message"]


def test_without_their_answer_nobody_loses_the_pods_that_may_still_be_asked(cut_off: CutOff) -> None:
    status = cut_off.status[OPERATOR]

    # A person's promotion is recorded; who was champion keeps its pods until every router has confirmed.
    assert status["champion"]["revision"] == cut_off.revisions["2"]
    assert condition({"status": status}, "Ready")["status"] == "False"
    assert condition({"status": status}, "Available")["status"] == "True"
    assert cut_off.kept == 1


def test_routers_that_may_not_reach_the_API_server_serve_the_champion_on(cut_off: CutOff) -> None:
    assert "podium-router-" in cut_off.told[API]["message"]
    assert cut_off.status[API]["champion"]["revision"] == cut_off.revisions["2"]
    assert list(cut_off.parts[API].revisions) == [cut_off.revisions["2"]]


def test_no_caller_who_is_let_through_notices_any_of_it(cut_off: CutOff) -> None:
    assert list(cut_off.parts) == [CALLERS, OPERATOR, "promoted", API, "at 50 %"]
    for name, counts in cut_off.parts.items():
        assert not counts.failed, f"{name}: {counts}"
