"""Figures that were worked out apart from this code, to the digits that they were printed with."""

import math
from itertools import accumulate

import pytest

from podium.analysis import curve, mean, ratio
from podium.analysis.counts import Counts, Moments
from podium.analysis.grids import Grid, above, around, below, log_mean_exp

PRINTED = 1e-6


def evidence(rows: list[Counts], null: float, grid: Grid) -> list[float]:
    """Log evidence after each interval."""
    each = [ratio.increments(row, null, grid) for row in rows]
    return [log_mean_exp(sums) for sums in accumulate(each, lambda a, b: [x + y for x, y in zip(a, b, strict=True)])]


def rows(s1: list[int], s0: list[int], n1: list[int], n0: list[int]) -> list[Counts]:
    return [Counts(*row) for row in zip(n1, s1, n0, s0, strict=True)]


RAMP = rows([2, 5, 9], [19, 15, 10], [100, 500, 1000], [1900, 1500, 1000])


def test_the_grid_of_harm() -> None:
    grid = above(1.0, 0.8)
    assert (len(grid), grid[0], grid[39]) == (40, pytest.approx(1.01261253, abs=1e-8), pytest.approx(7.37550504))


def test_harm_on_a_ramp() -> None:
    assert evidence(RAMP, 1.0, above(1.0, 0.8)) == pytest.approx([0.184247, -0.429970, -0.886700], abs=PRINTED)


def test_one_alternative_alone() -> None:
    assert evidence(RAMP, 1.0, (2.0,)) == pytest.approx([0.361701, -0.635434, -2.100947], abs=PRINTED)


def test_twice_as_many_events() -> None:
    four = [Counts(1000, 20, 1000, 10)] * 4
    assert evidence(four, 1.0, above(1.0, 0.8)) == pytest.approx([1.199421, 2.614515, 4.123732, 5.683502], abs=PRINTED)


def test_non_inferiority() -> None:
    given = rows([200, 240, 220], [180, 260, 200], [20_000] * 3, [20_000] * 3)
    assert evidence(given, 1.5, below(1.5, 0.5)) == pytest.approx([3.144050, 16.319497, 20.844729], abs=PRINTED)


def test_the_confidence_sequence_of_the_ratio() -> None:
    """The printed bounds are those of a coarse search: the definition itself is met to 1e-6."""
    counts = Counts(20_000, 400, 20_000, 200)
    low, high = curve.interval(curve.added(curve.empty(), counts), counts, 0.05)

    assert (low, high) == pytest.approx((1.5153, 2.6633), abs=3e-4)
    for bound in (low, high):
        exactly = log_mean_exp(ratio.increments(counts, bound, around(bound, 0.8)))
        assert exactly == pytest.approx(math.log(20), abs=1e-5)


def test_a_mean() -> None:
    given, sums, found = zip([1.1, 1.2, 1.0], [100, 200, 400], [900, 800, 600], strict=True), mean.Sums(), []
    for m1, n1, n0 in given:
        # squares such that the variance within the interval is 1 in both arms
        moments = Moments(n1, n1 * m1, n1 - 1 + n1 * m1 * m1, n0, n0, n0 - 1 + n0)
        sums = mean.added(mean.Mean(sums=sums, rho=31.601270), moments, 0.05).sums
        found.append(mean.log_evidence(sums, 31.601270))
    assert found == pytest.approx([0.120237, 2.576912, 0.865692], abs=PRINTED)


def test_rho_is_the_one_that_those_figures_were_worked_out_with() -> None:
    assert mean.best_rho(0.05, 1.0) == pytest.approx(31.601270, abs=PRINTED)
