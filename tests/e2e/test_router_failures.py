"""What routers are deprived of on a real cluster, under load: the API server, their agent, configuration, a live pod.

tests/integration/router shows the same of one router, without a kubelet and without the operator.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from podium.api import names
from podium.router.places import PORT, READY_PORT
from tests import stage as s
from tests.canaries import (
    Parts,
    applied,
    command,
    drawn,
    ready_routers,
    routers,
    until_none_fails,
    until_routed,
    until_weight,
)
from tests.client import Object, condition, session, wait
from tests.cluster.progress import run
from tests.e2e.ground import kill, operator_pods, processes, require_host, until_condition
from tests.e2e.test_failover import both_ready
from tests.e2e.world import World, scene_alone
from tests.load import LANES, Counts

NAME = "digits"
AGENT, ENVOY, SERVER = "podium.router.agent", "envoy", "podium_serving"
"""Words of the command lines."""
STEPS = [{"weight": 25}, {"pause": True}, {"weight": 50}, {"pause": True}]
ROUTED: Object = {
    "traffic": {"router": "Envoy"},
    "replicas": 2,
    "rollout": {"strategy": "Canary", "steps": STEPS, "minReadySeconds": 1, "scaleDownDelay": "0s"},
}
SERVER_PORT = 8080
TIMEOUT = 4.0
"""Seconds that a caller waits."""
CRASH, HANG, DIES = "Envoy started anew", "a server stands still", "a server dies three times"
"""Parts in which requests are lost, as docs/traffic.md says."""
ENOUGH = 1_000
"""Requests: over that time, so that what hung before them has been counted."""


@dataclass
class Deprived:
    """What was seen; `parts` of the load in their order."""

    parts: dict[str, Counts] = field(default_factory=dict)
    candidate: str = ""
    frozen: str = ""
    """The router whose agent stood still while the weight was changed."""
    told: Object = field(default_factory=dict)
    """The condition, then."""
    status: Object = field(default_factory=dict)
    """Of the ModelDeployment, then."""
    fresh: Object = field(default_factory=dict)
    """A router pod that could not get its configuration."""
    listens: list[int] = field(default_factory=list)
    """Ports of routers at which that pod answered."""
    dead: bool = False
    """Whether nothing listened in the server that is listed, before and after the requests of that part."""


def answers(pod: Object, port: int, path: str = "/") -> bool:
    """Whether anything answers at a port of a pod."""
    try:
        with session() as asking:
            asking.get(f"http://{pod['status']['podIP']}:{port}{path}", timeout=1)
    except requests.RequestException:
        return False
    return True


def listener(stage: s.Stage) -> int:
    """The port of the routers that the stable Service leads to."""
    return int(stage.client.get("Service", stage.namespace, NAME)["spec"]["ports"][0]["targetPort"])


def restart(pod: Object, word: str, port: int, path: str) -> None:
    """One process of a router is killed; until the kubelet has started it again and it answers."""
    name = pod["metadata"]["name"]
    before = processes(name, running=word)
    kill(name, signal.SIGKILL, running=word)
    wait(
        f"another {word} in {name}",
        lambda: set(processes(name, running=word)) - set(before) and answers(pod, port, path),
        90,
    )


def without_api_server(world: World, stage: s.Stage, parts: Parts, seen: Deprived) -> None:
    """While it is down, and then the operator too, a router's agent and its Envoy start anew, and a server dies."""
    pod, port = ready_routers(stage)[0], listener(stage)
    operators = operator_pods(stage)
    selector = f"{names.LABEL_REVISION}={stage.get(NAME)['status']['champion']['revision']}"
    server = stage.client.list("Pod", stage.namespace, selector)[0]
    with world.cluster.without_api_server():
        parts.end("API server down", ENOUGH)
        for each in operators:
            kill(each["metadata"]["name"], signal.SIGKILL)
        parts.end("operator killed, too")
        restart(pod, AGENT, PORT, "/applied")
        parts.end("agent started anew")
        restart(pod, ENVOY, READY_PORT, "/ready")
        parts.end(CRASH)
        wait("the model through it", lambda: answers(pod, port, "/v2/health/live"), 60)
        parts.end("all that there was before", ENOUGH)
        for _ in range(2):
            restart(server, SERVER, SERVER_PORT, "/v2/health/ready")
        kill(server["metadata"]["name"], signal.SIGKILL, running=SERVER)  # the third time: it stays so for 20 s
        until_none_fails(parts.load, 1.0)
        parts.end(DIES)
        dead = not answers(server, SERVER_PORT)
        parts.end("a dead server that is listed")
        seen.dead = dead and not answers(server, SERVER_PORT)
    wait("both operators", lambda: both_ready(world), s.SLOW_START)


def disagree(stage: s.Stage, parts: Parts, seen: Deprived) -> None:
    """The agent of one of two routers stands still while the weight goes from 25 to 50; then it goes on."""
    seen.frozen = ready_routers(stage)[0]["metadata"]["name"]
    kill(seen.frozen, signal.SIGSTOP, running=AGENT)
    try:
        command(stage, NAME, "resume", seen.candidate)
        seen.told = until_condition(stage, NAME, "RouterUnreachable", seen.frozen)
        stage.until(NAME, "50 % asked", lambda obj: obj["status"]["rollout"]["weight"]["desired"] == 50)
        parts.end("routers disagree", ENOUGH)
        seen.status = stage.get(NAME)["status"]
    finally:
        kill(seen.frozen, signal.SIGCONT, running=AGENT)
    until_weight(stage, NAME, "2", 50)
    parts.end("to 50 %")
    parts.end("at 50 %", ENOUGH)


@contextmanager
def newcomers_refused(world: World) -> Iterator[None]:
    """The API server's port is closed to all pods that are not there yet."""
    slot = world.cluster.slot
    to_api = ["--destination", slot.node, "--protocol", "tcp", "--dport", "6443"]
    known = [pod["status"]["podIP"] for pod in world.client.list("Pod") if pod["status"].get("podIP")]
    refuse = ["INPUT", "--source", slot.pods, *to_api, "--jump", "REJECT", "--reject-with", "tcp-reset"]
    rules = [refuse, *(["INPUT", "--source", each, *to_api, "--jump", "ACCEPT"] for each in sorted({*known}))]
    for rule in rules:  # the later it is inserted, the earlier it is asked
        run(slot.inside("iptables", "--wait", "--insert", *rule))
    try:
        yield
    finally:
        for rule in rules:
            run(slot.inside("iptables", "--wait", "--delete", *rule))


def replace_one_in_vain(world: World, stage: s.Stage, parts: Parts, seen: Deprived) -> None:
    """A router is drained while the one that takes its place cannot reach the API server; then that one can."""
    port, before = listener(stage), {pod["metadata"]["name"] for pod in routers(stage)}

    def failed() -> Object | None:
        for pod in routers(stage):
            states = (pod["status"].get("initContainerStatuses") or [{}])[0]
            ended = [states.get(each, {}).get("terminated") for each in ("state", "lastState")]
            if pod["metadata"]["name"] not in before and any(each and each["exitCode"] for each in ended):
                return pod
        return None

    with newcomers_refused(world):
        stage.client.delete("Pod", stage.namespace, ready_routers(stage)[0]["metadata"]["name"])
        pod = wait("a router pod that cannot start", failed, s.SLOW_START)
        parts.end("a router without configuration", ENOUGH)
        seen.fresh = stage.client.get("Pod", stage.namespace, pod["metadata"]["name"])
        seen.listens = [each for each in (port, READY_PORT, PORT) if answers(seen.fresh, each)]
    wait("two routers again", lambda: len(ready_routers(stage)) == 2, s.SLOW_START)
    parts.end("it has its configuration")


def freeze_a_model_server(stage: s.Stage, parts: Parts) -> None:
    """One of the champion's two servers stands still, and is listed until its readiness probe has failed twice."""
    selector = f"{names.LABEL_REVISION}={stage.get(NAME)['status']['champion']['revision']}"
    name = stage.client.list("Pod", stage.namespace, selector)[0]["metadata"]["name"]

    def ready() -> bool:
        return condition(stage.client.get("Pod", stage.namespace, name), "Ready")["status"] == "True"

    kill(name, signal.SIGSTOP)
    try:
        wait("it is listed no more", lambda: not ready(), 60)
        until_none_fails(parts.load, TIMEOUT)  # routers learn of it later
        parts.end(HANG)
        parts.end("it is listed no more", ENOUGH)
    finally:
        kill(name, signal.SIGCONT)
    wait("it is listed again", ready, 60)
    parts.end("it goes on", ENOUGH)


@scene_alone
def deprived(world: World) -> Deprived:
    """A canary at 25 % and then at 50 %, and one loss after the other. Alone: the API server is everybody's."""
    require_host(world.cluster)
    stage, seen = world.stage("e2e-deprived"), Deprived()
    stage.apply(s.onnx(NAME, "1", **ROUTED))
    stage.until_ready(NAME, "1")
    until_routed(stage, NAME)
    stage.apply(s.onnx(NAME, "2", **ROUTED))
    seen.candidate = until_weight(stage, NAME, "2", 25)
    wait("two routers", lambda: len(ready_routers(stage)) == 2, s.SLOW_START)
    with stage.load(NAME, world.digits.questions(), timeout=TIMEOUT) as load:
        parts = Parts(load, seen.parts)
        disagree(stage, parts, seen)
        replace_one_in_vain(world, stage, parts, seen)
        freeze_a_model_server(stage, parts)
        # At the end: for up to half a minute after it Kubernetes' own controllers do not watch again, and a pod that
        # went then would stay listed.
        without_api_server(world, stage, parts, seen)
    print("".join(f"\n{name}: {counts}" for name, counts in seen.parts.items()))
    return seen


def test_what_a_router_lives_on_may_be_gone_and_no_request_is_lost(deprived: Deprived) -> None:
    sound = {name: counts for name, counts in deprived.parts.items() if name not in (CRASH, HANG, DIES)}

    assert len(sound) == 12, list(deprived.parts)
    for name, counts in sound.items():
        assert not counts.failed, f"{name}: {counts}"


def test_routers_keep_the_weight_while_the_API_server_is_down_and_after_their_own_restart(deprived: Deprived) -> None:
    for name in ("API server down", "agent started anew", "all that there was before"):
        counts = deprived.parts[name]
        assert drawn(counts.revisions.get(deprived.candidate, 0), counts.answered, 50), f"{name}: {counts}"


def test_a_crash_of_Envoy_costs_connections_and_no_answer_is_wrong_or_late(deprived: Deprived) -> None:
    counts = deprived.parts[CRASH]

    assert set(counts.failures) <= {"connect", "reset"}, str(counts)
    # Until the kubelet has started it again; a restart of the whole pod would take some ten times as long.
    assert counts.failed_for <= 5, str(counts)


def test_a_server_that_dies_takes_with_it_what_it_was_answering_and_nothing_that_comes_later(
    deprived: Deprived,
) -> None:
    counts = deprived.parts[DIES]

    assert deprived.dead
    assert set(counts.failures) <= {"status 503"}, str(counts)
    assert counts.failed <= 3 * LANES, str(counts)


def test_a_weight_that_one_router_has_not_taken_is_not_applied_and_that_router_is_named(deprived: Deprived) -> None:
    assert deprived.told["reason"] == "RouterUnreachable"
    assert deprived.frozen in deprived.told["message"]
    assert applied({"status": deprived.status}, "2") != 50
    assert deprived.status["rollout"]["weight"]["desired"] == 50


def test_routers_that_disagree_each_keep_a_weight_of_their_own(deprived: Deprived) -> None:
    counts = deprived.parts["routers disagree"]
    found = counts.revisions.get(deprived.candidate, 0)

    assert counts.answered * 0.25 < found < counts.answered * 0.5, str(counts)
    counts = deprived.parts["at 50 %"]
    assert drawn(counts.revisions.get(deprived.candidate, 0), counts.answered, 50), str(counts)


def test_a_router_without_configuration_is_not_ready_and_answers_nobody(deprived: Deprived) -> None:
    assert condition(deprived.fresh, "Ready")["status"] == "False"
    assert deprived.fresh["status"]["podIP"]
    assert deprived.listens == []


def test_a_server_that_stands_still_holds_what_it_has_taken_and_fails_nobody_else(deprived: Deprived) -> None:
    counts = deprived.parts[HANG]

    assert set(counts.failures) == {"late"}, str(counts)
    # It is one of two servers of half of the requests, and the more of them it holds the fewer it gets.
    assert counts.failed < counts.sent / 4, str(counts)
