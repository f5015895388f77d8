"""What each kernel promises: its evidence has mean at most 1 under the null, whatever the base rate."""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.analysis import odds, ratio, tolerance
from podium.analysis.counts import Counts
from podium.analysis.evidence import lessened
from podium.analysis.grids import Grid, above, below, log_mean_exp
from podium.analysis.metrics import Kind
from podium.analysis.plan import Role, metric

ROUNDING = 1e-9


def binomial(n: int, s: int, p: float) -> float:
    return math.comb(n, s) * p**s * (1 - p) ** (n - s)


def outcomes(n1: int, n0: int, p1: float, p0: float) -> Iterator[tuple[float, Counts]]:
    """All that can be counted in one interval, and how likely it is."""
    for s1, s0 in product(range(n1 + 1), range(n0 + 1)):
        yield binomial(n1, s1, p1) * binomial(n0, s0, p0), Counts(n1, s1, n0, s0)


def expected(kernel: Callable[[Counts], list[float]], n1: int, n0: int, p1: float, p0: float) -> float:
    return sum(chance * math.exp(log_mean_exp(kernel(counts))) for chance, counts in outcomes(n1, n0, p1, p0))


SIZES = [(1, 1), (1, 12), (9, 3), (6, 6)]


@pytest.mark.parametrize(("n1", "n0"), SIZES)
@pytest.mark.parametrize("base", [0.0, 0.001, 0.05, 0.3, 0.6])
@pytest.mark.parametrize(("null", "grid"), [(1.0, above(1.0, 0.8)), (1.5, above(1.5, 0.4)), (1.5, below(1.5, 0.5))])
@pytest.mark.parametrize("within", [1.0, 0.8])
def test_evidence_on_a_ratio_has_mean_at_most_one(
    n1: int, n0: int, base: float, null: float, grid: Grid, within: float
) -> None:
    worse = null * (within if grid[0] > null else 1 / within) * base
    assert expected(lambda counts: ratio.increments(counts, null, grid), n1, n0, min(worse, 1.0), base) <= 1 + ROUNDING


@pytest.mark.parametrize(("n1", "n0"), [*SIZES, (20, 60), (60, 20)])
@pytest.mark.parametrize("base", [0.001, 0.05, 0.2, 0.4])
@pytest.mark.parametrize("most", [2.0, 5.0, 30.0])
@pytest.mark.parametrize("null", [1.0, 1.5])
def test_so_has_what_is_left_of_it_in_an_unusual_interval(
    n1: int, n0: int, base: float, most: float, null: float
) -> None:
    grid = below(null, 0.5)

    def left(counts: Counts) -> list[float]:
        return list(lessened(ratio.increments(counts, null, grid), counts, most))

    assert expected(left, n1, n0, null * base, base) <= 1 + ROUNDING


def test_evidence_on_a_ratio_has_a_mean_above_one_beyond_the_null() -> None:
    """So that the tests of the mean can fail."""
    assert expected(lambda counts: ratio.increments(counts, 1.0, above(1.0, 0.8)), 6, 6, 0.12, 0.05) > 1.01


@pytest.mark.parametrize(("n1", "n0"), SIZES)
@pytest.mark.parametrize("base", [0.11, 0.3, 0.55])
@pytest.mark.parametrize("up", [True, False])
def test_evidence_on_the_odds_has_mean_one_at_the_null(n1: int, n0: int, base: float, up: bool) -> None:
    null = odds.null_odds(1.5, base)
    grid = above(null, 0.8) if up else below(null, 0.5)
    found = expected(lambda counts: odds.increments(counts, null, grid), n1, n0, 1.5 * base, base)
    assert found == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("up", [True, False])
def test_evidence_on_the_odds_has_a_mean_below_one_on_the_side_of_the_null(up: bool) -> None:
    grid, p1 = (above(1.0, 0.8), 0.2) if up else (below(1.0, 0.5), 0.4)
    assert expected(lambda counts: odds.increments(counts, 1.0, grid), 6, 6, p1, 0.3) < 1


@pytest.mark.parametrize("counts", [Counts(7, 3, 9, 4), Counts(40, 12, 5, 5), Counts(300, 90, 900, 200)])
def test_the_odds_normalisation_is_the_sum_over_all_tables(counts: Counts) -> None:
    n1, s1, n0, s0 = (int(count) for count in counts)
    d = s1 + s0

    def log_z(psi: float) -> float:
        tables = range(max(0, d - n0), min(n1, d) + 1)
        total = sum(math.comb(n1, s) * math.comb(n0, d - s) * Fraction(psi) ** s for s in tables)
        return math.log(total.numerator) - math.log(total.denominator)

    exactly = [s1 * math.log(psi / 1.2) - log_z(psi) + log_z(1.2) for psi in (0.3, 1.0, 4.0)]
    assert odds.increments(counts, 1.2, (0.3, 1.0, 4.0)) == pytest.approx(exactly, abs=1e-9)


def test_a_ratio_without_room_above_the_champions_rate_cannot_be_ruled_out() -> None:
    with pytest.raises(odds.MaxRatioUnreachable, match=r"below 1\.28"):  # 0.9 / 0.7, rounded down
        odds.null_odds(1.5, 0.7)
    assert odds.null_odds(1.2, 0.7) > 1.2
    assert odds.null_odds(1, 0.99) == 1
    with pytest.raises(odds.MaxRatioUnreachable, match=r"^metric accuracy: .* set its maxRatio below 1\.28"):
        metric("accuracy", Kind.ACCURACY, champion=(10_000, 7000))
    with pytest.raises(odds.MaxRatioUnreachable, match="take it out of spec"):
        metric("accuracy", Kind.ACCURACY, champion=(10_000, 9500))
    assert metric("accuracy", Kind.ACCURACY, role=Role.GOAL, champion=(10_000, 9500)).odds
    with pytest.raises(odds.MaxRatioUnreachable, match=r"set its harmRatio and its maxRatio below 1\.28"):
        metric("accuracy", Kind.ACCURACY, champion=(1_000, 700), max_ratio=1.5, harm_ratio=1.4)


@pytest.mark.parametrize("n", [1, 5, 30])
@pytest.mark.parametrize("q", [0.001, 0.01, 0.2])
@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("within", [1.0, 0.7])
def test_evidence_on_a_tolerated_rate_has_mean_at_most_one(n: int, q: float, up: bool, within: float) -> None:
    grid = tolerance.worse(q) if up else tolerance.better(q)
    rate = q * within if up else q / within
    means = [
        sum(binomial(n, s, rate) * math.exp(value) for s, value in enumerate(values))
        for values in zip(*(tolerance.increments(n, s, q, grid) for s in range(n + 1)), strict=True)
    ]
    assert max(means) <= 1 + ROUNDING


def test_the_alternatives_to_a_tolerated_rate_reach_far_in_both_directions() -> None:
    farthest = 7.37550504 ** (1 / 0.8)  # exp of the largest z
    assert tolerance.worse(0.001)[39] == pytest.approx(0.001 * farthest**1.6)
    assert tolerance.better(0.001)[39] == pytest.approx(0.001 / farthest**2)
    assert tolerance.worse(0.5)[39] == 1 - 1e-6


numbers = st.integers(0, 2000)


@given(numbers, numbers, numbers, numbers, st.integers(2, 50), st.sampled_from([1.0, 1.5]))
def test_merging_intervals_of_the_same_allocation_changes_nothing(
    n1: int, s1: int, n0: int, s0: int, times: int, null: float
) -> None:
    counts = Counts(n1, min(s1, n1), n0, min(s0, n0))
    merged = Counts(*(times * count for count in counts))
    each = ratio.increments(counts, null, above(null, 0.8))
    assert ratio.increments(merged, null, above(null, 0.8)) == pytest.approx([times * x for x in each], abs=1e-6)


def test_merging_intervals_of_another_allocation_changes_the_evidence() -> None:
    one, two = Counts(100, 5, 1900, 19), Counts(1000, 10, 1000, 10)
    apart = [a + b for a, b in zip(*(ratio.increments(row, 1.0, (2.0,)) for row in (one, two)), strict=True)]
    assert ratio.increments(one + two, 1.0, (2.0,)) != pytest.approx(apart, abs=0.1)


@given(numbers, numbers, numbers, numbers)
def test_exchanged_arms_are_the_same_evidence_on_the_inverse_ratio(n1: int, s1: int, n0: int, s0: int) -> None:
    counts = Counts(n1, min(s1, n1), n0, min(s0, n0))
    exchanged = Counts(counts.champion_units, counts.champion_events, counts.candidate_units, counts.candidate_events)
    grid = above(1.5, 0.8)
    inverse = tuple(1 / th for th in grid)
    assert ratio.increments(exchanged, 1 / 1.5, inverse) == pytest.approx(ratio.increments(counts, 1.5, grid), abs=1e-7)


def test_a_thousand_million_units_lose_nothing_to_rounding() -> None:
    """Against the same in whole fractions of 10^-40."""
    from decimal import Decimal, localcontext

    n1, s1, n0, s0, th = 10**9, 10_050_000, 10**9, 10_000_000, Decimal("1.0126")
    with localcontext() as context:
        context.prec = 40
        exactly = s1 * th.ln() - (s1 + s0) * ((n0 + n1 * th) / (n0 + n1)).ln()
    assert ratio.increments(Counts(n1, s1, n0, s0), 1.0, (1.0126,)) == [pytest.approx(float(exactly), abs=1e-5)]


@pytest.mark.parametrize("counts", [Counts(0, 0, 0, 0), Counts(0, 0, 100, 7), Counts(100, 7, 0, 0)])
def test_one_arm_alone_says_nothing_about_a_ratio(counts: Counts) -> None:
    assert ratio.increments(counts, 1.5, above(1.5, 0.8)) == pytest.approx([0.0] * 40, abs=1e-12)
    assert odds.increments(counts, 1.5, above(1.5, 0.8)) == [0.0] * 40


def test_no_events_say_nothing_about_a_ratio_and_much_about_a_rate() -> None:
    assert ratio.increments(Counts(5000, 0, 5000, 0), 1.5, below(1.5, 0.5)) == [0.0] * 40
    assert log_mean_exp(tolerance.increments(5000, 0, 0.001, tolerance.better(0.001))) > math.log(20)
