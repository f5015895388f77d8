"""The ratio that people see, and its interval."""

import math

import pytest

from podium.analysis import curve, ratio
from podium.analysis.counts import NO_COUNTS, Counts
from podium.analysis.grids import around, log_mean_exp

RAMP = [Counts(100, 2, 1900, 19), Counts(500, 5, 1500, 15), Counts(1000, 9, 1000, 10), Counts(0, 0, 10, 1)] * 20


def of(rows: list[Counts]) -> tuple[tuple[float, ...], Counts]:
    table, totals = curve.empty(), NO_COUNTS
    for row in rows:
        table, totals = curve.added(table, row), totals + row
    return table, totals


@pytest.mark.parametrize("null", [0.02, 0.5, 1.0, 1.234567, 40.0])
def test_the_table_gives_the_evidence_of_all_intervals(null: float) -> None:
    sums = [
        sum(column) for column in zip(*(ratio.increments(row, null, around(null, 0.8)) for row in RAMP), strict=True)
    ]
    assert curve.log_evidence(*of(RAMP), null) == pytest.approx(log_mean_exp(sums), abs=1e-4)


def test_on_a_ramp_the_ratio_is_not_that_of_the_totals() -> None:
    """The base rate rose with the weight: pooled, a candidate that is the same looks worse."""
    table, totals = of([Counts(100, 1, 1900, 19), Counts(1000, 100, 1000, 100)])
    pooled = (totals.candidate_events / totals.candidate_units) / (totals.champion_events / totals.champion_units)
    assert pooled > 2
    assert curve.estimate(table, totals) == pytest.approx(1, abs=1e-6)


def test_the_interval_narrows_around_the_ratio() -> None:
    few, many = (curve.interval(*of([Counts(1000, 20, 1000, 10)] * times), 0.05) for times in (2, 200))
    assert few[0] < many[0] < 2 < many[1] < few[1]


def test_a_ratio_beyond_a_hundred_is_told_as_beyond_it() -> None:
    none = of([Counts(10**9, 0, 3 * 10**9, 10**6)])
    all_of_them = of([Counts(10**9, 10**6, 3 * 10**9, 1)])
    assert curve.interval(*none, 0.05) == (0.0, pytest.approx(0.01))
    assert curve.interval(*all_of_them, 0.05) == (pytest.approx(100), math.inf)


def test_a_thousand_million_units_have_a_narrow_interval() -> None:
    low, high = curve.interval(*of([Counts(10**8, 10**6, 10**8, 10**6)] * 10), 0.05)
    assert 0.98 < low < 1 < high < 1.02  # half of the way to the nearest alternative of the grid


def test_exchanged_arms_have_the_inverse_interval() -> None:
    low, high = curve.interval(*of([Counts(500, 30, 1500, 45)]), 0.05)
    other_low, other_high = curve.interval(*of([Counts(1500, 45, 500, 30)]), 0.05)
    assert (other_low, other_high) == pytest.approx((1 / high, 1 / low), rel=1e-6)


@pytest.mark.parametrize(
    ("counts", "ratio_", "bounded"),
    [
        (Counts(1000, 0, 1000, 0), None, (False, False)),
        (Counts(1000, 0, 1000, 50), 0.0, (False, True)),
        (Counts(1000, 50, 1000, 0), math.inf, (True, False)),
        (Counts(0, 0, 1000, 50), 0.0, (False, False)),
    ],
)
def test_without_events_there_is_no_bound_on_that_side(
    counts: Counts, ratio_: float | None, bounded: tuple[bool, bool]
) -> None:
    table, totals = of([counts])
    low, high = curve.interval(table, totals, 0.05)
    assert curve.estimate(table, totals) == ratio_
    assert (low > 0, high < math.inf) == bounded
