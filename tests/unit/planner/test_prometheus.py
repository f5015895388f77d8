"""Decisions and gates: a metric that a Prometheus counts decides like one of the routers, and its outage holds."""

from tests.unit.planner.test_canary import record, two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.weighed import (
    ALL_FAIL,
    ASKED,
    CHECKOUT,
    OUTAGE,
    QUERY,
    STEPS,
    outcome,
    until_weighed,
    with_prometheus,
)
from tests.unit.planner.world import World, model


def test_what_a_prometheus_counts_rolls_back_and_the_reason_fits_a_line() -> None:
    world = with_prometheus()
    until_weighed(world)
    world.measuring.callers.checkout = (0.01, 0.2)
    world.until(lambda: world.phase == "RolledBack")
    assert outcome(world) == ("RolledBack", "harm: checkout")
    (said,) = world.events("RolledBack")
    assert "of its total were events of checkout, 1 % of those of version 1; " in said


def test_what_a_prometheus_counts_promotes() -> None:
    world = with_prometheus()
    world.until(lambda: world.status["rollout"].get("metrics"))
    asked = {each["name"]: each["type"] for each in world.status["rollout"]["metrics"]}
    assert asked == {"errors": "ErrorRate", "checkout": "Prometheus"}
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_a_new_operator_says_at_once_that_prometheus_is_not_asked_yet() -> None:
    world = with_prometheus()
    until_weighed(world)
    world.hand_over()
    world.reconcile()
    assert "The routers are read for the first time; Prometheus is asked for the first time" in world.status["message"]


def test_an_outage_of_prometheus_holds_and_the_verdict_comes_after_it() -> None:
    world = with_prometheus()
    until_weighed(world)
    world.measuring.holds = (OUTAGE,)
    world.measuring.callers.checkout = (0.01, 1.0)
    world.advance(600)
    assert world.phase == "Analyzing"
    assert record(world).get("step", 0) == 0
    assert world.condition("Reconciling") == ("True", "NoData")
    assert OUTAGE.removeprefix("metric") in world.status["message"]
    world.measuring.holds = ()
    world.until(lambda: outcome(world) == ("RolledBack", "harm: checkout"))


def test_harm_by_what_callers_see_rolls_back_during_an_outage_of_prometheus() -> None:
    world = with_prometheus()
    until_weighed(world)
    world.measuring.holds = (OUTAGE,)
    world.measuring.callers.candidate = ALL_FAIL
    world.until(lambda: outcome(world) == ("RolledBack", "harm: errors"), within=30)


NO_URL = (
    f"metric checkout: events ({ASKED}) cannot be asked: the operator knows no Prometheus: set prometheus.url of its "
    "chart, or remove the metric and abort and retry"
)
LACKS = "metric checkout: events (sum(failed_total)) is not asked, since it lacks {{namespace}} and {{revision}}"


def unasked(why: str, **metric: str) -> World:
    """Version 2 waits for its first weight: Prometheus has not been asked for one of its metrics."""
    metrics = [{"name": "errors", "type": "ErrorRate"}, CHECKOUT | {"tolerate": "0.1%"} | metric]
    world = routed(rollout={"strategy": "Canary", "steps": STEPS, "analysis": {"metrics": metrics}}, replicas=4)
    world.measuring.deaf, world.measuring.holds = True, (why,)
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    world.advance(120)
    assert shares(world)[1] == 0
    assert world.condition("Reconciling") == ("True", "NoData")
    assert why in world.status["message"]
    return world


def test_once_the_operator_is_told_where_prometheus_is_the_rollout_goes_on_by_itself() -> None:
    world = unasked(NO_URL)
    candidate = two(world)
    world.measuring.deaf, world.measuring.holds = False, ()
    world.hand_over()
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert two(world) == candidate, "nobody had to retry it"


def test_a_query_that_is_mended_in_spec_counts_from_the_next_rollout_and_the_message_says_how_to_begin_it() -> None:
    world = unasked(LACKS, events="sum(failed_total)")
    first = two(world)
    assert "abort" not in world.status["message"], "nothing was edited"
    analysis = {"metrics": [{"name": "errors", "type": "ErrorRate"}, CHECKOUT | {"tolerate": "0.1%"}]}
    world.rollout(analysis=analysis)
    world.advance(2)
    said = world.status["message"]
    assert "spec.rollout.analysis was edited since this rollout started and counts from the next one; to begin" in said
    assert f"abort {first}" in said
    assert f"retry {first}" in said
    world.command("abort", first, "mended")
    world.until(lambda: world.phase == "RolledBack")
    world.measuring.deaf, world.measuring.holds = False, ()
    world.command("retry", first, "mended")
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))
    assert two(world) != first
    assert [each["events"] for each in record(world)["analysis"]["metrics"] if "events" in each] == [QUERY]
