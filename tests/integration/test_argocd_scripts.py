"""What Argo CD shows of a ModelDeployment, and what its actions do: all conditions, row by row.

Every row is a world that the real planner has judged, and that a person's command is then given to.
"""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from podium.api import names
from podium.api.reasons import Reason
from podium.reconcile.conditions import PERSON_AWAITED
from tests.client import Object
from tests.integration.customizations import CONFIG_MAP, Customizations, ScriptError
from tests.unit.planner.given import BLUE_GREEN, rolled_back, serving, switched, updating
from tests.unit.planner.situations import sample_ratio
from tests.unit.planner.test_canary import PAUSE, at_step, canary
from tests.unit.planner.test_conditions import ROWS
from tests.unit.planner.test_suspend import suspended
from tests.unit.planner.weighed import until_weighed, weighed
from tests.unit.planner.world import World, model

COMMANDS = ("promote", "abort", "retry", "pause", "resume", "restart")


@dataclass(frozen=True)
class Row:
    """How a world gets there, and what Argo CD makes of it. `offers` are commands; suspend is one more."""

    given: Callable[[], World]
    health: str
    offers: str = ""


def _weighed() -> World:
    world = weighed()
    until_weighed(world)
    world.advance(2)
    return world


def _promoting() -> World:
    world = at_step(1, canary(10, 50))
    world.command("promote", world.revision("2"))
    world.advance(1)
    assert world.phase == "Promoting"
    return world


def _no_data() -> World:
    world = weighed()
    until_weighed(world)
    world.measuring.holds = ("routers are not read",)
    world.until(lambda: world.condition("Reconciling") == ("True", "NoData"))
    return world


def _inconclusive() -> World:
    world = weighed(rate=0.1, maxDuration="1m", onInconclusive="Pause")
    world.until(lambda: world.condition("Ready") == ("False", "Inconclusive"))
    return world


def _at_a_pause() -> World:
    world = updating(replicas=10, rollout=canary({"weight": 10}, PAUSE))
    world.until(lambda: world.phase == "Paused")
    return world


def _paused_by_command() -> World:
    world = at_step(1, canary(10, 50))
    world.command("pause", world.revision("2"))
    world.until(lambda: world.phase == "Paused")
    return world


def _paused_with_pods_lost() -> World:
    world = ROWS["pods lost, available < T"].given()
    world.edit(paused=True)
    world.advance(3)
    return world


def _to_zero_midway() -> World:
    world = at_step(1, canary(10, 50))
    world.edit(replicas=0)
    world.until(lambda: world.phase == "Paused")
    return world


def _invalid() -> World:
    world = serving()
    world.edit(rollout={"strategy": "Magic"})
    world.advance(3)
    return world


def _edited() -> World:
    """The spec has just been changed, and the operator has not looked yet."""
    world = rolled_back()
    world.edit(model=model("3"))
    return world


TABLE = {
    "created, not seen": Row(ROWS["created, not seen"].given, "Progressing"),
    "first revision coming up": Row(ROWS["first revision coming up"].given, "Progressing", "pause"),
    "first revision failed": Row(ROWS["first revision failed"].given, "Degraded", "pause retry"),
    "healthy": Row(serving, "Healthy", "pause restart"),
    "healthy, predecessor warm": Row(lambda: switched(replicas=2), "Healthy", "abort pause restart"),
    "pods lost, available < T": Row(ROWS["pods lost, available < T"].given, "Progressing", "pause restart"),
    "pods lost, none available": Row(ROWS["pods lost, none available"].given, "Progressing", "pause restart"),
    "replicas 0": Row(ROWS["replicas 0"].given, "Healthy", "pause restart"),
    "rolling": Row(ROWS["rolling"].given, "Progressing", "abort pause"),
    "rolling, BlueGreen": Row(lambda: updating(replicas=2, rollout=BLUE_GREEN), "Progressing", "abort pause"),
    "rolling, Canary": Row(lambda: at_step(1, canary(10, 50)), "Progressing", "abort pause promote"),
    "analysing": Row(_weighed, "Progressing", "abort pause promote"),
    "promoting": Row(_promoting, "Progressing", "abort pause promote"),
    "rolling back": Row(ROWS["rolling back"].given, "Progressing", "pause"),
    "holding for data": Row(_no_data, "Progressing", "abort pause promote"),
    "waiting for a person": Row(ROWS["waiting for a person"].given, "Suspended", "abort pause promote"),
    "waiting at a step": Row(_at_a_pause, "Suspended", "abort pause promote resume"),
    "waiting, inconclusive": Row(_inconclusive, "Suspended", "abort pause promote"),
    "waiting, requests not split": Row(sample_ratio, "Suspended", "abort pause promote resume"),
    "paused by command": Row(_paused_by_command, "Suspended", "abort resume"),
    "paused, something pending": Row(ROWS["paused, something pending"].given, "Suspended"),
    "paused midway": Row(ROWS["paused midway"].given, "Suspended", "abort"),
    "paused, nothing pending": Row(ROWS["paused, nothing pending"].given, "Suspended", "restart"),
    "paused, pods lost": Row(_paused_with_pods_lost, "Progressing", "restart"),
    "replicas 0 midway": Row(_to_zero_midway, "Suspended", "abort pause promote"),
    "suspended": Row(lambda: suspended(serving()), "Suspended"),
    "suspended midway": Row(lambda: suspended(updating(replicas=2)), "Suspended"),
    "rolled back, champion serves": Row(rolled_back, "Degraded", "pause retry"),
    "invalid, as is": Row(_invalid, "Degraded"),
    "unknown runtime, as is": Row(ROWS["invalid, as is"].given, "Degraded", "pause"),
    "names taken, as is": Row(ROWS["names taken, as is"].given, "Degraded", "pause"),
    "edited, not seen yet": Row(_edited, "Progressing", "pause"),
}

NOT_WORTH_OFFERING = {
    ("first revision coming up", "retry"),
    ("names taken, as is", "retry"),
    ("rolling back", "retry"),
    ("paused by command", "pause"),
    ("paused, something pending", "pause"),
    ("paused midway", "pause"),
    ("paused, nothing pending", "pause"),
    ("paused, pods lost", "pause"),
}
"""What Podium would do: a second pause beside the first, a new attempt of what has not failed yet."""


@pytest.fixture(scope="module")
def argocd() -> Iterator[Customizations]:
    with Customizations() as customizations:
        yield customizations


def test_the_table_has_every_row_that_the_planner_is_tested_for() -> None:
    renamed = {"invalid, as is": "unknown runtime, as is"}

    assert {renamed.get(name, name) for name in ROWS} <= TABLE.keys()
    assert {"suspended", "analysing", "holding for data"} <= TABLE.keys(), "rows of api.md that it is not tested for"


def test_the_table_has_a_row_for_each_reason_that_a_person_is_waited_for() -> None:
    found = {(given(name).condition("Paused") or ("", ""))[1] for name in TABLE}

    assert found >= PERSON_AWAITED - {Reason.PAUSED} | {Reason.SPEC_PAUSED, Reason.PAUSED_BY_COMMAND}


@cache
def given(name: str) -> World:
    """A row's world, for tests that leave it as it is."""
    return TABLE[name].given()


@pytest.mark.parametrize("name", TABLE)
def test_each_row_of_the_table(argocd: Customizations, name: str) -> None:
    world, row = given(name), TABLE[name]

    found = argocd.judge(world.md)

    suspend = "unsuspend" if world.spec.get("suspend") else "suspend"
    assert (found.health, found.offered) == (row.health, {*row.offers.split(), suspend})
    assert found.actions.keys() == {*COMMANDS, "suspend", "unsuspend"}
    assert found.message


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, row in TABLE.items() for verb in row.offers.split()])
def test_podium_accepts_what_is_offered(argocd: Customizations, name: str, verb: str) -> None:
    world = TABLE[name].given()

    value = _only_command(world.md, argocd.act(world.md, verb))
    world.annotate(names.ANNOTATION_COMMAND, value)
    world.advance(5)

    last = world.status["lastCommand"]
    assert (last["value"], last["result"] in ("Done", "Accepted")) == (value, True), last


@pytest.mark.parametrize("name", TABLE)
def test_what_is_not_offered_podium_does_not_do(argocd: Customizations, name: str) -> None:
    world = given(name)
    exempt = {verb for row, verb in NOT_WORTH_OFFERING if row == name} | set(TABLE[name].offers.split())
    for verb in set(COMMANDS) - exempt:
        try:
            value = _only_command(world.md, argocd.act(world.md, verb))
        except ScriptError:
            continue  # there is no revision that it could be about
        world.annotate(names.ANNOTATION_COMMAND, value)
        world.advance(2)

        last = world.status.get("lastCommand") or {}
        assert last.get("value") != value or last["result"] == "Refused", last


def _only_command(before: Object, after: Object) -> str:
    """The command that an action wrote; what it changed besides is a failure."""
    expected = copy.deepcopy(before)
    value: str = after["metadata"]["annotations"][names.ANNOTATION_COMMAND]
    expected["metadata"].setdefault("annotations", {})[names.ANNOTATION_COMMAND] = value
    assert after == expected
    return value


def test_the_same_action_again_is_another_command(argocd: Customizations) -> None:
    world = serving()

    first = argocd.act(world.md, "pause")["metadata"]["annotations"][names.ANNOTATION_COMMAND]
    world.annotate(names.ANNOTATION_COMMAND, first)
    second = argocd.act(world.md, "pause")["metadata"]["annotations"][names.ANNOTATION_COMMAND]

    assert first.split()[:2] == second.split()[:2] == ["pause", world.revision("1")]
    assert first != second


def test_an_action_without_a_revision_to_name_says_so(argocd: Customizations) -> None:
    with pytest.raises(ScriptError, match=r"^there is no revision to promote: .* serves with 1 pod"):
        argocd.act(serving().md, "promote")


@pytest.mark.parametrize(("action", "suspend"), [("suspend", True), ("unsuspend", False)])
def test_suspend_and_unsuspend_set_the_field_and_nothing_else(
    argocd: Customizations, action: str, suspend: bool
) -> None:
    before = serving(suspend=not suspend).md if suspend else suspended(serving()).md

    after = argocd.act(before, action)

    expected = copy.deepcopy(before)
    expected["spec"]["suspend"] = suspend
    assert after == expected


def test_a_rollback_says_what_was_rolled_back_and_why(argocd: Customizations) -> None:
    world = rolled_back()

    assert argocd.judge(world.md).message == world.status["message"]


def test_a_pause_says_how_it_is_ended(argocd: Customizations) -> None:
    world = _paused_by_command()

    assert f"resume {world.revision('2')}" in world.message("Paused")
    assert argocd.judge(world.md).message == f"{world.message()} {world.message('Paused')}"


def test_a_status_that_somebody_emptied_is_not_healthy(argocd: Customizations) -> None:
    world = serving()
    world.lose_status()

    assert argocd.judge(world.md).health == "Progressing"


def test_a_ModelRuntime_is_healthy(argocd: Customizations) -> None:
    runtime = {"apiVersion": names.API_VERSION, "kind": "ModelRuntime", "metadata": {"name": "mine"}, "spec": {}}

    found = argocd.judge(runtime)

    assert (found.health, found.actions) == ("Healthy", {})


def test_the_scripts_use_no_library_that_argocd_may_lack() -> None:
    """Only the base and table libraries are loaded for what stands in argocd-cm, and a part of os."""
    text = CONFIG_MAP.read_text()

    assert [library for library in ("string.", "math.", "os.", "io.", "require") if library in text] == []


def test_the_ConfigMap_is_made_of_its_scripts() -> None:
    made = subprocess.run(
        [sys.executable, "charts/embed_argocd.py", "--check"], capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
