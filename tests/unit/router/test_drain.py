"""A router's drain: when its callers count as gone, and that an Envoy that is busy has not ended."""

import math
from collections.abc import Callable

import pytest

from podium.router import drain
from podium.router.admin import Admin, Gone, Traffic, Unreachable
from podium.router.drain import LEAST_SECONDS, LEFT_SECONDS, LOOK_SECONDS, QUIET_SECONDS, leave

MOST = 60.0
Look = Callable[[float], Traffic]
Left = Callable[..., float]


class Envoy(Admin):
    """Tells at each moment what `look` says of it; one that is busy answers nothing."""

    def __init__(self, look: Look) -> None:
        self.now = 0.0
        self.drained: list[float] = []
        self.busy_at = math.inf
        """From when on one look takes 3 s."""
        self._look = look

    def drain(self) -> None:
        self.traffic()
        self.drained.append(self.now)

    def traffic(self) -> Traffic:
        if self.now >= self.busy_at:
            self.now, self.busy_at = self.now + 3, math.inf
        return self._look(self.now)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Left:
    """After how many seconds an Envoy may end."""

    def left(look: Look, busy_at: float = math.inf) -> float:
        envoy = Envoy(look)
        envoy.busy_at = busy_at
        monkeypatch.setattr(drain.time, "monotonic", lambda: envoy.now)

        def sleep(seconds: float) -> None:
            envoy.now += seconds

        monkeypatch.setattr(drain.time, "sleep", sleep)
        leave(envoy, most=MOST)
        assert len(envoy.drained) <= 1
        return envoy.now

    return left


def test_who_is_asked_by_nobody_waits_until_every_node_may_know(left: Left) -> None:
    assert left(lambda now: Traffic(0, 0, 7)) == pytest.approx(LEAST_SECONDS, abs=LOOK_SECONDS)


def test_callers_that_come_and_go_between_two_looks_have_not_left(left: Left) -> None:
    """A node that knows late: no connection is open at any look, and requests go on for 9 s."""
    ended = left(lambda now: Traffic(0, 0, int(10 * min(now, 9.0))))
    assert ended == pytest.approx(9.0 + LEFT_SECONDS, abs=2 * LOOK_SECONDS)


def test_an_answer_that_comes_late_is_no_time_without_requests(left: Left) -> None:
    """One request a second for 12 s, and one look that takes 3 s."""
    ended = left(lambda now: Traffic(0, 0, int(min(now, 12.0))), busy_at=6.0)
    assert ended == pytest.approx(12.0 + LEFT_SECONDS, abs=2 * LOOK_SECONDS)


def test_connections_that_are_kept_and_unused_count_as_left_after_a_while(left: Left) -> None:
    ended = left(lambda now: Traffic(3, 0, int(10 * min(now, 2.0))))
    assert ended == pytest.approx(2.0 + QUIET_SECONDS, abs=2 * LOOK_SECONDS)


def test_an_answer_under_way_is_waited_for_but_not_without_end(left: Left) -> None:
    assert left(lambda now: Traffic(1, 1, 7)) == pytest.approx(MOST, abs=LOOK_SECONDS)


def test_an_Envoy_that_does_not_answer_in_time_has_not_ended(left: Left) -> None:
    def busy(now: float) -> Traffic:
        if now < 8.0:
            raise Unreachable("no answer in 5 s")
        return Traffic(0, 0, 7)

    assert left(busy) == pytest.approx(8.0 + LEFT_SECONDS, abs=3 * LOOK_SECONDS)


def test_one_that_has_ended_needs_no_drain(left: Left) -> None:
    def gone(now: float) -> Traffic:
        raise Gone("no such file")

    assert left(gone) == 0.0
