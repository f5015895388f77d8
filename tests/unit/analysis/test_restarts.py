"""Starts of evidence, and their weights."""

import math

import pytest

from podium.analysis.restarts import Start, starts, weights
from podium.analysis.state import log_better, log_harm
from tests.unit.analysis.given import BY_RATIO, ERRORS, folded, interval, plan

DAY = 24 * 3600.0


def test_evidence_starts_with_each_step_then_after_1_2_4_8_hours() -> None:
    assert starts(3, DAY, 4) == (
        *(Start(step=step) for step in (0, 1, 2)),
        *(Start(after=3600.0 * hours) for hours in (1, 2, 4, 8, 16)),
    )


def test_there_are_at_most_eight_starts_and_none_after_the_end() -> None:
    assert len(starts(20, DAY, 4)) == 8
    assert starts(1, 5000, 4) == (Start(step=0), Start(after=3600.0))
    assert starts(0, 60, 4) == (Start(step=0),)


def test_with_many_metrics_there_are_fewer_starts_so_that_the_ledger_fits() -> None:
    assert len(starts(3, DAY, 20)) == 4


@pytest.mark.parametrize("count", [1, 2, 8])
def test_weights_fall_as_1_over_s_times_s_plus_1_and_sum_to_one(count: int) -> None:
    found = weights(count)
    assert math.fsum(found) == pytest.approx(1)
    assert [weight / found[0] for weight in found] == pytest.approx([2 / (s * (s + 1)) for s in range(1, count + 1)])


def test_before_its_start_evidence_is_one() -> None:
    of = plan(BY_RATIO, starts=(Start(step=0), Start(step=1)))
    state = folded(of, [interval(2 * k, (150, 1), (50, 4)) for k in range(50)])
    alone = plan(BY_RATIO)
    without = folded(alone, [interval(2 * k, (150, 1), (50, 4)) for k in range(50)])
    first, second = weights(2)
    assert math.exp(log_harm(state, BY_RATIO)) == pytest.approx(
        first * math.exp(log_harm(without, BY_RATIO)) + second, rel=1e-9
    )


def test_a_start_by_the_clock_forgets_what_came_before() -> None:
    """A shared incident, then an hour of health: promotion follows from the second start."""
    of = plan(ERRORS, starts=(Start(step=0), Start(after=3600.0)))
    incident = [interval(2 * k, (150, 8), (50, 4)) for k in range(30)]
    healthy = [interval(3600 + 2 * k) for k in range(200)]
    later, never = folded(of, incident + healthy), folded(plan(ERRORS), incident + healthy)
    assert log_better(never, ERRORS) < 0
    assert log_better(later, ERRORS) > math.log(20)


def test_a_start_amid_a_block_forgets_what_came_before_in_it() -> None:
    of = plan(ERRORS, starts=(Start(after=1e9), Start(after=100.0)))
    before = [interval(2 * k, (150, 0), (50, 5)) for k in range(50)]
    after = [interval(100 + 2 * k, (150, 1), (50, 2)) for k in range(5)]
    whole, only_after = folded(of, before + after), folded(of, after)
    assert log_harm(whole, ERRORS) == pytest.approx(log_harm(only_after, ERRORS))


def test_a_late_regression_is_found_by_the_start_of_its_step() -> None:
    of = plan(BY_RATIO, starts=(Start(step=0), Start(step=1)))
    good = [interval(2 * k, (150, 15), (50, 1)) for k in range(100)]
    bad = [interval(200 + 2 * k, (150, 2), (50, 4), step=1, weight=5000) for k in range(30)]
    assert log_harm(folded(plan(BY_RATIO), good + bad), BY_RATIO) < 0
    assert log_harm(folded(of, good + bad), BY_RATIO) > math.log(20)
