"""How long a run is expected to take, before it is run."""

import math

import pytest

from podium_serving.durations import WINDOW, Durations

MILLISECOND = 0.001


def test_nothing_is_taken_for_quick_before_a_run_was_seen() -> None:
    assert Durations().expect(1) == math.inf


def test_a_run_takes_as_long_as_those_of_about_its_size() -> None:
    durations = Durations()
    durations.observe(4, MILLISECOND)
    durations.observe(4000, 7 * MILLISECOND)
    assert [durations.expect(size) for size in (4, 5, 7)] == [MILLISECOND] * 3
    assert [durations.expect(size) for size in (2048, 4000, 4095)] == [7 * MILLISECOND] * 3


def test_a_larger_input_takes_longer_in_proportion() -> None:
    durations = Durations()
    durations.observe(4, MILLISECOND)
    assert durations.expect(4 * 1024) == pytest.approx(1.024)
    assert durations.expect(10**30) > 10**12


def test_a_smaller_input_does_not_take_longer_and_is_not_taken_to_be_free() -> None:
    durations = Durations()
    durations.observe(1000, 7 * MILLISECOND)
    durations.observe(100_000, 500 * MILLISECOND)
    assert durations.expect(0) == durations.expect(1) == 7 * MILLISECOND


def test_one_run_that_was_held_up_does_not_make_a_model_slow() -> None:
    durations = Durations()
    for seconds in [MILLISECOND] * 100 + [300 * MILLISECOND] + [MILLISECOND] * 100:
        durations.observe(4, seconds)
    assert durations.expect(4) == MILLISECOND


def test_a_model_of_which_one_run_in_a_hundred_is_long_is_slow() -> None:
    durations = Durations()
    for run in range(1000):
        durations.observe(4, 300 * MILLISECOND if run % 100 == 99 else MILLISECOND)
        assert run < 199 or durations.expect(4) == 300 * MILLISECOND


def test_what_has_become_quick_is_taken_for_quick_after_a_while() -> None:
    durations = Durations()
    for _ in range(10):
        durations.observe(4, 300 * MILLISECOND)
    for _ in range(2 * WINDOW):
        durations.observe(4, MILLISECOND)
    assert durations.expect(4) == MILLISECOND
