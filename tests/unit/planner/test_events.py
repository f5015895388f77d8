"""Every transition leaves an Event: a decision by its own name, all else by the changed condition's reason."""

import pytest

from podium.kube.resources import SERVICES
from tests.unit.planner.given import MANUAL, serving, updating
from tests.unit.planner.test_conditions import ROWS
from tests.unit.planner.world import NAME

TOLD = {
    "created, not seen": "",
    "first revision coming up": "RolloutStarted",
    "first revision failed": "CrashLoopBackOff",
    "healthy": "Promoted",
    "healthy, predecessor warm": "Promoted",
    "pods lost, available < T": "Degraded",
    "pods lost, none available": "Degraded",
    "replicas 0": "Promoted",
    "rolling": "RolloutStarted",
    "rolling, BlueGreen": "RolloutStarted",
    "rolling back": "RolledBack",
    "waiting for a person": "WaitingForPromotion",
    "paused, something pending": "SpecPaused",
    "paused midway": "SpecPaused",
    "paused, nothing pending": "SpecPaused",
    "rolled back, champion serves": "RolledBack",
    "invalid, as is": "RuntimeNotFound",
    "names taken, as is": "NameConflict",
}


def test_every_row_of_the_conditions_table_is_here() -> None:
    assert TOLD.keys() == ROWS.keys()


@pytest.mark.parametrize(("row", "reason"), TOLD.items(), ids=TOLD)
def test_each_row_is_told(row: str, reason: str) -> None:
    world = ROWS[row].given()
    if reason:
        assert world.events(reason), world.describe()
    else:
        assert world.heard.said == []


def test_the_end_of_a_degradation_and_of_a_rollback_is_told() -> None:
    world = ROWS["pods lost, available < T"].given()
    before = len(world.events("Serving"))
    world.behave(next(iter(world.pods()))["metadata"]["name"])
    world.rest()
    assert len(world.events("Serving")) == before + 1
    assert "2 pods" in world.events("Serving")[-1]


def test_what_a_decision_has_told_is_not_told_again() -> None:
    world = serving(replicas=2)
    assert [said.reason for said in world.heard.said if said.reason in ("RolloutStarted", "Progressing")] == [
        "RolloutStarted"
    ]


def test_what_begins_and_ends_in_one_write_is_told_once() -> None:
    world = serving(replicas=0)
    (told,) = world.events("Promoted")
    assert "no-replicas" in told
    assert len(world.heard.said) == 1, world.describe()


def test_a_fight_over_a_field_is_told_once() -> None:
    world = serving()
    for port in range(9000, 9010):
        world.change(SERVICES, NAME, lambda o, port=port: o["spec"]["ports"][0].update(targetPort=port))
        world.advance(2)
    (told,) = world.events("AnotherWriter")
    assert "targetPort" in told


def test_what_ails_a_pod_that_has_not_decided_anything_yet_is_told() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.behave("2", failure="fetch-passing")
    world.advance(20)
    assert world.events("FetchRetrying"), world.describe()


def test_the_worrying_ones_are_Warnings() -> None:
    kinds = {}
    for row in ("pods lost, available < T", "invalid, as is", "names taken, as is", "waiting for a person"):
        world = ROWS[row].given()
        kinds |= {said.reason: said.type for said in world.heard.said}
    assert kinds["Degraded"] == kinds["RuntimeNotFound"] == kinds["NameConflict"] == "Warning"
    assert kinds["WaitingForPromotion"] == kinds["Promoted"] == "Normal"
