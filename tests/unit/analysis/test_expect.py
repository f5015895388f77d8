"""When a decision can be expected."""

import math

import pytest

from podium.analysis.expect import Traffic, seconds_to_promotion, units_to_promotion
from podium.analysis.metrics import Kind
from podium.analysis.plan import Role, defaults, metric
from podium.analysis.restarts import starts
from podium.analysis.state import begun
from tests.unit.analysis.given import ERRORS, LATENCY, folded, interval, plan

TEN = Traffic(champion=30.0, candidate=10.0)


def test_the_slowest_guardrail_decides() -> None:
    quick, slow = metric("a", Kind.ABANDONED), metric("e", Kind.ERROR_RATE, champion=(10_000, 100))
    both, alone = plan(quick, slow), plan(slow)
    assert units_to_promotion(both, begun(both), TEN) == units_to_promotion(alone, begun(alone), TEN)
    assert units_to_promotion(plan(quick), begun(plan(quick)), TEN) < units_to_promotion(alone, begun(alone), TEN)


def test_it_comes_nearer_with_each_answer_and_is_nothing_once_evidence_is_enough() -> None:
    of, rows = plan(metric("errors", Kind.ERROR_RATE, champion=(10_000, 0))), [interval(2 * k) for k in range(200)]
    expected = [units_to_promotion(of, folded(of, rows[:count]), TEN) for count in (0, 20, 60, 200)]
    assert expected == sorted(expected, reverse=True)
    assert expected[0] - expected[1] == pytest.approx(1000, rel=0.2)
    assert expected[-1] == 0


def test_seconds_follow_from_the_candidates_traffic() -> None:
    of = plan()
    units = units_to_promotion(of, begun(of), TEN)
    assert seconds_to_promotion(of, begun(of), TEN) == units / 10
    assert seconds_to_promotion(of, begun(of), Traffic(30.0, 0.0)) == math.inf


def test_latency_is_not_expected_to_count_while_the_candidates_pods_are_asked_too_little() -> None:
    of, little = plan(LATENCY), Traffic(30.0, 10.0, alike=False)
    assert seconds_to_promotion(of, begun(of), TEN) < math.inf
    assert seconds_to_promotion(of, begun(of), little) == math.inf
    assert seconds_to_promotion(plan(ERRORS), begun(plan(ERRORS)), little) < math.inf
    fast = {"answered": (15_000, 5_000), "above:slow": (750, 0)}
    proven = folded(of, [interval(2 * k, counted=fast) for k in range(9)])
    assert seconds_to_promotion(of, proven, little) == 0.0


@pytest.mark.parametrize(
    ("rates", "measured"),
    [((0.0, 0.0, 0.0, 0.05), 5_200), ((0.0, 0.0, 0.0, 0.01), 7_940), ((0.01, 0.01, 0.0, 0.05), 9_370)],
)
def test_it_is_the_joint_figure_that_simulated_rollouts_come_to(rates: tuple[float, ...], measured: float) -> None:
    of = plan(*defaults(0.1, [(100_000, rate * 100_000) for rate in rates]), starts=starts(3, 86_400, 4))
    assert units_to_promotion(of, begun(of), TEN) == pytest.approx(measured, rel=0.2)


def test_at_high_rates_the_odds_form_is_carried_on_as_well() -> None:
    high = metric("wrong", Kind.ACCURACY, champion=(10_000, 2000))
    assert high.odds
    assert units_to_promotion(plan(high), begun(plan(high)), TEN) == pytest.approx(240, rel=0.3)


def test_how_much_better_a_candidate_is_nobody_knows_beforehand() -> None:
    of = plan(ERRORS, metric("accuracy", Kind.ACCURACY, role=Role.GOAL))
    assert units_to_promotion(of, begun(of), TEN) == math.inf


def test_without_a_router_only_the_steps_are_awaited() -> None:
    of = plan(approximate=True)
    assert seconds_to_promotion(of, begun(of), TEN) == 0
