"""What the kernel promises of whole rollouts, on fewer of them than `make bench-analysis` plays: seeds are fixed."""

import numpy as np
import pytest

from tests.analysis import worlds
from tests.analysis.rollouts import Result, World, looks, simulate
from tests.analysis.worlds import ONE, RESTARTS, TIMED, constant, errors, four, guardrails

RUNS = 1000
ALPHA = 0.05


def healthy(world: World, base: float) -> Result:
    """The same model again, never promoted: harm may be found for as long as it lasts."""
    return simulate(world, [errors(base)], RUNS, seed=7, starts=TIMED, promote=False)


@pytest.mark.parametrize("base", worlds.BASES)
def test_a_healthy_candidate_is_rolled_back_in_one_of_twenty_rollouts_at_most(base: float) -> None:
    assert healthy(constant(base, base), base).back <= ALPHA


@pytest.mark.parametrize("base", [0.001, 0.05])
def test_also_on_a_ramp_while_the_base_rate_drifts(base: float) -> None:
    result = simulate(worlds.ramping(base), [errors(base)], RUNS, seed=7, starts=RESTARTS, promote=False)
    assert result.back <= ALPHA


@pytest.mark.parametrize(("base", "seconds"), [(0.0001, 20), (0.0001, 120), (0.2, 60)])
def test_also_when_both_arms_share_an_incident(base: float, seconds: int) -> None:
    assert healthy(worlds.incident(base, seconds), base).back <= ALPHA


@pytest.mark.parametrize(("seconds", "high", "begins"), [(20, 0.2, 100), (20, 0.5, 10), (60, 0.2, 100), (120, 0.2, 60)])
def test_a_worse_candidate_is_not_promoted_for_being_alike_while_both_arms_share_an_incident(
    seconds: int, high: float, begins: int
) -> None:
    world = worlds.incident(0.01, seconds, high, begins, candidate=0.015)
    assert simulate(world, [errors(0.01)], RUNS // 2, seed=7, starts=TIMED).up <= ALPHA


def test_also_in_bursts_that_hit_both_arms() -> None:
    assert healthy(worlds.bursting(0.001), 0.001).back <= ALPHA


@pytest.mark.parametrize(("candidate", "champion"), [(1, 4), (4, 4)])
def test_also_where_pods_differ_in_latency(candidate: int, champion: int) -> None:
    world = worlds.uneven(candidate, champion, RUNS, seed=7)
    result = simulate(world, [worlds.latency()], RUNS, seed=7, starts=TIMED, promote=False)
    assert result.back <= ALPHA


def test_pods_that_differ_would_be_harm_at_harm_ratio_1() -> None:
    """So that the test above can fail."""
    world = worlds.uneven(1, 4, RUNS, seed=7)
    assert simulate(world, [worlds.latency(harm_ratio=1)], RUNS, seed=7, starts=TIMED, promote=False).back > 2 * ALPHA


@pytest.mark.parametrize(("champion", "candidate"), [(0.01, 0.015), (0.0, 0.001), (0.001, 0.0015)])
def test_a_candidate_at_the_edge_of_what_must_be_ruled_out_is_promoted_in_one_of_twenty_at_most(
    champion: float, candidate: float
) -> None:
    assert simulate(constant(champion, candidate), [errors(champion)], RUNS, seed=7, starts=TIMED).up <= ALPHA


def test_twice_as_many_errors_are_found_after_2300_requests_per_arm() -> None:
    world = constant(0.01, 0.02, count=100, n1=100, n0=100)
    result = simulate(world, [errors(0.01)], RUNS, seed=7, starts=ONE)
    assert result.back >= 0.99
    assert np.mean(result.rolled_back) <= 2300


def test_twice_as_many_errors_are_found_after_3700_requests_per_arm_at_the_defaults() -> None:
    base, worse = (0.01, 0.0, 0.0, 0.05), (0.02, 0.0, 0.0, 0.05)
    world = World(looks(100, 100, 100), four(worse, base))
    result = simulate(world, guardrails(*base), RUNS, seed=7, starts=TIMED)
    assert result.back >= 0.99
    assert np.mean(result.rolled_back) <= 3700


@pytest.mark.parametrize("slow", [0.0, 0.03, 0.06])
def test_a_service_without_errors_is_promoted_after_5700_requests(slow: float) -> None:
    base = (0.0, 0.0, 0.0, slow)
    result = simulate(World(looks(400, 50, 150), four(base, base)), guardrails(*base), RUNS, seed=7, starts=TIMED)
    assert result.up >= 0.99
    assert np.mean(result.promoted) <= 5700


def test_a_healthy_candidate_outlives_a_shared_incident() -> None:
    world = worlds.incident(0.0001, 20, begins=40)
    assert simulate(world, [errors(0.0001)], RUNS, seed=7, starts=TIMED).up >= 0.98
    assert simulate(world, [errors(0.0001)], RUNS, seed=7, starts=ONE).up < 0.5


def test_a_candidate_that_hangs_until_its_callers_give_up_is_rolled_back() -> None:
    base = (0.0, 0.0, 0.0, 0.05)
    world = World(looks(400, 50, 150), four((0.0, 0.0, 0.3, 0.05), base))
    assert simulate(world, guardrails(*base), RUNS, seed=7, starts=TIMED).back == 1


@pytest.mark.parametrize("slow", [0.1, 0.15])
def test_a_candidate_that_is_slow_twice_as_often_is_rolled_back(slow: float) -> None:
    base = (0.0, 0.0, 0.0, 0.05)
    world = World(looks(400, 50, 150), four((0.0, 0.0, 0.0, slow), base))
    assert simulate(world, guardrails(*base), RUNS, seed=7, starts=TIMED).back >= 0.99


def test_a_candidate_that_is_slow_half_as_often_again_is_promoted_in_one_of_twenty_at_most() -> None:
    base = (0.0, 0.0, 0.0, 0.05)
    world = World(looks(400, 50, 150), four((0.0, 0.0, 0.0, 0.075), base))
    assert simulate(world, guardrails(*base), RUNS, seed=7, starts=TIMED).up <= ALPHA
