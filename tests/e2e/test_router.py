"""A canary through routers on a real cluster, under load: its weight is exact, and routers come and go unseen."""

import json
from dataclasses import dataclass, field

from podium.api import names
from podium.router.places import PORT
from podium.router.said import Said
from podium.router.state import KEY
from tests import stage as s
from tests.canaries import applied, command, drawn, kill_routers, ready_routers, routers, until_routed, until_weight
from tests.client import Object, condition, wait
from tests.e2e.ground import until_condition
from tests.e2e.world import World, scene
from tests.load import Counts, Load

NAME = "digits"
ROUTED: Object = {"traffic": {"router": "Envoy"}, "replicas": 1}
ENOUGH = 1_500
"""Requests that a share is judged by."""
REPAIRS = 5
"""By default so many within ten minutes, and then a field is left to whoever writes it (`drift_limit`)."""
WRITER = "python-requests"
"""What the API server calls the tests' own client."""
SPOOFED = 20
"""Requests that all fall to a candidate at 25 % by chance once in 10**12 runs."""


@dataclass
class Canary:
    """What was seen: parts of the load, each since the one before, and how the rollouts ended."""

    parts: dict[str, Counts] = field(default_factory=dict)
    candidates: dict[str, str] = field(default_factory=dict)
    """Revisions by version, as candidates."""
    decisions: list[Object] = field(default_factory=list)
    spoofed: set[str] = field(default_factory=set)
    """Revisions that answered callers who named the candidate's in the header."""
    replaced: bool = False
    """Whether no router pod is left of those that there were at the beginning."""
    contested: Object = field(default_factory=dict)
    unread: Object = field(default_factory=dict)
    """Conditions, while nonsense stands in the ConfigMap that tells the routers."""
    refused: list[str] = field(default_factory=list)
    """What each agent says of that nonsense."""


@dataclass
class _Log:
    """Cuts the load into parts."""

    load: Load
    seen: Canary

    def __post_init__(self) -> None:
        self.load.await_answers()
        self._counted = self.load.counts()

    def part(self, name: str, answers: int = 200) -> None:
        """All since the last part, and so many answers more."""
        self.load.await_answers(answers)
        now = self.load.counts()
        self.seen.parts[name], self._counted = now.since(self._counted), now


def rollout(*steps: Object) -> Object:
    """A canary that goes by its steps, and a person."""
    by_steps = {"strategy": "Canary", "steps": list(steps), "analysis": {"metrics": []}}
    return {**by_steps, "minReadySeconds": 5, "scaleDownDelay": "0s"}


def spoof(stage: s.Stage, world: World, candidate: str) -> set[str]:
    """Callers ask for the candidate by the header that only routers may set; who answered them."""
    headers = {"x-podium-revision": candidate}
    return {stage.ask(NAME, world.digits.images[0], headers=headers)[1] for _ in range(SPOOFED)}


def lose_candidate(stage: s.Stage, candidate: str) -> None:
    """Its only pod is deleted, as by a node's drain: it has no weight until there is another."""
    (pod,) = stage.client.list("Pod", stage.namespace, f"{names.LABEL_REVISION}={candidate}")
    stage.client.delete("Pod", stage.namespace, pod["metadata"]["name"])
    stage.until(NAME, "a candidate without a weight", lambda obj: applied(obj, "2") == 0)
    until_weight(stage, NAME, "2", 25)


def restart_routers(stage: s.Stage) -> bool:
    """One after the other, as at an upgrade; whether all are others than before."""
    before = {pod["metadata"]["name"] for pod in routers(stage)}
    stage.cluster.kubectl(f"--namespace={stage.namespace}", "rollout", "restart", f"deployment/{names.ROUTER}")

    def all_new() -> bool:
        now = routers(stage)
        ready = [pod for pod in now if condition(pod, "Ready").get("status") == "True"]
        listed = stage.client.list("Pod", stage.namespace, f"{names.LABEL_ROUTER}={names.ROUTER}")
        return len(ready) == 2 == len(now) and not before & {pod["metadata"]["name"] for pod in listed}

    return wait("two new routers alone", all_new, 300)


def tear_config_map(stage: s.Stage, seen: Canary) -> None:
    """Somebody writes nonsense to it, time and again: Podium puts it back five times, and then says who does that."""
    name = names.routing_name(NAME)
    before = stage.client.get("ConfigMap", stage.namespace, name)["data"]

    def mended() -> bool:
        return bool(stage.client.get("ConfigMap", stage.namespace, name)["data"] == before)

    def refused_by_all() -> list[str] | None:
        path = f"/api/v1/namespaces/{stage.namespace}/pods/{{}}:{PORT}/proxy/applied"
        found = [
            Said.read(json.loads(stage.cluster.kubectl("get", "--raw", path.format(pod["metadata"]["name"]))))
            for pod in ready_routers(stage)
        ]
        return [said.refused[name] for said in found] if found and all(name in said.refused for said in found) else None

    for again in range(REPAIRS + 1):
        wait(f"the ConfigMap as it was, time {again}", mended, 60)
        stage.client.patch("ConfigMap", stage.namespace, name, {"data": dict.fromkeys(before, "{")})
    seen.contested = until_condition(stage, NAME, "AnotherWriter", name)
    seen.unread = until_condition(stage, NAME, "RouterUnreachable", name)
    seen.refused = wait("every agent refuses it", refused_by_all, 60)


@scene
def canary_by_routers(world: World) -> Canary:
    """Version 2 at 25 %, while all routers are replaced and nonsense is written for them; promoted. Then an abort."""
    stage, seen = world.stage("e2e-router"), Canary()
    first = rollout({"weight": 25}, {"pause": True})
    stage.apply(s.onnx(NAME, "1", rollout=first, **ROUTED))
    stage.until_ready(NAME, "1")
    until_routed(stage, NAME)
    with world.load_turn, stage.load(NAME, world.digits.questions()) as load:
        log = _Log(load, seen)
        stage.apply(s.onnx(NAME, "2", rollout=first, **ROUTED))
        seen.candidates["2"] = until_weight(stage, NAME, "2", 25)
        log.part("to 25 %")
        log.part("at 25 %", ENOUGH)
        seen.spoofed = spoof(stage, world, seen.candidates["2"])
        lose_candidate(stage, seen.candidates["2"])
        log.part("candidate's pod lost")
        seen.replaced = restart_routers(stage)
        log.part("routers replaced")
        tear_config_map(stage, seen)
        log.part("nonsense", ENOUGH)
        command(stage, NAME, "promote", seen.candidates["2"])
        seen.decisions.append(stage.until_ready(NAME, "2")["status"]["rollout"]["decision"])
        log.part("promoted")

        stage.apply(s.onnx(NAME, "1", rollout=rollout({"weight": 50}, {"pause": True}), **ROUTED))
        seen.candidates["1"] = until_weight(stage, NAME, "1", 50)
        log.part("to 50 %")
        log.part("at 50 %", ENOUGH)
        command(stage, NAME, "abort", seen.candidates["1"])
        seen.decisions.append(stage.until_phase(NAME, "RolledBack")["status"]["rollout"]["decision"])
        log.part("aborted")
        log.part("after the abort")

        # The control: what no drain precedes is seen.
        kill_routers(stage)
        wait("two routers again", lambda: load.counts().failed and len(ready_routers(stage)) == 2, s.SLOW_START)
        log.part("routers killed")
    return seen


def test_nothing_that_is_done_in_order_loses_a_request(canary_by_routers: Canary) -> None:
    parts = {name: counts for name, counts in canary_by_routers.parts.items() if name != "routers killed"}

    assert len(parts) == 10
    for name, counts in parts.items():
        assert not counts.failed, f"{name}: {counts}"


def test_routers_that_are_killed_are_seen_by_the_same_load(canary_by_routers: Canary) -> None:
    assert canary_by_routers.parts["routers killed"].failed


def test_each_step_has_its_weight_exactly(canary_by_routers: Canary) -> None:
    for name, version, weight in (("at 25 %", "2", 25), ("nonsense", "2", 25), ("at 50 %", "1", 50)):
        counts = canary_by_routers.parts[name]
        found = counts.revisions.get(canary_by_routers.candidates[version], 0)
        assert drawn(found, counts.answered, weight), f"{name}: {counts}"


def test_no_caller_chooses_a_revision_by_the_routers_header(canary_by_routers: Canary) -> None:
    both = set(canary_by_routers.parts["at 25 %"].revisions)

    assert canary_by_routers.spoofed <= both
    assert canary_by_routers.spoofed - {canary_by_routers.candidates["2"]}


def test_a_person_promotes_the_one_and_aborts_the_other(canary_by_routers: Canary) -> None:
    promoted, aborted = canary_by_routers.decisions

    assert (promoted["verdict"], promoted["by"]) == ("Promoted", "person")
    assert (aborted["verdict"], aborted["by"]) == ("RolledBack", "person")
    # All requests are the champion's again: no straggler of the candidate's.
    after = canary_by_routers.parts["after the abort"]
    assert list(after.revisions) == [canary_by_routers.candidates["2"]]


def test_all_routers_were_replaced(canary_by_routers: Canary) -> None:
    assert canary_by_routers.replaced


def test_nonsense_that_comes_again_is_refused_by_every_agent_and_told_with_who_writes_it(
    canary_by_routers: Canary,
) -> None:
    name = names.routing_name(NAME)

    assert canary_by_routers.contested["type"] == "DriftContested"
    assert f"ConfigMap {name}: data.{KEY} changed by {WRITER} after {REPAIRS}" in canary_by_routers.contested["message"]
    assert f"do not understand ConfigMap {name}" in canary_by_routers.unread["message"]
    assert len(canary_by_routers.refused) == 2
    assert all(f"ConfigMap {name}, {KEY}" in each for each in canary_by_routers.refused)
