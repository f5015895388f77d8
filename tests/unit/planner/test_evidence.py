"""Decisions and gates: a canary through routers goes by what its callers see."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import pytest

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import decided, read
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, SERVICES
from tests.unit.planner.measuring import EVERY
from tests.unit.planner.test_canary import PAUSE, one, record, two
from tests.unit.planner.test_canary_envoy import in_force, shares
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.weighed import ALIKE, ALL_FAIL, SILENT, STEPS, outcome, stored, until_weighed, weighed
from tests.unit.planner.world import NAME, NAMESPACE, World, model


def test_a_candidate_as_good_as_the_champion_is_promoted_by_evidence() -> None:
    world = weighed()
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert outcome(world) == ("Promoted", "evidence")
    assert set(in_force(world)) == {(0, 10_000)}


def test_the_end_of_the_steps_alone_promotes_nothing() -> None:
    world = weighed(rate=1.0)
    world.until(lambda: record(world).get("step") == len(STEPS))
    world.advance(600)
    assert world.phase == "Analyzing"
    assert shares(world)[1] == 5_000
    assert "Its last step is over" in world.status["message"]
    assert "to a decision at 1 request/s" in world.status["message"]


def test_without_requests_no_time_is_told() -> None:
    world = weighed(rate=0.0)
    until_weighed(world)
    world.advance(60)
    assert "no decision can be expected until there are requests" in world.status["message"]


def test_latency_that_cannot_count_for_promotion_says_so_and_what_ends_that() -> None:
    latency = [{"name": "slow", "type": "Latency", "threshold": "1s"}]
    world = weighed(replicas=2, steps=[{"weight": 10, "for": "20s"}], analysis={"metrics": latency})
    until_weighed(world)
    world.advance(60)
    assert world.status["message"].endswith(
        "no decision can be expected at this weight: slow does not count for it while a pod of the candidate is asked "
        "less than half as much as one of the champion's, which a larger weight or more replicas end."
    )


def test_a_candidate_that_hurts_is_rolled_back_and_the_reason_fits_a_line() -> None:
    world = weighed(candidate=ALL_FAIL)
    until_weighed(world)
    begun = world.now
    world.until(lambda: world.phase == "RolledBack")
    assert world.now - begun < timedelta(seconds=10)
    assert outcome(world) == ("RolledBack", "harm: errors")
    assert world.status["rollout"]["decision"]["by"] == "evidence"
    assert set(in_force(world)) == {(10_000, 0)}
    (said,) = world.events("RolledBack")
    assert "100 % of its answers failed, 1 % of those of version 1" in said
    assert "fewer than 1 of 20 rollouts" in said


def test_a_candidate_that_is_somewhat_worse_is_rolled_back_and_not_promoted() -> None:
    world = weighed(candidate=0.03)
    world.until(lambda: world.phase == "RolledBack")
    assert outcome(world) == ("RolledBack", "harm: errors")


ERRORS_AND_SLOW = [{"name": "errors", "type": "ErrorRate"}, {"name": "slow", "type": "Latency", "threshold": "1s"}]


def compared(champion: float, candidate: float) -> World:
    """Both fail alike, at half of the requests each; these shares of their answers take more than a second."""
    world = weighed(steps=[{"weight": 50, "for": "20s"}], analysis={"metrics": ERRORS_AND_SLOW})
    world.measuring.callers.slow = champion, candidate
    return world


def test_a_candidate_that_is_slower_and_fails_no_more_is_rolled_back_by_its_latency() -> None:
    world = compared(0.02, 0.06)
    world.until(lambda: world.phase == "RolledBack")
    assert outcome(world) == ("RolledBack", "harm: slow")
    (said,) = world.events("RolledBack")
    assert "6 % of its answers took longer than 1 s, 2 % of those of version 1" in said


def test_a_candidate_is_promoted_once_its_latency_is_proven_too() -> None:
    world = compared(0.02, 0.02)
    world.until(lambda: world.outcome(two(world)) == "Promoted")
    assert outcome(world) == ("Promoted", "evidence")
    decision = decided(read(stored(world)), Circumstances(steps_over=True))
    assert [one.name for one in decision.metrics] == ["errors", "slow"]
    assert all(one.better >= decision.needed for one in decision.metrics)


def test_no_weight_is_given_before_the_routers_are_read() -> None:
    world = routed(rollout={"strategy": "Canary", "steps": STEPS}, replicas=4)
    world.measuring.deaf = True
    world.edit(model=model("2"))
    world.advance(300)
    assert shares(world) == (10_000, 0)
    assert world.condition("Reconciling") == ("True", "NoData")
    world.measuring.deaf = False
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))


def test_missing_figures_hold_the_steps_and_the_promotion_and_never_decide() -> None:
    world = weighed()
    until_weighed(world)
    world.measuring.holds = (SILENT,)
    world.advance(600)
    assert record(world).get("step", 0) == 0
    assert world.condition("Reconciling") == ("True", "NoData")
    assert SILENT.removeprefix("not all") in world.status["message"]
    world.measuring.holds = ()
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_routers_that_cannot_be_read_are_a_condition() -> None:
    world = weighed()
    until_weighed(world)
    world.measuring.unreachable = "router pod podium-router-1: 10.0.0.7:9902 did not answer within 1 s"
    world.advance(30)
    assert world.condition("MetricsUnreachable") == ("True", "MetricsUnreachable")
    assert "NetworkPolicy" in world.message("MetricsUnreachable")


def test_harm_rolls_back_in_a_pause_too() -> None:
    world = weighed(steps=[{"weight": 50}, PAUSE])
    world.until(lambda: world.phase == "Paused")
    world.measuring.callers.candidate = ALL_FAIL
    world.until(lambda: world.phase == "RolledBack", within=30)
    assert outcome(world) == ("RolledBack", "harm: errors")


def test_what_evidence_has_promoted_is_rolled_back_if_it_hurts_while_it_grows() -> None:
    world = weighed(rate=2000.0)
    world.until(lambda: world.phase == "Analyzing")
    world.behave("2", ready_after=60.0)  # the pods that it grows by take their time
    world.until(lambda: world.phase == "Promoting")
    assert record(world)["promoting"] == "evidence"
    world.measuring.callers.candidate = ALL_FAIL
    world.until(lambda: world.phase == "RolledBack", within=30)
    assert outcome(world) == ("RolledBack", "harm: errors")


def test_a_person_s_promotion_stands_whatever_evidence_says() -> None:
    world = weighed(rate=1.0)
    until_weighed(world)
    world.command("promote", two(world))
    world.measuring.callers.candidate, world.measuring.callers.rate = ALL_FAIL, 500.0
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert outcome(world) == ("Promoted", "person")


def test_a_person_s_promotion_needs_no_evidence() -> None:
    world = weighed(rate=0.1)
    until_weighed(world)
    world.command("promote", two(world))
    world.until(lambda: world.condition("Ready") == ("True", "Serving"), within=120)
    assert outcome(world) == ("Promoted", "person")


@pytest.mark.parametrize(
    ("what", "end"), [("Rollback", ("RolledBack", "max-duration")), ("Promote", ("Promoted", "max-duration"))]
)
def test_without_a_decision_in_time_on_inconclusive_says_what_becomes_of_it(what: str, end: tuple[str, str]) -> None:
    world = weighed(rate=0.1, maxDuration="10m", onInconclusive=what)
    until_weighed(world)
    begun = world.now
    world.until(lambda: outcome(world) == end)
    assert timedelta(minutes=10) <= world.now - begun < timedelta(minutes=10, seconds=30)


@pytest.mark.parametrize(("what", "becomes"), [("Rollback", "RolledBack"), ("Promote", "Promoted")])
def test_a_rollout_that_leaves_the_routers_ends_with_maxDuration(what: str, becomes: str) -> None:
    world = weighed(steps=[{"weight": 50, "for": "20m"}], maxDuration="30m", onInconclusive=what)
    until_weighed(world)
    world.edit(traffic={"router": "None"})
    world.advance(900)
    assert outcome(world) == ("", "")
    assert world.condition("Ready") == ("False", "NoData")
    assert "To go on: set it back to Envoy, or give the rollout up: kubectl annotate" in world.message()
    world.until(lambda: world.outcome(two(world)) == becomes, within=3600)
    assert outcome(world) == (becomes, "max-duration")


def lose_routers(world: World, seconds: float) -> None:
    """All router pods are gone for so long."""
    for pod in world.routers.pods():
        world.routers.stop(pod["metadata"]["name"])
    world.advance(seconds)
    assert "do not pass the routers" in world.status["message"]
    world.routers.start()


def lose_service(world: World, seconds: float) -> None:
    """Somebody deletes the stable Service: it is made again at once."""
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.advance(seconds)


@pytest.mark.parametrize("lose", [lose_routers, lose_service])
def test_a_rollout_that_proved_itself_outlasts_routers_that_are_away_past_maxDuration(
    lose: Callable[[World, float], None],
) -> None:
    world = weighed(promotion="Manual", maxDuration="5m")
    world.until(lambda: world.phase == "Paused")
    world.advance(300)
    lose(world, 40)
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForPromotion"), within=120)
    assert outcome(world) == ("", "")
    world.command("promote", two(world))
    world.until(lambda: outcome(world) == ("Promoted", "person"))


def test_an_alarm_on_the_split_outlasts_routers_that_are_away_past_maxDuration() -> None:
    world = weighed(maxDuration="2m", onInconclusive="Promote")
    until_weighed(world)
    world.measuring.alarm()
    world.advance(150)
    assert world.condition("Paused") == ("True", "SampleRatio")
    lose_routers(world, 40)
    world.advance(40)
    assert outcome(world) == ("", "")
    assert not record(world).get("promoting")


def test_a_rollout_that_comes_back_to_the_routers_goes_on_by_evidence() -> None:
    world = weighed(steps=[{"weight": 50, "for": "1m"}])
    until_weighed(world)
    world.edit(traffic={"router": "None"})
    world.advance(300)
    world.edit(traffic={"router": "Envoy"})
    world.until(lambda: outcome(world) == ("Promoted", "evidence"), within=3600)


def test_on_inconclusive_pause_waits_for_a_person() -> None:
    world = weighed(rate=0.1, maxDuration="10m", onInconclusive="Pause")
    world.until(lambda: world.phase == "Paused")
    assert world.condition("Ready") == ("False", "Inconclusive")
    world.command("promote", two(world))
    world.until(lambda: outcome(world) == ("Promoted", "person"))


def test_a_rollout_that_waits_for_a_person_after_maxDuration_keeps_its_weight() -> None:
    steps: list[Object] = [{"weight": 10, "for": "4m"}, {"weight": 90, "for": "1m"}]
    world = weighed(rate=0.1, steps=steps, maxDuration="2m", onInconclusive="Pause")
    world.until(lambda: world.phase == "Paused")
    world.advance(400)
    assert shares(world) == (9_000, 1_000)
    assert world.condition("Ready") == ("False", "Inconclusive")
    world.rollout(maxDuration="1h")
    world.until(lambda: shares(world) == (1_000, 9_000), within=60)


def test_evidence_that_comes_after_maxDuration_still_promotes_what_waits_after_its_last_step() -> None:
    world = weighed(rate=0.1, maxDuration="2m", onInconclusive="Pause")
    world.until(lambda: world.phase == "Paused")
    assert record(world)["step"] == len(STEPS)
    world.measuring.callers.rate = 500.0
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_max_duration_stands_still_while_it_is_paused() -> None:
    world = weighed(rate=0.1, maxDuration="10m")
    until_weighed(world)
    world.advance(60)
    world.edit(paused=True)
    world.advance(900)
    world.edit(paused=False)
    world.advance(400)
    assert world.phase == "Analyzing"
    world.until(lambda: world.phase == "RolledBack", within=200)


@pytest.mark.parametrize("what", ["Rollback", "Promote"])
def test_max_duration_stands_still_while_it_is_suspended_and_until_the_champion_is_back(what: str) -> None:
    world = weighed(rate=0.1, maxDuration="10m", onInconclusive=what)
    until_weighed(world)
    world.advance(60)
    world.edit(suspend=True)
    world.advance(700)
    world.edit(suspend=False)
    world.advance(400)
    assert outcome(world) == ("", "")
    world.until(lambda: outcome(world)[1] == "max-duration", within=300)


def test_one_pod_that_is_lost_while_evidence_asks_a_person_rolls_nothing_back() -> None:
    rollout = {"steps": [{"weight": 50, "for": "10s"}], "progressDeadline": "2m"}
    undecided = weighed(rate=0.1, maxDuration="10m", onInconclusive="Pause", **rollout)
    undecided.until(lambda: undecided.phase == "Paused")
    alarmed = weighed(rate=0.1, maxDuration="6h", **rollout)
    until_weighed(alarmed)
    alarmed.measuring.alarm()
    alarmed.until(lambda: alarmed.condition("Paused") == ("True", "SampleRatio"))
    for world in (undecided, alarmed):
        world.behave(world.ready_pods(two(world))[0]["metadata"]["name"], ready_after=None)
        world.advance(300)
        assert outcome(world) == ("", "")


def test_a_new_operator_goes_on_from_the_ledger_and_moves_no_weight_meanwhile() -> None:
    world = weighed(rate=50.0)
    world.until(lambda: record(world).get("step") == 1)
    before = shares(world)
    counted = read(stored(world)).checkpoint.counted["finished"]
    world.hand_over()
    world.step()
    assert shares(world) == before
    assert "read for the first time" in world.status["message"]
    world.advance(2 * EVERY)
    assert world.measuring.live is not None
    assert world.measuring.live.state.counted["finished"] > counted
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


@pytest.mark.parametrize(("fails", "call"), [(ALIKE, Call.PROMOTE), (0.05, Call.ROLL_BACK)])
def test_the_ledger_replayed_gives_the_decision_that_was_made(fails: float, call: Call) -> None:
    world = weighed(candidate=fails)
    world.until(lambda: bool(world.status["rollout"].get("decision")))
    assert decided(read(stored(world)), Circumstances(steps_over=True)).call is call


def test_each_step_is_told_with_what_was_counted_at_the_one_before() -> None:
    world = weighed()
    world.until(lambda: record(world).get("step") == 1)
    said = world.events("Step")[-1]
    assert said.startswith("Version 2: step 2 of 2: 50 % (rule step-complete); errors ")
    (errors,) = (figures(part) for part in said.split("; ") if part.startswith("errors "))
    assert errors.champion > errors.candidate > 0
    assert errors.low < errors.ratio < errors.high


def test_a_promotion_that_begins_is_told_with_its_rule_and_what_it_was_decided_from() -> None:
    world = weighed()
    world.until(lambda: record(world).get("promoting"))
    said = world.events("Step")[-1]
    assert said.startswith("Version 2: all steps are over, and evidence is at least ")
    assert ": it grows to 4 pods to be promoted (rule evidence); errors " in said
    (errors,) = (figures(part) for part in said.split("; ") if part.startswith("errors "))
    assert errors.low < errors.ratio < errors.high < 1.5


class Figures(NamedTuple):
    """What an Event says of one metric: requests of both versions, the ratio, and its interval."""

    candidate: int
    champion: int
    ratio: float
    low: float
    high: float


def figures(part: str) -> Figures:
    found = re.match(r"\w+ [\d,]+ of ([\d,]+) \(champion [\d,]+ of ([\d,]+)\), ratio (\S+) \[(\S+), (\S+)\]", part)
    assert found, part
    candidate, champion, *numbers = found.groups()
    return Figures(int(candidate.replace(",", "")), int(champion.replace(",", "")), *map(float, numbers))


def test_status_has_the_figures_of_each_metric() -> None:
    world = weighed(candidate=0.01, rate=20.0)
    world.until(lambda: record(world).get("step") == 1)
    world.advance(60)
    found = {each["name"]: each for each in world.status["rollout"]["metrics"]}
    assert list(found) == ["errors", "rejections", "abandoned", "latency"]
    errors = found["errors"]
    assert errors["champion"]["n"] > errors["candidate"]["n"] > 0
    assert float(errors["interval"][0]) < 1 < float(errors["interval"][1])
    assert errors["evidence"]["needed"] == "20"
    assert "evidence" not in found["latency"], "too few answers to freeze an edge by: shown, not weighed"


def test_with_no_metrics_the_end_of_the_steps_promotes() -> None:
    world = weighed(rate=0.0, analysis={"metrics": []})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert outcome(world) == ("Promoted", "steps-complete")


def test_a_rolled_back_revision_s_ledger_stays_and_goes_with_its_record() -> None:
    world = weighed(candidate=ALL_FAIL, revisionHistoryLimit=0)
    world.until(lambda: world.phase == "RolledBack")
    ledger = f"{two(world)}-ledger"
    assert world.live(CONFIG_MAPS, ledger)
    world.edit(model=model("1"))
    world.rest()
    assert not world.live(CONFIG_MAPS, ledger)
    assert one(world)


def test_a_canary_that_is_led_to_routers_with_its_new_version_waits_for_them() -> None:
    world = World()
    world.create(replicas=4, rollout={"strategy": "Canary", "steps": STEPS})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.edit(model=model("2"), traffic={"router": "Envoy"})
    world.advance(120)
    assert not world.outcome(two(world))
    assert world.condition("Reconciling") == ("True", "NoData")
    assert "do not pass the routers" in world.status["message"]
    world.routers.start()
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_a_new_version_begins_without_the_evidence_on_the_one_before_it() -> None:
    world = weighed()
    until_weighed(world)
    world.edit(suspend=True)
    world.until(lambda: not world.pods())
    world.edit(model=model("3"), suspend=False)
    world.until(lambda: world.status.get("candidate", {}).get("version") == "3")
    assert world.outcome(two(world)) == "Superseded"
    assert not world.live(CONFIG_MAPS, f"{world.revision('3')}-ledger"), "nothing has been counted of it"


def test_the_end_of_the_time_decides_nothing_while_figures_are_missing() -> None:
    world = weighed(rate=0.1, maxDuration="10m", onInconclusive="Promote")
    until_weighed(world)
    world.measuring.deaf = True
    world.now += timedelta(minutes=20)
    world.hand_over()
    world.advance(60)
    assert not record(world).get("promoting"), "what the routers counted meanwhile is not known yet"
    assert world.condition("Reconciling") == ("True", "NoData")
    world.measuring.deaf = False
    world.until(lambda: outcome(world) == ("Promoted", "max-duration"), within=60)


def test_a_person_s_resume_ends_an_alarm_on_the_split_of_requests() -> None:
    world = weighed()
    until_weighed(world)
    world.measuring.alarm()
    world.until(lambda: world.condition("Paused") == ("True", "SampleRatio"))
    value = world.command("resume", two(world))
    world.advance(2 * EVERY)
    assert world.status["lastCommand"] | {"at": ""} == {
        "value": value, "at": "", "result": "Done", "message": "",
    }  # fmt: skip
    assert not world.events("CommandRefused")
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_a_command_that_was_refused_ends_no_alarm_on_the_split_of_requests() -> None:
    steps: list[Object] = [{"weight": 50, "for": "10s"}, PAUSE, {"weight": 60, "for": "10m"}]
    world = routed(rollout={"strategy": "Canary", "steps": steps}, replicas=4)
    for verb in ("pause", "resume"):
        world.command(verb, one(world), f"{verb}-1")
        world.advance(2)
    world.edit(model=model("2"))
    world.until(lambda: world.condition("Ready") == ("False", "WaitingForResume"))
    world.command("resume", two(world), "t2")
    world.until(lambda: shares(world)[1] == 6_000)
    world.advance(2 * EVERY)
    world.measuring.alarm()
    world.until(lambda: world.condition("Paused") == ("True", "SampleRatio"))
    world.command("retry", two(world), "t3")
    world.advance(3 * EVERY)
    assert world.status["lastCommand"]["result"] == "Refused"
    assert world.condition("Paused") == ("True", "SampleRatio")


@pytest.mark.parametrize(("rate", "told"), [(0.1, 1), (200.0, 0)])
def test_traffic_too_little_for_a_decision_in_time_is_told_once_at_the_start(rate: float, told: int) -> None:
    world = weighed(rate=rate, maxDuration="1h")
    world.until(lambda: record(world).get("step") == 1)
    said = world.events("TooLittleTraffic")
    assert len(said) == told
    assert all("at 0.1 requests/s evidence takes some" in each and "maxDuration is 1h" in each for each in said)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(("fails", "end"), [(ALIKE, ("Promoted", "evidence")), (0.05, ("RolledBack", "harm: errors"))])
def test_a_loss_of_all_figures_in_mid_rollout_holds_and_then_the_evidence_decides(
    fails: float, end: tuple[str, str], restarted: bool
) -> None:
    world = weighed(rate=50.0)
    world.until(lambda: shares(world)[1] == 5_000)
    world.measuring.deaf, world.measuring.holds = True, (SILENT,)
    world.measuring.callers.candidate = fails
    world.advance(300)
    if restarted:
        world.measuring.holds = ()  # a new operator has read nothing, and says that
        world.hand_over()
    world.advance(300)
    assert (record(world)["step"], shares(world)) == (1, (5_000, 5_000))
    assert not record(world).get("promoting")
    assert world.condition("Reconciling") == ("True", "NoData")
    assert ("read for the first time" if restarted else "Not all routers have been read") in world.status["message"]
    world.measuring.deaf, world.measuring.holds = False, ()
    world.until(lambda: outcome(world) == end)


def test_an_analysis_that_is_edited_while_nothing_is_missing_is_said_to_wait() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    world.rollout(analysis={"metrics": [{"name": "errors", "type": "ErrorRate", "maxRatio": 3}]})
    world.advance(2)
    assert world.condition("Ready") == ("False", "PlanPending")
    assert "spec.rollout.analysis was edited" in world.status["message"]
