"""Rounds of readings become intervals: the same window for both arms, each request in exactly one of them."""

from dataclasses import replace

import pytest

from podium.analysis.intervals import Interval
from podium.analysis.ledger import Ledger
from podium.metrics.rounds import Rounds, Sample, Situation, length, take
from tests.unit.analysis.given import plan
from tests.unit.metrics.given import cluster, ended, reading

BEGAN, EVERY = 1_000.0, 2.0
HALF = Situation("old", "new", 5_000, since=0.0, routers=("a", "b"))


def sample(pod: str, at: float, old: int, new: int | None, *, uptime: int | None = None, ms: float = 5) -> Sample:
    """A router with so many answers 200 of each revision; None: it does not know the candidate."""
    parts = [cluster("old.http", total=old, times={ms: old}), ended(200, count=old, name="old.http")]
    if new is not None:
        parts += [cluster("new.http", total=new, times={ms: new}), ended(200, count=new)]
    return Sample(BEGAN + at, reading(*parts, pod=pod, uptime=int(500 + at) if uptime is None else uptime))


class Analysis:
    """Rounds one after the other."""

    def __init__(self, rounds: Rounds | None = None) -> None:
        self.rounds = rounds or Rounds()
        self.situation = HALF
        self.intervals: list[Interval] = []

    def round(
        self, at: float, *samples: Sample, weight: int | None = None, since: float | None = None
    ) -> list[Interval]:
        if weight is not None:
            assert since is not None
            self.situation = replace(self.situation, weight=weight, since=BEGAN + since)
        taken = take(self.rounds, self.situation, BEGAN + at, samples, EVERY)
        self.rounds = taken.rounds
        self.intervals += taken.intervals
        return list(taken.intervals)

    def finished(self) -> tuple[float, float]:
        """All of it: the champion's, the candidate's."""
        pairs = [each.counted["finished"] for each in self.intervals]
        return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)


def spans(intervals: list[Interval]) -> list[tuple[float, float, tuple[float, float], bool]]:
    return [
        (round(each.start - BEGAN, 3), round(each.end - BEGAN, 3), each.counted["finished"], each.straddles)
        for each in intervals
    ]


def test_an_envoy_that_was_started_anew_unseen_counts_from_nothing_though_it_has_counted_more_since() -> None:
    analysis = Analysis()
    analysis.round(0, sample("a", 0, 100, 100, uptime=30))
    analysis.round(2, sample("a", 2, 100, 100, uptime=32))
    analysis.round(122, sample("a", 122, 150, 160, uptime=100))
    assert analysis.finished() == (150, 160)


@pytest.fixture
def begun() -> Analysis:
    """After its first round, in which routers had counted before."""
    analysis = Analysis()
    assert analysis.round(0, sample("a", 0.1, 70, 7), sample("b", 0.2, 50, 5)) == []
    return analysis


def test_what_was_counted_before_the_first_round_belongs_to_nobody(begun: Analysis) -> None:
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 51, 5))
    assert spans(found) == [(0.2, 2.2, (5, 1), False)]
    assert (found[0].weight, found[0].counted["started"], found[0].counted["5xx"]) == (5_000, (5, 1), (0, 0))


def test_a_router_that_misses_a_round_is_left_out_and_made_up_for(begun: Analysis) -> None:
    assert spans(begun.round(2, sample("a", 2.1, 74, 8))) == [(0.2, 2.1, (4, 1), False)]
    assert spans(begun.round(4, sample("a", 4.1, 76, 9), sample("b", 4.2, 57, 9))) == [
        (2.1, 4.2, (2 + 7, 1 + 4), False)
    ]


@pytest.mark.parametrize("at", [3.01, 1.99], ids=["late", "before the round"])
def test_a_sample_outside_of_its_round_is_none(begun: Analysis, at: float) -> None:
    assert length(EVERY) == 1.0
    assert length(0.5) == 0.25
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", at, 60, 9))
    assert spans(found) == [(0.2, 2.1, (4, 1), False)]


def test_a_round_without_any_answer_makes_the_next_interval_longer(begun: Analysis) -> None:
    assert begun.round(2) == []
    assert begun.round(4) == []
    assert spans(begun.round(6, sample("a", 6.1, 75, 9), sample("b", 6.1, 55, 5))) == [(0.2, 6.1, (10, 2), False)]


def test_the_interval_in_which_the_weight_changed_is_marked_and_has_the_weight_before(begun: Analysis) -> None:
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 51, 5), weight=9_000, since=1.0)
    assert spans(found) == [(0.2, 2.2, (5, 1), True)]
    assert found[0].weight == 5_000
    found = begun.round(4, sample("a", 4.1, 75, 18), sample("b", 4.2, 52, 15))
    assert spans(found) == [(2.2, 4.2, (2, 20), False)]
    assert found[0].weight == 9_000


def test_latencies_of_before_the_change_that_come_late_mark_the_next_one_too(begun: Analysis) -> None:
    begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 51, 5), weight=9_000, since=1.9)
    found = begun.round(4, sample("a", 4.1, 75, 18), sample("b", 4.2, 52, 15))
    assert [each.straddles for each in found] == [True]
    assert [each.straddles for each in begun.round(6, sample("a", 6.1, 75, 18), sample("b", 6.1, 52, 15))] == [False]


def test_a_weight_that_changed_there_and_back_marks_it(begun: Analysis) -> None:
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 51, 5), weight=5_000, since=1.0)
    assert [each.straddles for each in found] == [True]


def test_what_a_router_counted_across_a_change_is_counted_beside_what_is_weighed(begun: Analysis) -> None:
    begun.round(2, sample("a", 2.1, 74, 8), weight=9_000, since=1.0)
    found = begun.round(4, sample("a", 4.1, 75, 18), sample("b", 4.2, 57, 9))
    assert spans(found) == [(2.1, 2.1, (7, 4), True), (2.1, 4.2, (1, 10), False)]
    assert begun.finished() == (4 + 7 + 1, 1 + 4 + 10)


def test_pods_that_come_count_from_their_start_and_who_goes_is_forgotten(begun: Analysis) -> None:
    begun.situation = replace(HALF, routers=("a", "c"))
    found = begun.round(4, sample("a", 4.1, 74, 8), sample("c", 4.2, 9, 3, uptime=1))
    assert spans(found) == [(0.2, 4.2, (4 + 9, 1 + 3), False)]
    assert not [name for name in begun.rounds.seen if name.startswith("b")]


def test_a_pod_that_was_there_before_and_is_read_for_the_first_time_begins_with_that(begun: Analysis) -> None:
    begun.situation = replace(HALF, routers=("a", "b", "c"))
    begun.round(2, sample("a", 2.1, 74, 8), sample("c", 2.2, 900, 300))
    found = begun.round(4, sample("a", 4.1, 74, 8), sample("c", 4.2, 901, 302))
    assert begun.finished() == (5, 3)
    assert spans(found) == [(2.2, 4.2, (1, 2), False)]


def test_a_pod_that_came_before_the_weight_changed_counts_across_it(begun: Analysis) -> None:
    begun.situation = replace(HALF, routers=("a", "c"))
    begun.round(2, sample("a", 2.1, 74, 8), weight=9_000, since=1.9)
    begun.round(4, sample("a", 4.1, 75, 18))
    found = begun.round(6, sample("a", 6.1, 75, 19), sample("c", 6.2, 9, 3, uptime=5))
    assert spans(found) == [(4.1, 4.1, (9, 3), True), (4.1, 6.2, (0, 1), False)]


def test_an_Envoy_that_was_started_anew_counts_from_0(begun: Analysis) -> None:
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 3, 1, uptime=1))
    assert spans(found) == [(0.2, 2.2, (4 + 3, 1 + 1), False)]


def test_a_router_that_does_not_know_the_candidate_has_sent_it_nothing() -> None:
    analysis = Analysis()
    analysis.situation = replace(HALF, weight=0)
    analysis.round(0, sample("a", 0.1, 70, None), sample("b", 0.2, 50, None))
    found = analysis.round(2, sample("a", 2.1, 75, None), sample("b", 2.2, 50, None))
    assert found[0].counted["finished"] == (5, 0)
    found = analysis.round(4, sample("a", 4.1, 76, 2), sample("b", 4.2, 50, 3))
    assert found[0].counted["finished"] == (1, 5)


def test_latency_is_counted_above_the_edges_that_are_given(begun: Analysis) -> None:
    begun.situation = replace(HALF, edges={"latency": 0.0464})
    found = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 50, 5))
    assert (found[0].counted["answered"], found[0].counted["above:latency"]) == ((4, 1), (0, 0))
    # `b` alone was asked, and was slow
    found = begun.round(4, sample("a", 4.1, 74, 8), sample("b", 4.2, 53, 5, ms=90))
    assert found[0].counted["above:latency"] == (53, 5)


def test_what_a_restart_missed_is_one_coarse_interval(begun: Analysis) -> None:
    (interval,) = begun.round(2, sample("a", 2.1, 74, 8), sample("b", 2.2, 51, 5))
    ledger = Ledger.begin(plan()).record(interval, begun.rounds.seen)

    after = Analysis(Rounds(BEGAN, ledger.intervals[-1].end, ledger.intervals[-1].weight, ledger.seen))
    found = after.round(90, sample("a", 90.1, 174, 88), sample("b", 90.2, 151, 85))
    assert spans(found) == [(2.2, 90.2, (200, 160), False)]
    ledger.record(found[0], after.rounds.seen)

    changed = Analysis(Rounds(BEGAN, ledger.intervals[-1].end, ledger.intervals[-1].weight, ledger.seen))
    found = changed.round(90, sample("a", 90.1, 174, 88), sample("b", 90.2, 151, 85), weight=9_000, since=40)
    assert spans(found) == [(2.2, 90.2, (200, 160), True)]


def test_intervals_follow_one_another_in_a_ledger_and_lose_nothing(begun: Analysis) -> None:
    """Routers that miss every third round, and weights that change every fifth."""
    old, new = {"a": 70, "b": 50}, {"a": 7, "b": 5}
    ledger = Ledger.begin(plan())
    for number in range(1, 60):
        at = 2.0 * number
        for pod in ("a", "b"):
            old[pod] += number % 7
            new[pod] += number % 5
        missing = {0: "a", 1: "b"}.get(number % 3)
        samples = [sample(pod, at + 0.1, old[pod], new[pod]) for pod in ("a", "b") if pod != missing or number == 59]
        change = {"weight": 5_000 + number, "since": at - 1.5} if number % 5 == 0 else {}
        for interval in begun.round(at, *samples, **change):  # type: ignore[arg-type]
            ledger = ledger.record(interval, begun.rounds.seen)
    assert begun.finished() == (sum(old.values()) - 120, sum(new.values()) - 12)
    assert {each.straddles for each in begun.intervals} == {True, False}


def test_the_champions_growth_is_told_with_its_latencies(begun: Analysis) -> None:
    taken = take(begun.rounds, HALF, BEGAN + 2, [sample("a", 2.1, 74, 8)], EVERY)
    assert (taken.champion["answered"], taken.champion["b21"]) == (4, 4)
