"""The order of the rules: harm, then holds, then promotion, then the end of the time."""

import math

import pytest

from podium.analysis.decision import Call, Circumstances, Decision, decide, told
from podium.analysis.intervals import Interval
from podium.analysis.metrics import Kind
from podium.analysis.plan import Plan, Role, metric
from podium.analysis.report import reports
from tests.unit.analysis.given import ERRORS, LATENCY, folded, interval, plan

HEALTHY = [interval(2 * k, (450, 0), (150, 0)) for k in range(60)]
FAILING = [interval(2 * k, (150, 0), (50, 3)) for k in range(30)]
REJECTIONS = metric("rejections", Kind.REJECTIONS)


def decision(of: Plan, intervals: list[Interval], **circumstances: object) -> Decision:
    return decide(of, folded(of, intervals), Circumstances(**circumstances))  # type: ignore[arg-type]


def test_a_candidate_that_fails_is_rolled_back_whatever_else_is_the_case() -> None:
    found = decision(plan(), FAILING, steps_over=True, time_over=True, holds=("metrics are missing",))
    assert (found.call, found.rule) == (Call.ROLL_BACK, "harm: errors")
    assert "fewer than 1 of 20 rollouts" in found.message


def test_the_rule_names_the_metric_that_got_worse() -> None:
    counted = {"finished": (1500.0, 500.0), "5xx": (1.0, 0.0), "4xx": (1.0, 40.0)}
    assert decision(plan(ERRORS, REJECTIONS), [interval(counted=counted)]).rule == "harm: rejections"


def test_evidence_of_harm_is_shared_among_the_metrics() -> None:
    alone, four = plan(ERRORS), plan(ERRORS, REJECTIONS, metric("abandoned", Kind.ABANDONED), LATENCY)
    for count in range(1, 30):
        first, second = decision(alone, FAILING[:count]), decision(four, FAILING[:count])
        # the others have counted nothing but finished requests without 4xx
        expected = math.log(sum(math.exp(one.harm) for one in second.metrics) / 4)
        assert second.harm == pytest.approx(expected)
        assert second.metrics[0].harm == pytest.approx(first.harm)


def test_a_wrong_split_holds_before_anything_is_promoted() -> None:
    rows = [
        interval(2 * k, counted={"started": (300.0, 300.0), "finished": (300.0, 300.0)}, weight=2500) for k in range(60)
    ]
    found = decision(plan(), rows, steps_over=True)
    assert (found.call, found.rule) == (Call.HOLD, "sample-ratio")
    assert "bypass the routers" in found.message


def test_what_is_missing_holds_and_is_said() -> None:
    found = decision(plan(), HEALTHY, steps_over=True, time_over=True, holds=("no metrics for 60 s",))
    assert (found.call, found.message) == (Call.HOLD, "no metrics for 60 s")


def test_a_healthy_candidate_is_promoted_once_its_steps_are_over() -> None:
    assert decision(plan(), HEALTHY, steps_over=True).call is Call.PROMOTE
    assert decision(plan(), HEALTHY).call is Call.GO_ON


def test_every_guardrail_must_have_its_evidence_at_the_same_moment() -> None:
    of = plan(ERRORS, LATENCY)
    found = decision(of, HEALTHY, steps_over=True)
    assert [one.promotes for one in found.metrics] == [True, False]
    assert found.call is Call.GO_ON
    assert found.message == "slow: evidence 1.0 of 20 for no harm"


def test_current_values_decide_and_not_the_largest_so_far() -> None:
    of = plan(metric("errors", Kind.ERROR_RATE, harm_ratio=1.5))
    enough = decision(of, HEALTHY, steps_over=True)
    worse = [*HEALTHY, *(interval(120 + 2 * k, (450, 1), (150, 1)) for k in range(8))]
    assert enough.call is Call.PROMOTE
    assert decision(of, worse, steps_over=True).call is Call.GO_ON


def test_a_goal_must_be_reached_beside_the_guardrails() -> None:
    goal = metric("accuracy", Kind.ACCURACY, role=Role.GOAL)
    of = plan(ERRORS, goal)
    rows = [
        interval(2 * k, counted={"finished": (450.0, 150.0), "labelled": (450.0, 150.0), "wrong": (45.0, wrong)})
        for wrong in (15.0,)
        for k in range(60)
    ]
    same = decision(of, rows, steps_over=True)
    assert same.call is Call.GO_ON
    assert same.message.startswith("accuracy: evidence ")
    assert same.message.endswith(" of 20 that it is better")
    better = [
        interval(2 * k, counted={"finished": (450.0, 150.0), "labelled": (450.0, 150.0), "wrong": (45.0, 8.0)})
        for k in range(60)
    ]
    assert decision(of, better, steps_over=True).call is Call.PROMOTE


def test_at_the_end_of_the_time_it_is_inconclusive() -> None:
    found = decision(plan(), HEALTHY[:5], time_over=True)
    assert (found.call, found.rule) == (Call.INCONCLUSIVE, "max-duration")


def test_without_metrics_the_end_of_the_steps_promotes() -> None:
    none = Plan(started_at=0.0, metrics=())
    assert decision(none, [], steps_over=True).rule == "steps-complete"
    assert decision(none, []).call is Call.GO_ON


def test_metrics_of_which_none_can_be_weighed_promote_nothing() -> None:
    of = plan(metric("slow", Kind.LATENCY))
    assert decision(of, HEALTHY, steps_over=True).call is Call.GO_ON
    late = decision(of, HEALTHY, steps_over=True, time_over=True)
    assert (late.call, late.rule) == (Call.INCONCLUSIVE, "max-duration")
    assert "slow has no threshold" in late.message


def test_requests_that_are_given_up_long_after_they_began_are_weighed_with_those_that_are_over() -> None:
    of = plan(metric("abandoned", Kind.ABANDONED, champion=(10_000, 0)))
    rows = []
    for k in range(300):  # 2 requests/s, and every 20 s one of the candidate's, of which every other is given up later
        began, over = float(k % 10 == 0), float(k % 20 == 0)
        left = float(k % 20 == 17)
        counted = {"started": (4.0, began), "finished": (4.0, over), "abandoned": (0.0, left)}
        rows.append(interval(2 * k, counted=counted))
    found = decision(of, rows, steps_over=True)
    assert (found.call, found.rule) == (Call.ROLL_BACK, "harm: abandoned")


def test_without_a_router_steps_alone_promote_and_harm_needs_the_square() -> None:
    of, sure = plan(approximate=True), plan()
    assert decision(of, HEALTHY[:1], steps_over=True).rule == "steps-complete"
    count = next(k for k in range(30) if decision(sure, FAILING[:k]).call is Call.ROLL_BACK)
    assert decision(of, FAILING[:count]).call is Call.GO_ON
    assert decision(of, FAILING).call is Call.ROLL_BACK
    assert decision(of, FAILING).needed_for_harm == pytest.approx(math.log(400))


def test_a_metric_that_is_shown_and_not_weighed_decides_nothing() -> None:
    shown = metric("slow", Kind.LATENCY)
    of = plan(ERRORS, shown)
    rows = [
        interval(2 * k, counted={"finished": (450.0, 150.0), "answered": (450.0, 150.0), "above:slow": (9.0, 150.0)})
        for k in range(60)
    ]
    found = decision(of, rows, steps_over=True)
    assert found.call is Call.PROMOTE
    assert [one.name for one in found.metrics] == ["errors"]
    report = reports(of, folded(of, rows), found)[1]
    assert (report.name, report.harm, report.weighed.candidate_events) == ("slow", None, 9000)


def test_a_report_has_the_counted_beside_the_weighed_and_the_ratio_with_its_interval() -> None:
    rows = [interval(0, (3000, 60), (1000, 40)), interval(2, (500, 9), (500, 9), straddles=True)]
    of = plan()
    (report,) = reports(of, folded(of, rows), decision(of, rows))
    assert (report.counted, report.weighed) == ((1500, 49, 3500, 69), (1000, 40, 3000, 60))
    assert report.ratio == pytest.approx(2, abs=1e-6)
    assert report.interval[0] < 2 < report.interval[1]


def test_a_report_of_a_mean_has_the_difference_with_its_interval() -> None:
    click = metric("click", Kind.REWARD, role=Role.GOAL)
    counted = {"values:click": (300.0, 100.0), "sum:click": (300.0, 130.0), "squares:click": (600.0, 269.0)}
    rows = [interval(2 * k, counted=counted) for k in range(50)]
    rows.append(interval(100, counted=counted, straddles=True))
    of = plan(click)
    (report,) = reports(of, folded(of, rows), decision(of, rows))
    assert (report.counted, report.weighed) == ((5100, 0, 15300, 0), (5000, 0, 15000, 0))
    assert report.ratio == pytest.approx(0.3)
    assert 0.2 < report.interval[0] < 0.3 < report.interval[1] < 0.4


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (math.log(0.021), "0.02"),
        (math.log(8.13), "8.1"),
        (math.log(20), "20"),
        (math.log(130), "130"),
        (500.0, "10^217"),
    ],
)
def test_evidence_in_words(log: float, text: str) -> None:
    assert told(log) == text
