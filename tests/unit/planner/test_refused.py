"""Refusals: what the API server refuses stops only what relies on it, and status says what was written.

Every fault at every write of a few scenarios, once and for a while; then single rows of the table.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from podium.api import names
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS, PDBS, SERVICES
from podium.watch.queue import LAST_BACKOFF
from tests.invariants.reading import champion_of
from tests.unit.planner.forks import Forks
from tests.unit.planner.given import AUTOSCALING, BLUE_GREEN, created, rolled_back, serving, switched
from tests.unit.planner.refusing import FAULTS, Refusing
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import NAME, NAMESPACE, RETRY, World, model

LASTS = 90
"""Seconds for which a lasting fault refuses; less than any deadline."""

CANARY = {"strategy": "Canary", "steps": [{"weight": 50, "for": "10s"}]}
DECISIONS = {"RolloutStarted", "Promoted"}
"""Events that tell of a decision alone; that of a rollback shares its reason with a condition."""


@dataclass(frozen=True)
class Scenario:
    """What is the case when the API server begins to refuse, and what a person does then."""

    given: Callable[[], World]
    act: Callable[[World], Any]


def _abort(world: World) -> None:
    world.command("abort", world.revision("2"))


def _crash(world: World) -> None:
    world.behave("2", failure="crash")
    world.edit(model=model("2"))


SCENARIOS = {
    "first": Scenario(lambda: created(replicas=2), lambda world: None),
    "rolling": Scenario(lambda: serving(replicas=2), lambda world: world.edit(model=model("2"))),
    "blue-green": Scenario(
        lambda: serving(replicas=2, rollout={**BLUE_GREEN, "scaleDownDelay": "10s"}),
        lambda world: world.edit(model=model("2")),
    ),
    "in place": Scenario(
        lambda: serving(replicas=2, rollout={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        lambda world: world.edit(model=model("2")),
    ),
    "rolled back": Scenario(lambda: serving(replicas=2), _crash),
    "retried": Scenario(
        lambda: _mended(rolled_back(replicas=2)), lambda world: world.command("retry", world.revision("2"))
    ),
    "undone": Scenario(lambda: switched(replicas=2), _abort),
    "canary": Scenario(
        lambda: routed(replicas=2, rollout={**CANARY, "analysis": {"metrics": []}, "scaleDownDelay": "10s"}),
        lambda world: world.edit(model=model("2")),
    ),
    "autoscaled": Scenario(lambda: serving(replicas=2), lambda world: world.edit(autoscaling=AUTOSCALING)),
    "scaled down": Scenario(lambda: serving(replicas=3), lambda world: world.edit(replicas=1)),
}


def _mended(world: World) -> World:
    world.behave("2")
    return world


def end_of(world: World) -> dict[str, Any]:
    """What a scenario comes to: names but those of the record's times."""
    status = world.status
    return {
        "phase": world.phase,
        "ready": world.condition("Ready"),
        "champion": status.get("champion", {}).get("version"),
        "candidate": status.get("candidate", {}).get("version"),
        "outcomes": sorted(
            (r["data"]["version"], world.outcome(r["metadata"]["name"]), world.rule(r["metadata"]["name"]))
            for r in world.api.all(CONTROLLER_REVISIONS)
        ),
        "replicas": {d["metadata"]["name"]: d["spec"]["replicas"] for d in world.api.all(DEPLOYMENTS)},
        "others": sorted((o["kind"], o["metadata"]["name"]) for r in (SERVICES, HPAS, PDBS) for o in world.api.all(r)),
        "selector": world.selector(),
        "command": {key: status.get("lastCommand", {}).get(key) for key in ("value", "result")},
        "told": sorted(
            (each.reason, re.findall(r"ersion (\w+)", each.note)[:1])
            for each in world.heard.said
            if each.reason in DECISIONS
        ),
    }


def says_only_what_was_written(world: World) -> None:
    """Status names no champion and no outcome that no record has; a command is Done only if its record says so."""
    status = world.status
    found = [revision["metadata"] for revision in world.api.all(CONTROLLER_REVISIONS)]
    records = {meta["name"]: meta.get("annotations") or {} for meta in found}
    for role in ("champion", "candidate"):
        if role in status:
            outcome = records[status[role]["revision"]].get(names.ANNOTATION_OUTCOME)
            assert outcome == ("Promoted" if role == "champion" else None), (role, outcome, world.describe())
    for entry in status.get("history", []):
        record = records.get(entry["revision"], {})
        outcome = record.get(names.ANNOTATION_OUTCOME)
        rolled_back = outcome == "Superseded" and names.ANNOTATION_CAUSE in record
        assert entry["outcome"] == ("RolledBack" if rolled_back else outcome), (entry, record)
    last = status.get("lastCommand")
    if last and last["result"] in ("Done", "Accepted"):
        commands = [json.loads(record.get(names.ANNOTATION_COMMAND, "{}")) for record in records.values()]
        assert (last["value"], last["result"]) in {(c.get("value"), c.get("result")) for c in commands}, last


def champion(world: World) -> str:
    """By the records, which a status that is refused does not tell of; empty without one."""
    return champion_of(world.api.all(CONTROLLER_REVISIONS))


def what_serves_is_made_again(world: World, refusing: Refusing) -> None:
    """The champion's Deployment and its Service come back whatever else is refused."""
    revision = champion(world)
    if not revision:
        return
    for resource, name in ((DEPLOYMENTS, revision), (SERVICES, NAME)):
        if refusing.refused and (resource, name) == refusing.place[1:]:
            continue
        world.api.delete(resource, NAMESPACE, name)
        world.advance(35)
        there = world.live(resource, name) is not None or champion(world) != revision
        assert there, f"{resource.kind} {name}: {world.describe()}"


class RefusingEach(Refusing):
    """Refuses each write in a process of its own, and none in this one."""

    forks: Forks

    def is_due(self) -> bool:
        return self.forks.another()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_write_is_refused_once_the_end_is_the_same(scenario: str, fault: str) -> None:
    _all_writes(scenario, fault, lasting=False)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_write_is_refused_for_a_while_the_rest_goes_on_and_the_end_is_the_same(
    scenario: str, fault: str
) -> None:
    _all_writes(scenario, fault, lasting=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_write_is_made_without_an_answer_the_end_is_the_same_and_as_much_is_told(scenario: str) -> None:
    _all_writes(scenario, "time-out", lasting=False, made=True)


@pytest.mark.parametrize("fault", ["no right", "not found", "invalid", "webhook"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_status_is_refused_once_or_for_a_while_the_end_is_the_same(scenario: str, fault: str) -> None:
    for lasting in (False, True):
        _all_writes(scenario, fault, lasting=lasting, of_status=True)


def _all_writes(scenario: str, fault: str, *, lasting: bool, made: bool = False, of_status: bool = False) -> None:
    """The scenario goes on undisturbed, and at each of its writes once more with this one refused."""
    undisturbed, writes = _undisturbed(scenario, of_status)
    assert writes
    with Forks() as forks:
        world = SCENARIOS[scenario].given()
        SCENARIOS[scenario].act(world)
        # While a fault lasts, tries are as far apart as the queue has them: the rest goes on between them all the same.
        world.wakes.longest = LAST_BACKOFF if lasting else RETRY
        refusing = RefusingEach(world, 0, fault, lasting, made, of_status)
        refusing.forks = forks
        if not (made or of_status):
            world.after_pass.append(lambda: says_only_what_was_written(world))
        world.until(lambda: refusing.refused or refusing.count >= writes, within=7200)
        if not refusing.refused:
            return
        if made or of_status:  # of what was made, and not answered, the pass itself does not know
            world.after_pass.append(lambda: says_only_what_was_written(world))
        world.advance(LASTS if lasting else 5)
        if lasting:
            what_serves_is_made_again(world, refusing)
        refusing.end()
        world.rest()
        assert made or not refusing.idle, f"{fault} of {refusing.refused[0]}: {refusing.idle[0]} changed nothing"
        assert end_of(world) == undisturbed, f"{fault} of {refusing.refused[0]}\n{world.describe()}"


@cache
def _undisturbed(scenario: str, of_status: bool) -> tuple[dict[str, Any], int]:
    """What it comes to when nothing is refused, and how many writes of children, or of status, that takes."""
    world = SCENARIOS[scenario].given()
    SCENARIOS[scenario].act(world)
    counting = Refusing(world, 0, "conflict", False, of_status=of_status)
    world.rest()
    return end_of(world), counting.count
