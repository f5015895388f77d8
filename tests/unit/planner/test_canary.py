"""Canary, where the numbers of pods make the weights (router None)."""

import json
from datetime import datetime, timedelta

import pytest

from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES
from tests.unit.planner.given import AUTOSCALING, serving, updating
from tests.unit.planner.world import World, model

BOTH = {"podium.dev/model": "fraud"}
ROLLOUT = "podium.dev/rollout"
PAUSE: Object = {"pause": True}
IN_PLACE: Object = {"maxSurge": 0, "maxUnavailable": 1}


def canary(*steps: object, **rollout: object) -> Object:
    """spec.rollout: a number is a weight that holds for a minute, anything else a step as it is written.

    Nothing is weighed: test_evidence.py has what evidence does.
    """
    written = [{"weight": step, "for": "1m"} if isinstance(step, int) else step for step in steps]
    steps_asked = {"steps": written} if written else {}
    return {"strategy": "Canary", "analysis": {"metrics": []}, **steps_asked, **rollout}


def record(world: World) -> Object:
    """The durable record of version 2's rollout."""
    found: Object = json.loads(world.annotations(two(world))[ROLLOUT])
    return found


def one(world: World) -> str:
    return world.revision("1")


def two(world: World) -> str:
    return world.revision("2")


def until_step(world: World, number: int) -> None:
    """The weight of a step is applied."""

    def applied() -> bool:
        found = record(world)
        return found.get("step", 0) + 1 == number and "appliedAt" in found

    world.until(applied)


def at_step(number: int, rollout: Object, **spec: object) -> World:
    """Version 2 has the weight of this step, of 10 replicas unless said otherwise."""
    world = updating(rollout=rollout, **{"replicas": 10, **spec})
    until_step(world, number)
    return world


def sizes(world: World) -> tuple[int | None, int | None]:
    """Pods that (version 1, version 2) are to have."""
    return world.replicas(one(world)), world.replicas(two(world))


def listed(world: World) -> tuple[int, int]:
    """Pods that take requests, of (version 1, version 2)."""
    selector = world.selector() or {}
    found = [
        [pod for pod in world.ready_pods(name) if selector.items() <= pod["metadata"]["labels"].items()]
        for name in (one(world), two(world))
    ]
    return len(found[0]), len(found[1])


# --- steps


def test_it_goes_through_its_steps_and_is_promoted_at_the_end_of_the_last() -> None:
    world = updating(replicas=4, rollout=canary())
    seen: list[int] = []

    def note() -> None:
        desired = world.status.get("rollout", {}).get("weight", {}).get("desired")
        if desired is not None and desired not in seen:
            seen.append(desired)

    world.after_pass.append(note)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    assert seen == [5, 25, 50]
    assert world.rule(two(world)) == "steps-complete"
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.backends() == {two(world)}


def test_a_step_lasts_for_its_time_from_when_its_weight_is_applied() -> None:
    world = serving(replicas=4, rollout=canary(20, 50))
    world.behave("2", ready_after=100.0)
    world.edit(model=model("2"))
    world.until(lambda: len(world.pods()) > 4)
    until_step(world, 1)
    applied = world.now
    world.until(lambda: world.status["rollout"]["step"] == 2)
    assert (world.now - applied).total_seconds() == pytest.approx(60, abs=2)


def test_a_step_without_a_time_is_over_as_soon_as_its_weight_is_applied() -> None:
    world = updating(replicas=10, rollout=canary({"weight": 10}, 50))
    world.until(lambda: world.ready_pods(two(world)))
    world.until(lambda: world.status["rollout"]["step"] == 2, within=15)


def test_a_pause_among_the_steps_waits_for_resume() -> None:
    world = at_step(1, canary(10, PAUSE, 50))
    world.until(lambda: world.phase == "Paused")
    world.advance(3600)
    assert world.status["rollout"]["step"] == 2
    assert world.condition("Ready") == ("False", "WaitingForResume")
    assert f"resume {two(world)}" in world.message()
    assert sizes(world) == (10, 1)
    world.command("resume", two(world))
    world.advance(2)
    assert world.status["rollout"]["step"] == 3
    world.until(lambda: world.outcome(two(world)) == "Promoted")


def test_a_pause_as_the_last_step_is_followed_by_the_promotion() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.until(lambda: world.phase == "Paused")
    world.command("resume", two(world))
    world.until(lambda: world.rule(two(world)) == "steps-complete")


def test_before_the_first_weight_a_pause_has_one_pod_behind_the_preview_Service_alone() -> None:
    world = updating(replicas=4, rollout=canary(PAUSE, 50))
    world.until(lambda: world.phase == "Paused")
    world.rest()
    assert sizes(world) == (4, 1)
    assert world.backends() == {one(world)}
    assert world.backends("fraud-preview") == {two(world)}


def test_with_promotion_Manual_it_waits_for_a_person_after_the_last_step() -> None:
    world = at_step(1, canary(50, promotion="Manual"))
    world.until(lambda: world.phase == "Paused")
    world.rest()
    assert world.condition("Ready") == ("False", "WaitingForPromotion")
    assert f"promote {two(world)}" in world.message()
    world.rollout(promotion="Automatic")
    world.until(lambda: world.rule(two(world)) == "steps-complete", within=60)


def test_a_pause_stops_the_clock_of_a_step() -> None:
    world = at_step(1, canary(10, 50))
    world.advance(30)
    world.edit(paused=True)
    world.advance(600)
    assert world.status["rollout"]["step"] == 1
    assert world.phase == "Paused"
    assert world.message().endswith("is paused. Step 1 of 2: 10 % of the requests asked for, 9 % in effect.")
    world.edit(paused=False)
    resumed = world.now
    world.until(lambda: world.status["rollout"]["step"] == 2)
    assert (world.now - resumed).total_seconds() == pytest.approx(30, abs=3)


def test_no_step_and_no_promotion_in_a_pause_by_command() -> None:
    world = at_step(1, canary(10))
    world.command("pause", two(world))
    world.advance(3600)
    assert (world.phase, world.outcome(two(world))) == ("Paused", "")
    world.command("resume", two(world), "t2")
    world.until(lambda: world.outcome(two(world)) == "Promoted")


def test_steps_are_frozen_at_the_start() -> None:
    world = at_step(1, canary(10, 50))
    world.rollout(steps=[{"weight": 90}])
    world.advance(5)
    assert world.condition("Ready") == ("False", "PlanPending")
    until_step(world, 2)
    assert world.status["rollout"]["weight"]["desired"] == 50


def test_a_restarted_operator_goes_on_with_the_step_where_it_was() -> None:
    world = at_step(1, canary(10, 50))
    world.advance(40)
    applied = record(world)["appliedAt"]
    world.lose_status()
    world.restart_operator()
    world.advance(2)
    assert record(world)["appliedAt"] == applied
    world.until(lambda: world.status["rollout"]["step"] == 2, within=22)


# --- what status says


def test_status_says_step_weight_asked_and_applied_and_until_when() -> None:
    world = at_step(1, canary(10, 50))
    world.advance(2)
    rollout = world.status["rollout"]
    assert (rollout["step"], rollout["steps"], rollout["weight"]) == (1, 2, {"desired": 10, "applied": 9})
    assert (world.status["champion"]["weight"], world.status["candidate"]["weight"]) == (91, 9)
    until = datetime.fromisoformat(record(world)["appliedAt"]) + timedelta(minutes=1)
    assert f"Step 1 of 2 until {until:%H:%M:%SZ}: 10 % of the requests asked for, 9 % in effect." in world.message()


def test_status_does_not_name_a_time_that_is_past_while_a_step_waits_for_its_pods() -> None:
    world = at_step(1, canary(10, 50))
    world.behave("2", ready_after=None)
    world.advance(120)
    assert "Step 1 of 2 waits for its share: 10 % of the requests asked for, 0 % in effect." in world.message()


def test_status_says_what_is_awaited_until_when_before_a_weight_is_applied() -> None:
    world = serving(replicas=4, rollout=canary(50, progressDeadline="5m"))
    world.behave("2", ready_after=None)
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Progressing")
    world.advance(30)
    assert "0 of 4 pods" in world.message()
    assert "50 % of the requests asked for, 0 % in effect. Its pods have until " in world.message()


def test_each_step_is_told_as_an_Event() -> None:
    world = at_step(2, canary(10, 50))
    assert world.events("Step") == ["Version 2: step 2 of 2: 50 % (rule step-complete)."]


# --- sizes


@pytest.mark.parametrize(
    ("weight", "replicas", "expected"),
    [
        (5, 1, (1, 1)),  # at least one
        (5, 10, (10, 1)),
        (25, 4, (4, 1)),  # 1 of 5 is nearer than 2 of 6
        (25, 9, (9, 3)),
        (50, 3, (3, 3)),
        (75, 3, (1, 3)),  # beyond half the champion gives way
        (90, 9, (1, 9)),
        (99, 10, (1, 10)),
    ],
)
def test_the_weight_is_the_nearest_share_of_the_pods(weight: int, replicas: int, expected: tuple[int, int]) -> None:
    world = at_step(1, canary(weight), replicas=replicas)
    assert sizes(world) == expected
    assert listed(world) == expected


@pytest.mark.parametrize(
    ("weight", "replicas", "expected"),
    [(5, 4, (3, 1)), (50, 4, (2, 2)), (75, 4, (1, 3)), (99, 4, (1, 3)), (5, 2, (1, 1))],
)
def test_with_maxSurge_0_pods_are_exchanged(weight: int, replicas: int, expected: tuple[int, int]) -> None:
    world = at_step(1, canary(weight, rollingUpdate=IN_PLACE), replicas=replicas)
    assert sizes(world) == expected
    assert listed(world) == expected


def test_with_maxSurge_0_there_are_never_more_than_T_pods_and_never_fewer_than_T_minus_U_available() -> None:
    world = serving(replicas=4, rollout=canary(25, 50, rollingUpdate=IN_PLACE))
    world.edit(model=model("2"))
    asked: list[int] = []
    available: list[int] = []

    def note() -> None:
        found = world.api.all(DEPLOYMENTS)
        asked.append(sum(d["spec"]["replicas"] for d in found))
        available.append(sum(1 for pod in world.ready_pods() if world.cluster.is_available(pod, 10)))

    world.until(lambda: world.phase == "Progressing")
    world.after_pass.append(note)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    assert max(asked) == 4
    assert min(available) >= 3
    assert sizes(world)[1] == 4


def test_the_champion_gives_way_only_once_the_candidates_pods_take_requests() -> None:
    world = updating(replicas=4, rollout=canary(75))
    took: list[bool] = []
    world.client.after.append(lambda _: took.append(two(world) in world.backends()) if sizes(world)[0] != 4 else None)
    until_step(world, 1)
    assert sizes(world) == (1, 4)
    assert all(took)


def test_the_stable_Service_selects_both_once_a_pod_of_the_candidate_is_available() -> None:
    world = updating(replicas=4, rollout=canary(50, minReadySeconds=20))
    world.until(lambda: world.ready_pods(two(world)))
    world.advance(10)
    assert (world.selector() or {})["podium.dev/revision"] == one(world)
    world.until(lambda: world.selector() == BOTH, within=15)


def test_the_candidate_is_behind_the_preview_Service_until_it_is_promoted() -> None:
    world = at_step(1, canary(50))
    world.advance(2)
    assert world.backends("fraud-preview") == {two(world)}
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    world.advance(3)
    assert world.live(SERVICES, "fraud-preview") is None


def test_T_follows_replicas() -> None:
    world = at_step(1, canary(25, PAUSE), replicas=3)
    assert sizes(world) == (3, 1)
    world.edit(replicas=9)
    world.advance(3)
    assert sizes(world) == (9, 3)
    world.edit(replicas=3)
    world.advance(30)
    assert sizes(world) == (3, 1)


# --- weights that the pods cannot make


def test_a_share_more_than_20_points_beyond_what_was_asked_is_told_with_the_replicas_that_would_do() -> None:
    world = at_step(1, canary(5, 50), replicas=1)
    assert world.condition("WeightPossible") == ("False", "WeightNotPossible")
    said = world.events("WeightNotPossible")
    assert len(said) == 1
    assert "gets 50 %" in said[0]
    assert "raise spec.replicas to 19" in said[0]
    until_step(world, 2)
    world.advance(2)
    assert world.condition("WeightPossible") is None


def test_a_share_within_20_points_is_not_told() -> None:
    world = at_step(1, canary(5), replicas=3)
    assert world.condition("WeightPossible") is None


def test_of_one_pod_with_maxSurge_0_there_is_no_canary() -> None:
    world = serving(replicas=1, rollout=canary(rollingUpdate=IN_PLACE))
    world.edit(model=model("2"))
    world.until(lambda: world.condition("Ready") == ("False", "WeightNotPossible"), within=5)
    world.rest()
    assert len(world.pods()) == 1
    for way in ("maxSurge to 1", "raise spec.replicas", "RollingUpdate"):
        assert way in world.message()
    world.edit(replicas=2)
    world.until(lambda: len(world.pods()) > 1)
    world.until(lambda: world.outcome(two(world)) == "Promoted")


# --- a person


def test_promote_grows_the_candidate_before_the_traffic_moves() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.command("promote", two(world))
    world.advance(1)
    assert (world.phase, world.outcome(two(world)), sizes(world)) == ("Promoting", "", (10, 10))
    assert record(world)["promoting"] == "person"
    assert world.status["lastCommand"]["result"] == "Done"
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    assert len([pod for pod in world.ready_pods(two(world)) if world.cluster.is_available(pod, 10)]) == 10
    assert world.rule(two(world)) == "person"
    world.advance(3)
    assert world.backends() == {two(world)}


def test_promote_is_taken_before_the_first_pod_is_available() -> None:
    world = updating(replicas=2, rollout=canary(10))
    world.command("promote", two(world))
    world.until(lambda: world.rule(two(world)) == "person")


def test_promote_is_refused_in_a_pause() -> None:
    world = at_step(1, canary(10, 50))
    world.edit(paused=True)
    world.command("promote", two(world))
    world.advance(3)
    assert world.status["lastCommand"]["result"] == "Refused"
    assert "promoting" not in record(world)


@pytest.mark.parametrize("behaviour", [{"failure": "crash"}, {"ready_after": None}])
def test_automation_does_not_undo_a_promotion_that_a_person_asked_for(behaviour: Object) -> None:
    world = at_step(1, canary(10, PAUSE, progressDeadline="2m"))
    world.behave("2", **behaviour)
    world.command("promote", two(world))
    world.advance(3600)
    assert world.outcome(two(world)) == ""
    assert world.condition("Ready") == ("False", "PromotionStands")
    assert f"abort {two(world)}" in world.message()
    world.command("abort", two(world), "t2")
    world.until(lambda: world.phase == "RolledBack")
    assert world.rule(two(world)) == "person"


def test_a_promotion_by_the_end_of_the_steps_is_rolled_back_at_its_deadline() -> None:
    world = at_step(1, canary(10, progressDeadline="2m"))
    world.cluster.refused = "exceeded quota"
    world.until(lambda: world.phase == "Promoting")
    world.until(lambda: world.outcome(two(world)) == "RolledBack")
    assert world.rule(two(world)) == "deadline"
    world.until(lambda: world.phase == "RolledBack")
    assert world.backends() == {one(world)}


def test_a_pause_holds_a_promotion() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.command("promote", two(world))
    world.advance(1)
    world.edit(paused=True)
    world.advance(3600)
    assert (world.phase, world.outcome(two(world))) == ("Paused", "")
    world.edit(paused=False)
    world.until(lambda: world.rule(two(world)) == "person")


@pytest.mark.parametrize("weight", [10, 50, 75])
def test_abort_moves_all_requests_back(weight: int) -> None:
    world = at_step(1, canary(weight, PAUSE))
    world.command("abort", two(world))
    world.until(lambda: world.phase == "RolledBack")
    assert (world.outcome(two(world)), world.rule(two(world))) == ("RolledBack", "person")
    assert world.backends() == {one(world)}
    assert world.live(DEPLOYMENTS, two(world)) is None


def test_up_to_half_an_abort_takes_effect_within_two_seconds() -> None:
    world = at_step(1, canary(50, PAUSE))
    world.command("abort", two(world))
    world.advance(2)
    assert world.backends() == {one(world)}


def test_above_half_the_champion_grows_before_an_abort_takes_the_requests_away() -> None:
    world = at_step(1, canary(90, PAUSE))
    least = 10

    def note() -> None:
        nonlocal least
        least = min(least, sum(listed(world)))

    world.after_pass.append(note)
    world.command("abort", two(world))
    world.until(lambda: world.phase == "RolledBack")
    assert least >= 10


def test_an_abort_while_it_is_being_promoted_works_until_the_outcome() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.behave("2", ready_after=60.0)
    world.command("promote", two(world))
    world.advance(20)
    assert world.phase == "Promoting"
    world.command("abort", two(world), "t2")
    world.until(lambda: world.phase == "RolledBack")
    assert world.outcome(two(world)) == "RolledBack"


@pytest.mark.parametrize("rolling", [{}, {"maxSurge": "100%", "maxUnavailable": "50%"}])
@pytest.mark.parametrize("weight", [50, 75])
def test_in_the_warm_window_a_promotion_can_be_undone(weight: int, rolling: Object) -> None:
    world = at_step(1, canary(weight, rollingUpdate=rolling))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.status["previous"]["revision"] == one(world)
    world.command("abort", two(world))
    world.until(lambda: world.phase == "RolledBack")
    assert (world.outcome(two(world)), sizes(world)) == ("RolledBack", (10, None))
    assert world.backends() == {one(world)}


def test_after_the_warm_window_the_champions_predecessor_is_gone() -> None:
    world = at_step(1, canary(50, scaleDownDelay="40s"))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.rest()
    assert world.live(DEPLOYMENTS, one(world)) is None


def test_retry_starts_at_the_first_step() -> None:
    world = at_step(2, canary(10, 50))
    before = record(world)["id"]
    world.command("abort", two(world))
    world.until(lambda: world.phase == "RolledBack")
    world.command("retry", two(world), "t2")
    world.until(lambda: record(world)["id"] != before)
    until_step(world, 1)


# --- what goes wrong


def test_a_candidate_that_crashes_is_rolled_back() -> None:
    world = at_step(1, canary(50, PAUSE))
    world.behave("2", failure="crash")
    for pod in world.pods(two(world))[:1]:
        world.cluster.stop(pod)
    world.until(lambda: world.outcome(two(world)) == "RolledBack")
    assert world.rule(two(world)).startswith("crash")
    world.until(lambda: world.phase == "RolledBack")
    assert world.backends() == {one(world)}


def test_a_step_whose_pods_do_not_come_up_is_rolled_back_at_the_deadline() -> None:
    world = at_step(1, canary(10, 50, progressDeadline="3m"))
    world.cluster.refused = "exceeded quota"
    world.until(lambda: world.outcome(two(world)) == "RolledBack")
    assert world.rule(two(world)) == "deadline"


def test_the_deadline_begins_anew_at_each_step() -> None:
    world = at_step(3, canary(10, 20, 30, progressDeadline="75s"))
    assert world.outcome(two(world)) == ""


def test_a_pod_that_is_lost_at_a_pause_is_no_reason_to_roll_back() -> None:
    world = at_step(1, canary(10, PAUSE, progressDeadline="1m"))
    world.until(lambda: world.phase == "Paused")
    world.advance(600)
    world.cluster.stop(world.pods(two(world))[0])
    world.advance(600)
    assert world.outcome(two(world)) == ""
    assert len(world.ready_pods(two(world))) == 1


def test_a_candidate_without_a_ready_pod_gets_no_requests() -> None:
    world = at_step(1, canary(10, PAUSE))
    world.behave("2", ready_after=40.0)
    world.cluster.stop(world.pods(two(world))[0])
    world.advance(3)
    assert (world.selector() or {}).get("podium.dev/revision") == one(world)
    world.until(lambda: world.selector() == BOTH, within=120)


def test_a_spec_that_is_put_back_retires_the_candidate() -> None:
    world = at_step(1, canary(50, PAUSE))
    world.edit(model=model("1"))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.outcome(two(world)) == "Superseded"
    assert (world.backends(), sizes(world)) == ({one(world)}, (10, None))


def test_another_spec_starts_anew_at_the_first_step() -> None:
    world = at_step(2, canary(10, 50))
    world.edit(model=model("3"))
    world.until(lambda: world.outcome(two(world)) == "Superseded")
    world.until(lambda: world.status.get("candidate", {}).get("version") == "3")
    assert world.status["rollout"]["step"] == 1
    assert world.status["champion"]["revision"] == one(world)


def test_a_champion_that_is_down_gives_way_to_the_candidate() -> None:
    world = at_step(1, canary(50, PAUSE), replicas=2)
    world.behave("1", failure="crash")
    for pod in world.pods(one(world)):
        world.cluster.stop(pod)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    assert world.rule(two(world)) == "champion-down"


def test_a_record_without_its_steps_is_not_acted_on() -> None:
    world = at_step(1, canary(10, 50))
    found = {key: value for key, value in record(world).items() if key != "steps"}
    world.change(
        CONTROLLER_REVISIONS, two(world), lambda o: o["metadata"]["annotations"].update({ROLLOUT: json.dumps(found)})
    )
    world.advance(3600)
    assert world.outcome(two(world)) == ""
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")


# --- autoscaling


def test_under_autoscaling_the_champion_alone_has_an_HPA_that_only_adds() -> None:
    world = at_step(1, canary(50, PAUSE), replicas=2, autoscaling=AUTOSCALING)
    assert world.hpas() == [one(world)]
    world.cluster.demand[one(world)] = 6
    world.advance(60)
    assert sizes(world) == (6, 6)
    world.cluster.demand[one(world)] = 2
    world.advance(900)
    assert sizes(world) == (6, 6)


def test_under_autoscaling_the_promoted_one_gets_the_HPA() -> None:
    world = at_step(1, canary(50), replicas=3, autoscaling=AUTOSCALING)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.until(lambda: world.hpas() == [two(world)])
    assert sizes(world)[1] == 3


def test_the_HPA_of_the_promoted_one_takes_nothing_away_until_it_has_seen_all_of_the_load() -> None:
    world = at_step(1, canary(50), replicas=6, autoscaling=AUTOSCALING)
    world.until(lambda: world.hpas() == [two(world)])
    world.cluster.demand[two(world)] = 2
    world.advance(200)
    assert sizes(world)[1] == 6
    world.advance(400)
    assert sizes(world)[1] == 2


def test_with_maxSurge_0_T_is_frozen_under_autoscaling() -> None:
    world = at_step(1, canary(50, PAUSE, rollingUpdate=IN_PLACE), replicas=4, autoscaling=AUTOSCALING)
    assert (sizes(world), world.hpas()) == ((2, 2), [])
    world.command("promote", two(world))
    world.until(lambda: world.hpas() == [two(world)])
    assert sizes(world)[1] == 4
