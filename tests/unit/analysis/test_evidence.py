"""The evidence on one metric: both halves, blocks, and what an interval counts for."""

import math
from dataclasses import replace
from itertools import product

import pytest

from podium.analysis import odds, ratio, tolerance
from podium.analysis.counts import Counts
from podium.analysis.evidence import Evidence
from podium.analysis.grids import above, below, log_mean_exp
from podium.analysis.metrics import Kind
from podium.analysis.plan import Role, metric
from podium.analysis.restarts import Start
from podium.analysis.state import begun, fold, log_better, log_harm
from tests.unit.analysis.given import BY_RATIO, ERRORS, LATENCY, folded, interval, plan

NEEDED = math.log(20)


def test_non_inferiority_is_the_mean_of_the_ratio_and_of_the_tolerated_rate() -> None:
    state = folded(plan(ERRORS), [interval(0, (3000, 2), (1000, 1))])
    counts = Counts(1000, 1, 3000, 2)
    by_ratio = log_mean_exp(ratio.increments(counts, 1.5, below(1.5, 0.5)))
    by_rate = log_mean_exp(tolerance.increments(1000, 1, 0.001, tolerance.better(0.001)))
    assert log_better(state, ERRORS) == pytest.approx(math.log((math.exp(by_ratio) + math.exp(by_rate)) / 2))


def test_without_tolerance_the_ratio_stands_alone_and_is_not_halved() -> None:
    state = folded(plan(BY_RATIO), [interval(0, (3000, 30), (1000, 9))])
    alone = log_mean_exp(ratio.increments(Counts(1000, 9, 3000, 30), 1.5, below(1.5, 0.5)))
    assert log_better(state, BY_RATIO) == pytest.approx(alone)


def test_a_goal_must_be_better_than_the_champion_itself() -> None:
    goal = metric("accuracy", Kind.ACCURACY, role=Role.GOAL, tolerate=0.1, champion=(10_000, 500))
    counted = {"labelled": (4000.0, 4000.0), "wrong": (200.0, 100.0)}
    state = folded(plan(goal), [interval(counted=counted)])
    alone = log_mean_exp(ratio.increments(Counts(4000, 100, 4000, 200), 1.0, below(1.0, 0.5)))
    assert log_better(state, goal) == pytest.approx(alone)


def test_harm_within_a_block_is_the_lesser_of_both_at_each_alternative() -> None:
    state = folded(plan(ERRORS), [interval(0, (3000, 2), (1000, 9))])
    by_ratio = ratio.increments(Counts(1000, 9, 3000, 2), 1.0, above(1.0, 0.8))
    by_rate = tolerance.increments(1000, 9, 0.001, tolerance.worse(0.001))
    assert log_harm(state, ERRORS) == pytest.approx(log_mean_exp(list(map(min, by_ratio, by_rate))))


NOISE = interval(0, (225_000, 0), (75_000, 60))
"""Errors of the candidate alone, fewer than anybody minds."""
INCIDENT = interval(201, (3480, 170), (1160, 60))
"""As many errors in both arms."""


def test_an_incident_of_both_arms_and_tolerated_noise_are_no_harm_in_two_blocks() -> None:
    """In one the incident would answer one half of the null, and the noise the other."""
    one_block = folded(plan(ERRORS), [NOISE, replace(INCIDENT, start=NOISE.end)])
    assert log_harm(one_block, ERRORS) > NEEDED
    assert log_harm(folded(plan(ERRORS), [NOISE, INCIDENT]), ERRORS) < 0


@pytest.mark.parametrize("change", [{"weight": 5000}, {"step": 1}])
def test_blocks_end_by_the_clock_and_where_the_weight_changes(change: dict[str, int]) -> None:
    other = replace(INCIDENT, start=NOISE.end, **change)
    by_clock = log_harm(folded(plan(ERRORS), [NOISE, INCIDENT]), ERRORS)
    assert log_harm(folded(plan(ERRORS), [NOISE, other]), ERRORS) == by_clock


def test_above_ten_percent_evidence_is_on_the_odds() -> None:
    high = metric("accuracy", Kind.ACCURACY, champion=(10_000, 2000))
    counted = {"labelled": (3000.0, 1000.0), "wrong": (600.0, 190.0)}
    state = folded(plan(high), [interval(counted=counted)])
    null = odds.null_odds(1.5, 0.2)
    alone = log_mean_exp(odds.increments(Counts(1000, 190, 3000, 600), null, below(null, 0.5)))
    assert high.odds
    assert log_better(state, high) == pytest.approx(alone)


@pytest.mark.parametrize(("counts", "whole"), [((500, 100, 1500, 300), False), ((500, 100, 1500, 0), True)])
def test_an_unusual_interval_counts_less_for_promotion_and_in_full_against_it(
    counts: tuple[float, float, float, float], whole: bool
) -> None:
    """Where 20 events are usual: an incident that hits both arms alike, and one of the candidate alone."""
    known, found = metric("m", Kind.ERROR_RATE, champion=(100_000, 1000)), Counts(*counts)
    state = folded(plan(known), [interval(0, counts[2:], counts[:2])]).metrics["m"]
    assert isinstance(state, Evidence)
    added = ratio.increments(found, 1.5, below(1.5, 0.5))
    share = (40 / found.events) ** 2
    assert state.cumulative.better_ratio == pytest.approx([min(each, share * each) for each in added])
    assert (max(added) < 0) is whole


@pytest.mark.parametrize(("units", "events", "stays"), [(1000, 100, True), (1000, 99, False), (999, 0, True)])
def test_where_the_champion_fails_seldom_after_all_the_ratio_takes_over(units: int, events: int, stays: bool) -> None:
    """At a frozen rate of 55 % maxRatio 1.5 is an odds ratio of 3.9: at 1 % a candidate could be 3.8 times worse."""
    high = metric("m", Kind.ERROR_RATE, champion=(10_000, 5500))
    found = folded(plan(high), [interval(0, (units, events), (100, 0))]).metrics["m"]
    assert isinstance(found, Evidence)
    assert found.by_odds is stays


def test_after_an_interval_with_very_many_events_the_ratio_takes_over() -> None:
    high = metric("accuracy", Kind.ACCURACY, champion=(10_000, 2000))
    of = plan(high)
    many = fold(of, begun(of), interval(0, counted={"labelled": (9000, 3000), "wrong": (1800, 600)}))
    found = many.metrics["accuracy"]
    assert isinstance(found, Evidence)
    assert not found.by_odds
    next_one = fold(of, many, interval(2, counted={"labelled": (300, 100), "wrong": (60, 20)}))
    added = ratio.increments(Counts(100, 20, 300, 60), 1.5, below(1.5, 0.5))
    grown = next_one.metrics["accuracy"]
    assert isinstance(grown, Evidence)
    assert [b - a for a, b in zip(found.cumulative.better_ratio, grown.cumulative.better_ratio, strict=True)] == (
        pytest.approx(added)
    )


@pytest.mark.parametrize("champion", [(900, 450), (10_000, 900)])
def test_the_form_needs_a_thousand_units_of_the_champion_and_a_rate_above_ten_percent(
    champion: tuple[int, int],
) -> None:
    assert not metric("accuracy", Kind.ACCURACY, champion=champion).odds


def test_young_pods_count_for_errors_and_not_for_latency() -> None:
    of = plan(ERRORS, LATENCY)
    counted = {"finished": (300, 100), "5xx": (0, 9), "answered": (300, 91), "above:slow": (15, 91)}
    state = folded(of, [interval(0, counted=counted, warming=True)])
    assert log_harm(state, ERRORS) > 0
    assert log_harm(state, LATENCY) == log_better(state, LATENCY) == 0
    assert state.counted["above:slow"] == (15, 91)


@pytest.mark.parametrize(("candidate", "counts"), [(49, False), (50, True)])
def test_latency_promotes_only_where_a_pod_is_asked_half_as_much_as_a_champions(candidate: int, counts: bool) -> None:
    counted = {"started": (400.0, candidate), "answered": (400.0, candidate), "above:slow": (20.0, 1.0)}
    state = folded(plan(LATENCY), [interval(0, counted=counted, pods=(4, 1))])
    assert (log_better(state, LATENCY) != 0) is counts
    assert log_harm(state, LATENCY) != 0


def test_the_mean_of_all_evidence_stays_at_most_one_through_blocks_and_starts() -> None:
    """By enumeration of three intervals, each at another base rate, and each on another side of the null."""
    of = plan(metric("errors", Kind.ERROR_RATE, tolerate=0.1, harm_ratio=1), starts=(Start(step=0), Start(step=1)))
    # (champion's rate, candidate's): no worse than the champion, then as many as nobody minds, then both
    rates, places = [(0.4, 0.4), (0.01, 0.1), (0.05, 0.05)], [(0.0, 0), (2.0, 1), (300.0, 1)]
    harm = 0.0
    for path in product(product(range(3), repeat=2), repeat=3):
        chance, state = 1.0, begun(of)
        for (s0, s1), (p0, p1), (after, step) in zip(path, rates, places, strict=True):
            chance *= (
                math.comb(2, s0) * p0**s0 * (1 - p0) ** (2 - s0) * math.comb(2, s1) * p1**s1 * (1 - p1) ** (2 - s1)
            )
            state = fold(of, state, interval(after, (2, s0), (2, s1), step=step))
        harm += chance * math.exp(log_harm(state, of.metrics[0]))
    assert harm <= 1 + 1e-9


def test_the_mean_of_evidence_for_promotion_stays_at_most_one() -> None:
    """At the edge of the null: 1.5 times the champion's rate, which is more than what nobody minds."""
    of = plan(metric("errors", Kind.ERROR_RATE, tolerate=0.1), starts=(Start(step=0), Start(step=1)))
    better = 0.0
    for path in product(product(range(3), repeat=2), repeat=3):
        chance, state = 1.0, begun(of)
        for place, ((s0, s1), p0) in enumerate(zip(path, (0.3, 0.1, 0.5), strict=True)):
            p1 = 1.5 * p0
            chance *= (
                math.comb(2, s0) * p0**s0 * (1 - p0) ** (2 - s0) * math.comb(2, s1) * p1**s1 * (1 - p1) ** (2 - s1)
            )
            state = fold(of, state, interval(2 * place, (2, s0), (2, s1), step=min(place, 1)))
        better += chance * math.exp(log_better(state, of.metrics[0]))
    assert better <= 1 + 1e-9
