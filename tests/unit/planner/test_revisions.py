"""Revisions: when there is a new one, how it is named and numbered, and which are forgotten."""

import json
from collections.abc import Callable

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, MODEL_RUNTIMES
from tests.unit.planner.apiserver import clone
from tests.unit.planner.given import BLUE_GREEN, MANUAL, created, rolled_back, serving, switched, updating
from tests.unit.planner.world import NAME, NAMESPACE, World, model


def _versions(world: World) -> list[str]:
    found = sorted(world.api.all(CONTROLLER_REVISIONS), key=lambda r: r["revision"])
    return [revision["data"]["version"] for revision in found]


def test_the_operator_never_writes_spec_labels_or_foreign_annotations() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.annotate("team.example/owner", "ml")
    world.edit(model=model("2"))
    world.rest()
    before = clone(world.md)
    calls = [call for call in world.client.calls if call.resource is MODEL_DEPLOYMENTS]
    assert {call.verb for call in calls} == {"status"}
    assert before["metadata"]["annotations"] == {"team.example/owner": "ml"}
    assert "labels" not in before["metadata"]
    owned = world.api.owners[(MODEL_DEPLOYMENTS, NAMESPACE, NAME)].get("podium (Update)", set())
    assert not {path for path in owned if path[0] != "status"}


def test_a_rollout_starts_when_inputs_differ_from_the_champions() -> None:
    world = serving()
    world.edit(model=model("2"))
    world.advance(2)
    assert _versions(world) == ["1", "2"]


@pytest.mark.parametrize(
    "fields",
    [{"replicas": 2}, {"rollout": {"minReadySeconds": 3}}, {"disruption": {"maxUnavailable": 2}}, {"paused": True}],
    ids=str,
)
def test_what_is_not_model_runtime_or_podTemplate_starts_no_rollout(fields: Object) -> None:
    world = serving()
    world.edit(**fields)
    world.rest()
    assert _versions(world) == ["1"]


def test_a_field_written_out_as_its_default_starts_no_rollout() -> None:
    world = serving()
    world.edit(runtime={"name": "onnxruntime", "args": []}, podTemplate={}, model={**model("1"), "storage": {}})
    world.rest()
    assert _versions(world) == ["1"]


def test_inputs_of_a_RolledBack_revision_start_no_rollout() -> None:
    world = rolled_back(replicas=2)
    world.restart_operator()
    world.rest()
    assert _versions(world) == ["1", "2"]
    assert world.phase == "RolledBack"


def test_when_spec_leaves_a_rolled_back_revisions_inputs_its_outcome_becomes_Superseded() -> None:
    world = rolled_back()
    two = world.revision("2")
    world.edit(model=model("1"))
    world.advance(2)
    assert world.outcome(two) == "Superseded"
    assert world.phase == "Healthy"


def told(world: World, revision: str) -> tuple[str, str, str]:
    """Outcome, rule and time of a revision, as status.history has them."""
    (entry,) = (one for one in world.status["history"] if one["revision"] == revision)
    return entry["outcome"], entry["rule"], entry["at"]


def spec_put_back(world: World) -> None:
    world.edit(model=model("1"))


def another_version(world: World) -> None:
    world.edit(model=model("3"))


def retried(world: World) -> None:
    world.behave("2")
    world.command("retry", world.revision("2"))


@pytest.mark.parametrize("left", [spec_put_back, another_version, retried])
def test_history_still_says_that_it_was_rolled_back_why_and_when(left: Callable[[World], None]) -> None:
    world = rolled_back()
    two = world.revision("2")
    before = told(world, two)
    left(world)
    world.rest()
    assert world.outcome(two) == "Superseded"
    assert told(world, two) == before
    assert before[:2] == ("RolledBack", "crash: CrashLoopBackOff")


def test_history_of_a_lost_status_is_the_same() -> None:
    world = rolled_back()
    spec_put_back(world)
    world.rest()
    before = world.status["history"], world.status["rollout"]["decision"]
    world.lose_status()
    world.restart_operator()
    world.rest()
    assert (world.status["history"], world.status["rollout"]["decision"]) == before
    assert before[1]["verdict"] == "RolledBack"


def test_history_says_Superseded_of_a_candidate_that_spec_left() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.edit(model=model("3"))
    world.rest()
    assert told(world, two)[:2] == ("Superseded", "spec-changed")


def test_coming_back_to_a_rolled_back_revisions_inputs_starts_a_new_rollout() -> None:
    world = rolled_back()
    world.edit(model=model("1"))
    world.advance(2)
    world.behave("2")
    world.edit(model=model("2"))
    world.rest()
    assert _versions(world) == ["1", "2", "2"]
    assert world.status["champion"]["version"] == "2"


def test_however_many_revisions_were_rolled_back_the_spec_can_leave_them_all_at_once() -> None:
    world = serving(rollout={"revisionHistoryLimit": 30})
    one = world.revision("1")
    for number in range(15):
        world.command("restart", one, f"restart-{number}")
        world.until(lambda: world.revision("1") != one and not world.outcome(world.revision("1")))
        world.command("abort", world.revision("1"), f"abort-{number}")
        world.until(lambda: world.phase == "RolledBack")
    failed = {r["metadata"]["name"] for r in world.api.all(CONTROLLER_REVISIONS)} - {one}
    world.edit(model=model("2"))
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert [world.outcome(name) for name in failed] == ["Superseded"] * 15


def test_a_revision_of_the_same_content_gets_another_name_by_the_collision_counter() -> None:
    world = rolled_back()
    world.edit(model=model("1"))
    world.advance(2)
    world.edit(model=model("2"))
    world.rest()
    assert len({r["metadata"]["name"] for r in world.api.all(CONTROLLER_REVISIONS)}) == 3


def test_going_back_to_an_earlier_version_is_a_new_revision() -> None:
    world = updating()
    world.rest()
    world.edit(model=model("1"))
    world.rest()
    assert _versions(world) == ["1", "2", "1"]
    assert world.status["champion"]["revision"] == world.revision("1")


def test_every_apply_uses_the_stored_template_so_an_edited_ModelRuntime_restarts_no_pod() -> None:
    world = serving(replicas=2)
    pods = {pod["metadata"]["uid"] for pod in world.pods()}
    _edit_runtime(world, "serving:new")
    world.edit(replicas=3)
    world.rest()
    assert pods < {pod["metadata"]["uid"] for pod in world.pods()}
    assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"podium/serving:0.1.0"}


def test_RuntimeOutdated_says_how_to_adopt_the_edit() -> None:
    world = serving()
    _edit_runtime(world, "serving:new")
    world.advance(2)
    assert world.condition("RuntimeOutdated") == ("True", "RuntimeChanged")
    assert f"restart {world.revision('1')}" in world.message("RuntimeOutdated")
    assert world.condition("Ready") == ("True", "Serving")


def test_RuntimeOutdated_goes_with_the_restart_that_adopts_the_edit() -> None:
    world = serving()
    _edit_runtime(world, "serving:new")
    world.advance(2)
    world.command("restart", world.revision("1"))
    world.rest()
    assert world.condition("RuntimeOutdated") is None
    assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"serving:new"}


def _edit_runtime(world: World, image: str) -> None:
    world.api.update(MODEL_RUNTIMES, "", "onnxruntime", lambda o: o["spec"].update(image=image), "kubectl")


def test_the_durable_record_is_in_the_ControllerRevisions_annotations() -> None:
    world = updating(replicas=3)
    two = world.revision("2")
    record = json.loads(world.annotations(two)[names.ANNOTATION_ROLLOUT])
    assert (record["strategy"], record["size"], record["surge"], record["unavailable"]) == ("RollingUpdate", 3, 1, 0)
    assert record["id"]
    assert record["startedAt"].startswith("2030-01-01T12:")
    assert names.ANNOTATION_OUTCOME not in world.annotations(two)
    world.rest()
    assert world.annotations(two)[names.ANNOTATION_OUTCOME] == "Promoted"
    assert world.annotations(two)[names.ANNOTATION_RULE] == "rolling-complete"
    assert world.annotations(two)[names.ANNOTATION_DECIDED_AT]


def test_the_order_of_writes_is_outcome_then_traffic_then_status() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    first = len(world.client.calls)
    world.until(lambda: world.outcome(two) == "Promoted")
    calls = [call for call in world.client.calls[first:] if call.verb in ("annotate", "apply", "status")]
    decision = next(i for i, call in enumerate(calls) if call.verb == "annotate")
    kinds = [(call.verb, call.resource.kind) for call in calls[decision:]]
    assert kinds[0] == ("annotate", "ControllerRevision")
    assert kinds[1] == ("apply", "Service")
    assert kinds[-1] == ("status", "ModelDeployment")


def test_decided_at_strictly_increases_even_when_the_clock_goes_back() -> None:
    world = updating()
    world.rest()
    before = world.annotations(world.revision("2"))[names.ANNOTATION_DECIDED_AT]
    revision = world.revision("2")
    future = "2031-01-01T00:00:00.000000Z"
    world.change(
        CONTROLLER_REVISIONS,
        revision,
        lambda o: o["metadata"]["annotations"].update({names.ANNOTATION_DECIDED_AT: future}),
    )
    world.edit(model=model("3"))
    world.rest()
    assert before < future < world.annotations(world.revision("3"))[names.ANNOTATION_DECIDED_AT]
    assert world.status["champion"]["version"] == "3"


@pytest.mark.parametrize("seconds", [1, 5, 14, 16, 30, 60])
def test_lost_status_is_rebuilt_and_the_end_state_is_the_same(seconds: int) -> None:
    world = updating(replicas=2)
    world.advance(seconds)
    world.lose_status()
    world.rest()
    assert world.phase == "Healthy"
    assert world.status["champion"]["version"] == "2"
    assert [(h["version"], h["outcome"], h["rule"]) for h in world.status["history"]] == [
        ("2", "Promoted", "rolling-complete"),
        ("1", "Promoted", "first"),
    ]


def test_a_rollouts_strategy_is_frozen_at_its_start() -> None:
    world = updating(replicas=2)
    world.rollout(strategy="BlueGreen")
    world.rest()
    assert world.rule(world.revision("2")) == "rolling-complete"


@pytest.mark.parametrize(
    "rollout", [{"strategy": "BlueGreen"}, {"rollingUpdate": {"maxSurge": 2}}, {"rollingUpdate": {"maxUnavailable": 1}}]
)
def test_an_edit_that_counts_from_the_next_rollout_says_PlanPending(rollout: Object) -> None:
    world = updating(replicas=2)
    world.rollout(**rollout)
    world.advance(1)
    assert world.condition("Reconciling") == ("True", "PlanPending")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_progressDeadline_edited_mid_rollout_counts() -> None:
    world = serving(rollout={"progressDeadline": "1h"})
    world.behave("2", ready_after=None)
    world.edit(model=model("2"))
    world.advance(60)
    world.rollout(progressDeadline="2m")
    world.until(lambda: world.rule(world.revision("2")) == "deadline", within=90)


def test_paused_edited_mid_rollout_counts() -> None:
    world = updating(replicas=3)
    world.edit(paused=True)
    world.advance(300)
    assert world.outcome(world.revision("2")) == ""
    assert world.phase == "Paused"


def test_a_loser_goes_after_its_warm_window_and_its_ControllerRevision_stays() -> None:
    world = switched(replicas=2)
    one = world.revision("1")
    world.rest()
    assert world.replicas(one) is None
    assert world.outcome(one) == "Promoted"


def test_ControllerRevisions_stay_to_revisionHistoryLimit() -> None:
    world = serving(rollout={"revisionHistoryLimit": 2, "minReadySeconds": 0})
    for version in "23456":
        world.edit(model=model(version))
        world.rest()
    assert _versions(world) == ["4", "5", "6"]


def test_the_history_limit_never_takes_the_champion_the_candidate_or_specs_own_rolled_back_revision() -> None:
    world = rolled_back(rollout={"revisionHistoryLimit": 0})
    world.rest()
    assert _versions(world) == ["1", "2"]
    world.behave("3", ready_after=None)
    world.edit(model=model("3"))
    world.advance(30)
    assert {"1", "3"} <= set(_versions(world))


def test_a_rolled_back_revision_is_never_a_rollback_target() -> None:
    world = switched(replicas=1)
    two = world.revision("2")
    world.command("abort", two)
    world.rest()
    world.edit(model=model("3"))
    world.behave("3", failure="crash")
    world.rest()
    assert world.status["champion"]["version"] == "1"


def _unreadable(world: World, revision: str) -> str:
    """It must be named, and nothing may be decided; the sentence."""
    before = {r["metadata"]["name"]: r["metadata"]["annotations"] for r in world.api.all(CONTROLLER_REVISIONS)}
    world.advance(60)
    assert world.condition("Ready") == ("False", "RecordUnreadable")
    assert world.condition("Stalled") == ("True", "RecordUnreadable")
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")
    after = {r["metadata"]["name"]: r["metadata"]["annotations"] for r in world.api.all(CONTROLLER_REVISIONS)}
    assert after == before
    assert f"ControllerRevision {revision}" in world.message()
    assert names.ANNOTATION_ROLLOUT in world.message()
    return world.message()


def _take_away(annotation: str) -> Callable[[Object], None]:
    return lambda obj: obj["metadata"]["annotations"].pop(annotation)


def test_a_candidate_whose_record_was_taken_away_is_named_and_not_promoted_as_if_no_pods_were_wanted() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.behave("2", ready_after=None)
    world.change(CONTROLLER_REVISIONS, two, _take_away(names.ANNOTATION_ROLLOUT))
    message = _unreadable(world, two)
    assert "was taken away" in message
    assert world.outcome(two) == ""
    assert world.backends() == {world.revision("1")}


def test_the_way_out_that_the_message_names_starts_the_rollout_anew() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.change(CONTROLLER_REVISIONS, two, _take_away(names.ANNOTATION_ROLLOUT))
    assert f"kubectl delete controllerrevision {two}" in _unreadable(world, two)
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, two)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.status["champion"]["version"] == "2"


def test_a_decided_revision_needs_no_record_of_its_rollout() -> None:
    world = updating(replicas=2)
    world.rest()
    world.change(CONTROLLER_REVISIONS, world.revision("1"), _take_away(names.ANNOTATION_ROLLOUT))
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def _of_another_version(world: World, revision: str) -> None:
    """Podium was downgraded: the rollout is by a strategy that this version does not know."""

    def change(obj: Object) -> None:
        annotations = obj["metadata"]["annotations"]
        record = {**json.loads(annotations[names.ANNOTATION_ROLLOUT]), "strategy": "Shadow"}
        annotations[names.ANNOTATION_ROLLOUT] = json.dumps(record)

    world.change(CONTROLLER_REVISIONS, revision, change)


def test_a_rollout_by_a_strategy_that_this_version_does_not_know_is_named_with_the_way_out() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    _of_another_version(world, two)
    message = _unreadable(world, two)
    assert '"Shadow"' in message
    assert f"kubectl delete controllerrevision {two}" in message
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, two)
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_a_retreat_from_a_rollout_by_such_a_strategy_is_named_as_well() -> None:
    world = updating(replicas=4)
    two = world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 2)
    world.command("abort", two)
    world.until(lambda: world.outcome(two) == "RolledBack")
    _of_another_version(world, two)
    assert '"Shadow"' in _unreadable(world, two)


def test_what_is_over_may_have_been_rolled_out_by_any_strategy() -> None:
    world = updating(replicas=2)
    world.rest()
    for version in ("1", "2"):
        _of_another_version(world, world.revision(version))
    world.edit(model=model("3"))
    world.rest()
    assert world.status["champion"]["version"] == "3"


@pytest.mark.parametrize("nth", range(1, 16))
def test_killed_after_any_write_of_an_update_the_end_state_is_the_same(nth: int) -> None:
    world = serving(replicas=2)
    world.edit(model=model("2"))
    _kill(world, nth)
    world.rest()
    assert world.phase == "Healthy"
    assert world.replicas(world.revision("2")) == 2
    assert world.replicas(world.revision("1")) is None
    assert _versions(world) == ["1", "2"]


@pytest.mark.parametrize("nth", range(1, 8))
def test_killed_after_any_write_of_the_first_rollout_the_end_state_is_the_same(nth: int) -> None:
    world = created(replicas=2)
    _kill(world, nth)
    world.rest()
    assert world.phase == "Healthy"
    assert _versions(world) == ["1"]


@pytest.mark.parametrize("nth", range(1, 12))
def test_killed_after_any_write_of_a_blue_green_switch_and_its_undo_the_end_state_is_the_same(nth: int) -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    _kill(world, nth)
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.advance(30)
    world.command("abort", two)
    _kill(world, nth)
    world.rest()
    assert world.phase == "RolledBack"
    assert world.replicas(world.revision("1")) == 2
    assert world.replicas(two) is None
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": world.revision("1")}


def _kill(world: World, nth: int) -> None:
    world.client.kill_after = nth


def test_minReadySeconds_edited_midway_counts_from_the_next_rollout() -> None:
    world = updating(replicas=3)
    one, two = world.revision("1"), world.revision("2")
    world.rollout(minReadySeconds=77)
    world.advance(3)
    assert {world.need(DEPLOYMENTS, name)["spec"]["minReadySeconds"] for name in (one, two)} == {10}
    assert world.condition("Ready") == ("False", "PlanPending")
    world.until(lambda: world.outcome(two) == "Promoted", within=120)
    world.rest()
    assert world.need(DEPLOYMENTS, two)["spec"]["minReadySeconds"] == 10
    world.edit(model=model("3"))
    world.advance(2)
    assert world.need(DEPLOYMENTS, world.revision("3"))["spec"]["minReadySeconds"] == 77


def test_more_minReadySeconds_turn_no_pod_that_serves_into_an_unavailable_one() -> None:
    world = serving(replicas=2, rollout={"minReadySeconds": 2})
    world.rollout(minReadySeconds=500)
    for _ in range(3):
        world.advance(2)
        assert world.condition("Ready")[0] == world.condition("Available")[0] == "True"


def test_fewer_minReadySeconds_count_at_once_for_who_serves() -> None:
    world = serving(replicas=2, rollout={"minReadySeconds": 20})
    world.rollout(minReadySeconds=5)
    world.rest()
    assert world.need(DEPLOYMENTS, world.revision("1"))["spec"]["minReadySeconds"] == 5


def test_a_version_that_brings_more_minReadySeconds_is_rolled_back_as_soon_as_it_fails() -> None:
    world = serving(replicas=1, rollout={"minReadySeconds": 2})
    world.behave("2", failure="crash")
    world.edit(model=model("2"), rollout={"minReadySeconds": 500})
    world.until(lambda: world.phase == "RolledBack", within=120)
    assert world.need(DEPLOYMENTS, world.revision("1"))["spec"]["minReadySeconds"] == 2


def test_an_edit_while_a_person_is_waited_for_says_when_it_counts() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    world.rollout(minReadySeconds=77)
    world.advance(2)
    assert "counts from the next one" in world.message()


def test_a_Deployment_whose_ControllerRevision_was_deleted_goes_once_the_champion_serves_without_it() -> None:
    world = updating(replicas=3)
    two = world.revision("2")
    world.edit(model=model("3"))
    world.api.delete(CONTROLLER_REVISIONS, NAMESPACE, two)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.live(DEPLOYMENTS, two) is None
    assert world.pods(two) == []
