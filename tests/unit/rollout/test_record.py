"""How much of maxDuration is over, which stands still in every pause."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podium.rollout.record import RolloutRecord
from podium.rollout.steps import Step

HOUR = timedelta(hours=1)
START = datetime(2030, 1, 1, tzinfo=UTC)
AT_A_PAUSE = RolloutRecord(
    "r",
    START,
    "Canary",
    4,
    steps=(Step(50), Step(), Step(50)),
    step=1,
    stepped_at=START + HOUR,
    weighed_at=START,
)
"""Weighed since START, and at a pause since one hour later."""


@pytest.mark.parametrize(
    "record",
    [
        AT_A_PAUSE,
        replace(AT_A_PAUSE, stood=3 * HOUR),
        replace(AT_A_PAUSE, stood_since=START + 2 * HOUR),
        replace(AT_A_PAUSE, suspended_since=START + 2 * HOUR).resumed(START + 5 * HOUR),
    ],
    ids=["nothing else", "paused for a while", "paused still", "suspended for a while"],
)
def test_whatever_else_pauses_at_a_pause_its_time_counts_once(record: RolloutRecord) -> None:
    assert record.lasted(START + 12 * HOUR) == HOUR
    assert record.onward(START + 12 * HOUR, "one").lasted(START + 14 * HOUR) == 3 * HOUR


def test_a_pause_before_anything_was_weighed_takes_off_what_came_after_alone() -> None:
    first = replace(AT_A_PAUSE, steps=(Step(), Step(50)), step=0, stepped_at=None, weighed_at=START + HOUR)
    assert first.lasted(START + 3 * HOUR) == timedelta(0)
    assert first.onward(START + 3 * HOUR, "one").lasted(START + 4 * HOUR) == HOUR


def test_in_a_step_of_weight_the_time_of_pauses_does_not_count() -> None:
    record = replace(AT_A_PAUSE, step=0, stepped_at=None, stood=HOUR, stood_since=START + 3 * HOUR)
    assert record.lasted(START + 5 * HOUR) == 2 * HOUR
