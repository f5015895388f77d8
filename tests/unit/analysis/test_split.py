"""Sample ratio: requests that are not split as the weight says."""

import math

import pytest

from podium.analysis import split
from podium.analysis.grids import log_mean_exp
from podium.analysis.state import fold
from tests.unit.analysis.given import folded, interval, plan


def started(champion: float, candidate: float, **more: object) -> dict[str, object]:
    return {"counted": {"started": (champion, candidate), "finished": (champion, candidate)}, **more}


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5])
def test_evidence_has_mean_one_at_the_share_that_was_asked_for(share: float) -> None:
    n = 12
    found = sum(
        math.comb(n, s) * share**s * (1 - share) ** (n - s) * math.exp(log_mean_exp(split.increments(s, n - s, share)))
        for s in range(n + 1)
    )
    assert found == pytest.approx(1)


@pytest.mark.parametrize("candidate", [20, 30])
def test_too_few_and_too_many_are_an_alarm(candidate: int) -> None:
    state = folded(plan(), [interval(2 * k, **started(100 - candidate, candidate)) for k in range(60)])
    assert state.alarmed


def test_the_share_that_was_asked_for_is_none() -> None:
    state = folded(plan(), [interval(2 * k, **started(75, 25)) for k in range(5000)])
    assert not state.alarmed


def test_the_share_is_the_weight_of_each_interval() -> None:
    rows = [interval(2 * k, **started(75, 25)) for k in range(100)]
    rows += [interval(200 + 2 * k, **started(50, 50), weight=5000, step=1) for k in range(100)]
    assert not folded(plan(), rows).alarmed


def test_an_alarm_stays_though_the_split_is_right_again_until_a_person_resumes() -> None:
    of = plan()
    state = folded(of, [interval(2 * k, **started(60, 40)) for k in range(60)])
    state = fold(of, state, interval(120, **started(7_500_000, 2_500_000)))
    assert state.alarmed
    assert not fold(of, state, interval(122, **started(75, 25), resumed=True)).alarmed


def test_an_interval_that_straddles_a_weight_change_says_nothing_of_it() -> None:
    state = folded(plan(), [interval(2 * k, **started(20, 80), straddles=True) for k in range(60)])
    assert not state.alarmed


@pytest.mark.parametrize("weight", [0, 10_000])
def test_without_two_arms_there_is_nothing_to_split(weight: int) -> None:
    state = folded(plan(), [interval(2 * k, **started(50, 50), weight=weight) for k in range(60)])
    assert not state.alarmed


def test_without_a_router_it_is_not_asked() -> None:
    state = folded(plan(approximate=True), [interval(2 * k, **started(20, 80)) for k in range(60)])
    assert not state.alarmed
