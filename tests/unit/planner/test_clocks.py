"""Clocks that differ: nodes' by up to five minutes either way, two operators' by up to two.

Whatever they say, a rollout takes as long and ends in the same way as with one clock for all.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS
from podium.rollout.wire import parse_time
from tests.unit.planner.given import BLUE_GREEN, MANUAL, created, serving, switched, updating
from tests.unit.planner.test_canary import canary
from tests.unit.planner.test_envoy import ENVOY, is_routed
from tests.unit.planner.world import NAME, NAMESPACE, World, model

NODES = [-300, 180, 300]
OPERATORS = [-120, 120]
Story = Callable[[World], None]
STEPS = {"weight": 50, "for": "20s"}
SPECS: dict[str, Object] = {
    "RollingUpdate": {},
    "BlueGreen": {"rollout": BLUE_GREEN},
    "RollingUpdate that waits": {"rollout": {"minReadySeconds": 60, "progressDeadline": "4m"}},
    "Canary by its steps": {"rollout": canary(STEPS)},
}
EVIDENCE: Object = {"rollout": {"strategy": "Canary", "steps": [STEPS]}, "traffic": ENVOY}


def begun(kubelet_ahead: float, **spec: Any) -> World:
    """Version 1 serves, on nodes whose clocks are so far ahead; version 2 has just been asked for."""
    world = created(replicas=2, **spec)
    world.cluster.kubelet_ahead = kubelet_ahead
    if "traffic" in spec:
        world.routers.start()
        world.until(lambda: is_routed(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.edit(model=model("2"))
    return world


def end(world: World) -> Object:
    """What came of it, but for times."""
    status = world.status
    command = status.get("lastCommand", {})
    return {
        "phase": status["phase"],
        "conditions": sorted((c["type"], c["status"], c["reason"]) for c in status["conditions"]),
        "champion": status["champion"]["version"],
        "records": [(r["data"]["version"], *outcome(world, r)) for r in world.api.all(CONTROLLER_REVISIONS)],
        "replicas": {d["metadata"]["name"]: d["spec"]["replicas"] for d in world.api.all(DEPLOYMENTS)},
        "command": (command.get("value"), command.get("result")),
        "events": sorted(f"{said.type} {said.reason}" for said in world.heard.said),
    }


def outcome(world: World, revision: Object) -> tuple[str, str]:
    name = revision["metadata"]["name"]
    return world.outcome(name), world.rule(name)


def healthy(world: World) -> None:
    world.advance(300)


def crashes(world: World) -> None:
    world.behave("2", failure="crash")
    world.advance(300)


def never_ready(world: World) -> None:
    world.behave("2", ready_after=None)
    world.advance(700)


def unready_for_a_while(world: World) -> None:
    world.behave("2", failure="volumes", until=15)
    world.advance(300)


def without_its_volumes(world: World) -> None:
    world.behave("2", failure="volumes")
    world.advance(700)


def ready_but_not_for_long_enough(world: World) -> None:
    """Every pod turns ready, and unready again before minReadySeconds are over."""
    for _ in range(50):
        world.behave("2")
        world.advance(8)
        world.behave("2", ready_after=None)
        world.advance(8)


def hurts(world: World) -> None:
    world.measuring.callers.candidate = 1.0
    world.advance(300)


STORIES: list[Story] = [
    healthy,
    crashes,
    never_ready,
    unready_for_a_while,
    without_its_volumes,
    ready_but_not_for_long_enough,
]


def comes_to_the_same(story: Story, usual: World, skewed: World) -> None:
    """Play the story in both, to its end."""
    for world in (usual, skewed):
        story(world)
        world.rest()
    assert end(skewed) == end(usual)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("ahead", NODES)
def test_nodes_clocks_change_nothing(story: Story, ahead: float, spec: Object) -> None:
    comes_to_the_same(story, begun(0, **spec), begun(ahead, **spec))


@pytest.mark.parametrize(("story", "rule"), [(healthy, "evidence"), (hurts, "harm: errors")])
@pytest.mark.parametrize("ahead", NODES)
def test_nodes_clocks_change_nothing_of_what_evidence_decides(story: Story, rule: str, ahead: float) -> None:
    usual, skewed = begun(0, **EVIDENCE), begun(ahead, **EVIDENCE)
    comes_to_the_same(story, usual, skewed)
    assert skewed.rule(skewed.revision("2")) == rule


def test_a_candidate_on_nodes_that_are_three_minutes_ahead_is_in_time() -> None:
    world = begun(180, rollout={"progressDeadline": "60s"})
    world.advance(90)
    assert outcome(world, world.need(CONTROLLER_REVISIONS, world.revision("2"))) == ("Promoted", "rolling-complete")


def handed_over(ahead: float, seconds: int, **spec: Any) -> tuple[World, World]:
    """The same rollout twice, each with another operator after so many seconds: by the same clock, and by another."""
    usual, skewed = begun(0, **spec), begun(0, **spec)
    skewed.advance(seconds)
    skewed.hand_over(ahead=ahead)
    usual.advance(seconds)
    usual.restart_operator()
    return usual, skewed


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("seconds", [4, 12, 55])
@pytest.mark.parametrize("story", [healthy, crashes, never_ready])
@pytest.mark.parametrize("ahead", OPERATORS)
def test_another_operators_clock_changes_nothing(story: Story, ahead: float, seconds: int, spec: Object) -> None:
    comes_to_the_same(story, *handed_over(ahead, seconds, **spec))


@pytest.mark.parametrize("seconds", [12, 55])
@pytest.mark.parametrize(("story", "rule"), [(healthy, "evidence"), (hurts, "harm: errors")])
@pytest.mark.parametrize("ahead", OPERATORS)
def test_nor_of_what_evidence_decides(story: Story, rule: str, ahead: float, seconds: int) -> None:
    usual, skewed = handed_over(ahead, seconds, **EVIDENCE)
    comes_to_the_same(story, usual, skewed)
    assert skewed.rule(skewed.revision("2")) == rule


@pytest.mark.parametrize("nodes", [-300, 300])
@pytest.mark.parametrize("seconds", [4, 12, 40])
def test_a_hand_over_on_nodes_that_are_ahead_or_behind_rolls_nothing_back(seconds: int, nodes: float) -> None:
    world = begun(nodes, rollout={"minReadySeconds": 30, "progressDeadline": "100s", "maxSurge": "100%"})
    world.advance(seconds)
    world.hand_over(ahead=-120)
    world.advance(400)
    assert end(world)["champion"] == "2"


def test_a_take_over_after_the_deadline_waits_until_what_is_ready_can_be_counted() -> None:
    # Given a candidate that is available in full on nodes that are ahead, held by a person, and no operator,
    world = begun(300, rollout=BLUE_GREEN | {"progressDeadline": "60s", "minReadySeconds": 20})
    world.advance(1)
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 2)
    for _ in range(70):
        world.cluster.act()
        world.now += timedelta(seconds=1)
    # when one takes over long after the deadline,
    world.restart_operator()
    # then it counts them, and does not judge before it could.
    world.until(lambda: world.outcome(world.revision("2")) != "")
    assert world.outcome(world.revision("2")) == "Promoted"


def test_an_operator_whose_clock_is_ahead_does_not_judge_by_anothers_stamps_too_early() -> None:
    world = begun(0, rollout={"progressDeadline": "60s"})
    world.behave("2", ready_after=40)
    world.advance(8)
    world.hand_over(ahead=120)
    world.until(lambda: world.outcome(world.revision("2")) != "")
    # With two pods in turn it takes longer than the deadline: by its own clock's measure, not at once.
    began = parse_time(world.status["rollout"]["startedAt"])
    assert world.now - began >= timedelta(seconds=60)


# --- commands and stamps


@pytest.mark.parametrize("ahead", OPERATORS)
def test_a_command_after_a_hand_over_is_acted_on_and_told(ahead: float) -> None:
    world = updating(replicas=2, rollout=MANUAL)
    candidate = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    before = world.command("pause", candidate, "t1")
    world.advance(5)
    assert world.status["lastCommand"]["value"] == before
    world.hand_over(ahead=ahead)
    for verb, token, result in (("resume", "t2", "Done"), ("explode", "t3", "Refused"), ("promote", "t4", "Done")):
        value = world.command(verb, candidate, token)
        world.advance(5)
        last = world.status["lastCommand"]
        assert (last["value"], last["result"]) == (value, result)
    assert world.outcome(candidate) == "Promoted"


def test_stamps_only_grow_whoever_makes_them() -> None:
    world = serving(replicas=1)
    stamps: list[str] = []
    champion = world.revision("1")
    for number, ahead in enumerate((0, 120, -120, 0, -60)):
        world.hand_over(ahead=ahead)
        world.advance(1)
        world.command("pause" if number % 2 else "explode", champion, f"t{number}")
        world.advance(1)
        stamps.append(world.status["lastCommand"]["at"])
        assert world.status["lastCommand"]["value"].endswith(f"t{number}")
    assert stamps == sorted(set(stamps))


def test_a_status_whose_stamp_cannot_be_read_holds_no_command_up() -> None:
    world = serving(replicas=1)
    for at in ("yesterday", None):
        world.api.update(
            *(MODEL_DEPLOYMENTS, NAMESPACE, NAME),
            lambda obj, at=at: obj["status"].update(lastCommand={"value": "x", "at": at}),  # type: ignore[misc]
            "somebody",
        )
        value = world.command("explode", world.revision("1"), f"t{at}")
        world.advance(2)
        assert world.status["lastCommand"]["value"] == value


# --- the warm window


@pytest.mark.parametrize("ahead", [-120, -30, 30, 120])
@pytest.mark.parametrize("seconds", [0, 100, 295, 310])
def test_a_warm_window_shifts_by_the_difference_and_ends_once(ahead: float, seconds: int) -> None:
    world = switched(replicas=2)
    old = world.revision("1")
    began = parse_time(world.status["champion"]["since"])
    warm: list[bool] = []
    world.after_pass.append(lambda: warm.append("previous" in world.status))
    world.advance(seconds)
    world.hand_over(ahead=ahead)
    world.until(lambda: world.replicas(old) is None, within=600)
    lasted = (world.now - began).total_seconds()
    assert 300 - max(ahead, 0) - 1 <= lasted <= 300 - min(ahead, 0) + 15
    world.hand_over(ahead=-ahead)
    world.rest()
    assert world.replicas(old) is None
    assert warm == sorted(warm, reverse=True), "never again once it has ended"
