"""Every transition leaves an Event: a decision by its own name, all else by the changed condition's reason."""

from collections import Counter
from collections.abc import Callable

import pytest

from podium.api import names
from podium.kube.resources import CONTROLLER_REVISIONS, SERVICES
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import BLUE_GREEN, MANUAL, rolled_back, serving, switched, updating
from tests.unit.planner.refusing import refuse
from tests.unit.planner.test_conditions import ROWS
from tests.unit.planner.weighed import ALL_FAIL, weighed
from tests.unit.planner.world import NAME, NAMESPACE, Said, World, model

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


def faults(world: World) -> Counter[tuple[str, str]]:
    """How often each fault of each revision was told."""
    return Counter((said.fault, said.related) for said in world.heard.said if said.fault)


def test_a_container_that_crashes_and_waits_to_be_restarted_by_turns_has_one_fault() -> None:
    world = serving(replicas=2)
    pod = next(iter(world.pods()))["metadata"]["name"]
    for failure in ("between-crashes", "crash", "between-crashes", "crash"):
        world.behave(pod, failure=failure)
        world.advance(2)

    assert faults(world)["CrashLoopBackOff", world.revision("1")] == 1, world.heard.said


def test_a_crash_that_comes_again_is_told_again_of_the_same_fault() -> None:
    world = serving(replicas=2)
    pod = next(iter(world.pods()))["metadata"]["name"]
    for failure in ("between-crashes", "", "crash"):
        world.behave(pod, failure=failure)
        world.advance(20)

    told = [said for said in world.heard.said if said.fault == "CrashLoopBackOff"]
    assert [said.reason for said in told] == ["Crashed", "CrashLoopBackOff"]
    assert {said.related for said in told} == {world.revision("1")}


def test_an_Event_refers_to_the_revision_that_its_sentence_names() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.behave(next(iter(world.pods(world.revision("1"))))["metadata"]["name"], failure="between-crashes")
    world.advance(3)

    assert faults(world)["CrashLoopBackOff", world.revision("1")] == 1, world.heard.said
    assert not [said for said in world.heard.said if said.fault and said.related == world.revision("2")]


def spec_put_back(world: World) -> None:
    world.edit(model=model("1"))


def suspended_meanwhile(world: World) -> None:
    world.edit(suspend=True)
    world.advance(30)
    world.edit(suspend=False)


def operator_restarted(world: World) -> None:
    world.restart_operator()
    world.advance(30)
    world.hand_over()


def status_lost(world: World) -> None:
    world.lose_status()
    world.restart_operator()


@pytest.mark.parametrize("act", [spec_put_back, suspended_meanwhile, operator_restarted, status_lost])
def test_what_has_been_rolled_back_is_not_told_of_again(act: Callable[[World], None]) -> None:
    world = rolled_back(replicas=2)
    two, before = world.revision("2"), len(world.heard.said)
    assert of_version_2(world.heard.said, two)[-1].reason == "RolledBack"
    act(world)
    world.rest()

    assert of_version_2(world.heard.said[before:], two) == []


def of_version_2(said: list[Said], revision: str) -> list[Said]:
    return [each for each in said if each.related == revision or "ersion 2" in each.note]


def test_a_rollback_is_told_once_although_the_status_that_tells_it_is_refused_at_first() -> None:
    world = updating(replicas=2)
    end = refuse(world, "a policy", lambda _: True, of_status=True)
    world.behave("2", failure="crash")
    world.until(lambda: world.outcome(world.revision("2")) == "RolledBack")
    world.advance(60)
    assert end()
    world.rest()

    assert len(world.events("RolledBack")) == 1, world.heard.said


def crashes() -> World:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    return world


def is_too_slow() -> World:
    world = updating(replicas=3, rollout={"progressDeadline": "1m"})
    world.until(lambda: world.ready_pods(world.revision("2")))
    world.behave("2", ready_after=None)
    return world


def hurts() -> World:
    return weighed(candidate=ALL_FAIL)


def is_aborted() -> World:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    world.command("abort", world.revision("2"))
    return world


def is_undone() -> World:
    world = switched(replicas=2)
    world.command("abort", world.revision("2"))
    return world


def rollbacks_told(world: World) -> list[Said]:
    """Once version 2 was rolled back, and all is quiet."""
    world.until(lambda: world.outcome(world.revision("2")) == "RolledBack")
    world.rest()
    return [said for said in world.heard.said if said.reason == "RolledBack"]


@pytest.mark.parametrize("given", [crashes, is_too_slow, hurts, is_aborted, is_undone])
def test_a_rollback_that_its_process_did_not_live_to_tell_is_told_in_the_same_words(given: Callable[[], World]) -> None:
    lived, died = given(), given()
    died.client.before.append(_dies_once_decided(died))

    (told,) = rollbacks_told(died)

    assert [told] == rollbacks_told(lived)
    assert told.note == died.message("Ready")


def test_a_rollback_is_told_although_the_next_version_is_on_its_way_by_then() -> None:
    world = crashes()
    two = world.revision("2")

    def edit(call: Call) -> None:
        if _decides(call):
            world.edit(model=model("3"))

    world.client.before += [edit, _dies_once_decided(world)]
    world.rest()
    assert world.outcome(two) == "Superseded", "what spec asks for no more is rejected no more"

    (told,) = world.events("RolledBack")
    assert "ValueError: no such operator. Version 1 serves." in told
    assert "try it again" not in told


def test_a_rollback_that_a_restore_brings_back_is_no_news() -> None:
    world = rolled_back(replicas=2)
    two = world.revision("2")
    record = world.need(CONTROLLER_REVISIONS, two)
    world.edit(model=model("3"))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, two)
    world.rest()
    assert two not in {entry["revision"] for entry in world.status["history"]}

    meta = {key: record["metadata"][key] for key in ("name", "namespace", "labels", "annotations", "ownerReferences")}
    world.api.create({**record, "metadata": meta}, "velero")
    world.rest()

    assert two in {entry["revision"] for entry in world.status["history"]}
    assert len(world.events("RolledBack")) == 1, world.heard.said


def test_a_command_that_a_note_has_no_room_for_is_left_to_the_status() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash", said="\u00e4" * 700)
    (told,) = rollbacks_told(world)
    assert "kubectl" in world.message("Ready")
    assert told.note.endswith(" Version 1 serves.")


def _decides(call: Call) -> bool:
    return call.verb == "annotate" and (call.body or {}).get(names.ANNOTATION_OUTCOME) == "RolledBack"


def _dies_once_decided(world: World) -> Callable[[Call], None]:
    def before(call: Call) -> None:
        if _decides(call):
            world.client.kill_after = 1

    return before


def test_the_worrying_ones_are_Warnings() -> None:
    kinds = {}
    for row in ("pods lost, available < T", "invalid, as is", "names taken, as is", "waiting for a person"):
        world = ROWS[row].given()
        kinds |= {said.reason: said.type for said in world.heard.said}
    assert kinds["Degraded"] == kinds["RuntimeNotFound"] == kinds["NameConflict"] == "Warning"
    assert kinds["WaitingForPromotion"] == kinds["Promoted"] == "Normal"
