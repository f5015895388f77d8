"""Means: burn-in, both directions, margin, starts."""

import math
import random

import pytest

from podium.analysis import mean
from podium.analysis.counts import Moments
from podium.analysis.metrics import Kind
from podium.analysis.plan import Role, metric
from podium.analysis.restarts import Start
from podium.analysis.state import log_better, log_harm
from tests.unit.analysis.given import folded, interval, plan

REWARD = metric("click", Kind.REWARD, role=Role.GOAL)


def rewards(candidate: float, champion: float, count: int, after: float = 0.0, step: int = 0, seed: int = 1) -> list:  # type: ignore[type-arg]
    """Intervals of 100 values of the candidate and 300 of the champion, normal with variance 1."""
    draw, found = random.Random(seed), []
    for k in range(count):
        arms = [[draw.gauss(m, 1) for _ in range(n)] for m, n in ((champion, 300), (candidate, 100))]
        counted = {
            "values:click": tuple(len(arm) for arm in arms),
            "sum:click": tuple(sum(arm) for arm in arms),
            "squares:click": tuple(sum(x * x for x in arm) for arm in arms),
        }
        found.append(interval(after + 2 * k, counted=counted, step=step))
    return found


def test_the_first_hundred_values_of_each_arm_set_the_scale_and_are_not_weighed() -> None:
    found = mean.added(mean.Mean(), Moments(100, 100, 500, 99, 99, 400), 0.05)
    assert found.rho == 0
    found = mean.added(found, Moments(1, 1, 1, 1, 1, 1), 0.05)
    assert found.rho == pytest.approx(mean.best_rho(0.05, (400 / 100 + 301 / 99) / 2))
    assert found.sums == mean.Sums()


def test_values_that_are_all_the_same_set_no_scale() -> None:
    assert mean.added(mean.Mean(), Moments(200, 200, 200, 200, 200, 200), 0.05).rho == 0


def test_an_interval_with_one_value_in_an_arm_adds_nothing() -> None:
    begun = mean.Mean(rho=30.0)
    assert mean.added(begun, Moments(1, 5, 25, 100, 0, 100), 0.05) == begun


def test_a_better_candidate_reaches_the_goal_and_a_worse_one_does_harm() -> None:
    better, worse = folded(plan(REWARD), rewards(0.3, 0.0, 20)), folded(plan(REWARD), rewards(-0.3, 0.0, 20))
    assert log_better(better, REWARD) > math.log(20) > 0 > log_harm(better, REWARD)
    assert log_harm(worse, REWARD) > math.log(20) > 0 > log_better(worse, REWARD)


def test_a_guardrail_may_be_lower_by_its_margin() -> None:
    guardrail = metric("click", Kind.REWARD, margin=0.3)
    same = rewards(0.0, 0.0, 20)
    assert log_better(folded(plan(guardrail), same), guardrail) > math.log(20)
    assert log_better(folded(plan(REWARD), same), REWARD) < math.log(20)


def test_evidence_on_means_starts_anew_with_a_step() -> None:
    of = plan(REWARD, starts=(Start(step=0), Start(step=1)))
    rows = rewards(-0.2, 0.0, 40) + rewards(0.4, 0.0, 15, after=200, step=1)
    assert log_better(folded(of, rows), REWARD) > math.log(20) > log_better(folded(plan(REWARD), rows), REWARD)


def test_the_interval_of_the_difference_covers_it_and_is_everything_while_burning_in() -> None:
    found = folded(plan(REWARD), rewards(0.3, 0.0, 30)).metrics["click"]
    assert isinstance(found, mean.Mean)
    low, high = mean.interval(found, 0.05)
    assert 0 < low < 0.3 < high < 0.6
    assert mean.interval(mean.Mean(), 0.05) == (-math.inf, math.inf)


@pytest.mark.parametrize("x", [-29.9, -5.1, -4.9, 0.0, 3.0])
def test_evidence_far_on_the_other_side_is_a_number(x: float) -> None:
    exactly = math.log(math.erfc(-x / math.sqrt(2)) / 2)
    assert mean.mixture(x * math.sqrt(2), 1.0, 1.0) == pytest.approx(0.5 * math.log(2) + x * x / 2 + exactly)


def test_the_tail_goes_on_where_floats_end() -> None:
    near, far = (mean.mixture(-x * math.sqrt(2), 1.0, 1.0) for x in (29.999, 30.001))
    assert far == pytest.approx(near, abs=1e-3)
    assert math.isfinite(mean.mixture(-1e6, 1.0, 1.0))
