"""The time of a pass: what is asked for and has not come is when to look again."""

from datetime import timedelta

from podium.rollout.moment import Moment
from tests.unit.planner.world import START

SECOND = timedelta(seconds=1)


def test_what_has_come_is_no_wake_up() -> None:
    moment = Moment(START)
    assert moment.reached(START)
    assert moment.reached(START - SECOND)
    assert moment.wake_at is None


def test_of_what_has_not_come_the_earliest_is_the_wake_up() -> None:
    moment = Moment(START)
    assert [moment.reached(START + n * SECOND) for n in (3, 1, 2)] == [False, False, False]
    assert moment.wake_at == START + SECOND


def test_never_does_not_come_and_is_not_waited_for() -> None:
    moment = Moment(START)
    assert not moment.reached(None)
    assert moment.wake_at is None
