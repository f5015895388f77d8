"""From looks at a Prometheus to counts: what is new, for both arms over the same time, and what is dropped."""

from dataclasses import dataclass, field

import pytest

from podium.metrics import queried
from podium.metrics.queried import Answers, Level, Look, Queried
from podium.rollout.measuring import UNASKED

EVERY = 60.0
NOTHING = "metric a: gives nothing"


def arm(value: tuple[float, float] | str) -> Answers:
    return {"a": value if isinstance(value, str) else Level(*value)}


@dataclass
class Looks:
    """One metric, `a`, looked at every minute; the weight has been what it is since `since`."""

    since: float = -1_000.0
    now: float = 0.0
    queried: Queried = field(default_factory=Queried)
    weighed: list[tuple[float, ...]] = field(default_factory=list)
    straddling: list[tuple[float, ...]] = field(default_factory=list)

    def look(self, champion: tuple[float, float] | str, candidate: tuple[float, float] | str) -> "Looks":
        self.queried, weighed, straddling = queried.take(
            self.queried, Look(self.now, arm(champion), arm(candidate)), self.since, EVERY
        )
        for found, into in ((weighed, self.weighed), (straddling, self.straddling)):
            if found:
                into.append((*found["events:a"], *found["total:a"]))
        self.now += EVERY
        return self


def test_the_first_look_counts_nothing_and_the_second_what_is_new_in_both_arms() -> None:
    found = Looks().look((5, 900), (0, 10)).look((7, 950), (1, 12))
    assert found.weighed == [(2, 1, 50, 2)]
    assert found.straddling == []


@pytest.mark.parametrize("which", range(4))
def test_a_count_that_went_down_drops_the_interval_of_both_arms_and_counting_goes_on_from_there(which: int) -> None:
    counts = [5, 900, 3, 800]
    found = Looks().look((5, 900), (3, 800))
    counts[which] -= 1
    found.look((counts[0], counts[1]), (counts[2], counts[3]))
    assert found.weighed == []
    found.look((counts[0] + 1, counts[1] + 0.5), (counts[2], counts[3] + 0.5))
    assert found.weighed == [(1, 0, 0.5, 0.5)]


def test_a_look_without_an_answer_of_one_arm_makes_one_longer_interval_of_both() -> None:
    found = Looks().look((5, 900), (0, 10)).look((6, 950), NOTHING).look((8, 1_000), (1, 14))
    assert found.weighed == [(3, 1, 100, 4)]


def test_a_pod_that_left_the_sum_and_comes_back_with_all_it_ever_counted_is_not_counted_twice() -> None:
    found = Looks().look((50, 5_000), (0, 100)).look((20, 2_000), (0, 110))
    found.look((21, 2_100), (0, 120))
    found.look((52, 5_200), (0, 130))
    found.look((53, 5_300), (0, 140))
    assert found.weighed == [(1, 0, 100, 10), (1, 0, 100, 10)]


def test_a_pod_that_left_for_good_costs_no_more_than_one_interval_of_growth() -> None:
    found = Looks().look((0, 1_000), (0, 100)).look((0, 950), (0, 110))
    for at in range(1, 5):
        found.look((0, 950 + 100 * at), (0, 110 + 10 * at))
    assert found.weighed == [(0, 0, 100, 10)] * 3


def test_what_was_lost_is_remembered_by_the_ledger() -> None:
    found = Looks().look((50, 5_000), (0, 100)).look((20, 2_000), (0, 110))
    taken_over = Looks(now=found.now, queried=queried.restored(found.queried.seen))
    assert taken_over.look((52, 5_200), (0, 130)).weighed == []
    assert taken_over.look((53, 5_300), (0, 140)).weighed == [(1, 0, 100, 10)]


def test_pods_that_left_one_after_the_other_come_back_one_after_the_other() -> None:
    found = Looks().look((0, 9_000), (0, 100)).look((0, 8_000), (0, 110)).look((0, 5_000), (0, 120))
    found.look((0, 6_000), (0, 130)).look((0, 6_100), (0, 140)).look((0, 9_100), (0, 150))
    assert found.weighed == [(0, 0, 100, 10)], "neither what the first brought back, nor the second"
    assert found.look((0, 13_100), (0, 160)).weighed[1:] == [(0, 0, 4_000, 10)], "nobody is away any more"


def test_pods_that_come_back_at_once_are_all_back() -> None:
    found = Looks().look((0, 9_000), (0, 100)).look((0, 8_000), (0, 110)).look((0, 5_000), (0, 120))
    found.look((0, 9_050), (0, 130)).look((0, 14_050), (0, 140))
    assert found.weighed == [(0, 0, 5_000, 10)]


def test_of_many_losses_the_smallest_are_remembered() -> None:
    found = Looks().look((0, 100_000), (0, 0))
    total = 100_000
    for lost in range(1_000, 1_000 + 2 * queried.MOST_LOST):
        total -= lost
        found.look((0, total), (0, 0))
    assert len([name for name in found.queried.seen[queried.key("a")] if name.startswith("lost")]) == queried.MOST_LOST
    assert found.look((0, total + 1_000), (0, 10)).weighed == []


def test_an_interval_that_a_scrape_may_have_begun_before_the_weight_is_counted_and_not_weighed() -> None:
    found = Looks(since=30.0).look((0, 900), (0, 0)).look((0, 950), (0, 5))
    found.look((0, 1_000), (0, 10)).look((0, 1_050), (0, 15))
    assert found.straddling == [(0, 0, 50, 5), (0, 0, 50, 5)]
    assert found.weighed == [(0, 0, 50, 5)], "from second 120 on: a scrape interval after second 30 is 90"


def test_a_look_that_is_older_than_the_one_before_counts_nothing() -> None:
    found = Looks().look((5, 900), (0, 10)).look((6, 950), (0, 12))
    found.now = 30.0
    assert found.look((9, 990), (9, 99)).weighed == [(1, 0, 50, 2)]


def test_an_interval_that_began_by_a_clock_which_was_ahead_is_counted_and_not_weighed() -> None:
    found = Looks(now=600.0).look((0, 900), (0, 5))
    taken_over = Looks(now=60.0, queried=queried.restored(found.queried.seen))
    taken_over.look((0, 950), (0, 10)).look((0, 1_000), (0, 15))
    assert (taken_over.straddling, taken_over.weighed) == ([(0, 0, 50, 5)], [(0, 0, 50, 5)])


def test_metrics_do_not_wait_for_each_other() -> None:
    before = queried.take(Queried(), Look(0, {"a": Level(0, 1), "b": NOTHING}, {"a": Level(0, 1)}), -1_000, EVERY)
    after = queried.take(before.queried, Look(60, {"a": Level(1, 3), "b": NOTHING}, {"a": Level(0, 2)}), -1_000, EVERY)
    assert after.weighed == {"events:a": (1, 0), "total:a": (2, 1)}


def test_it_holds_until_the_first_look_of_this_operator_and_while_an_arm_has_no_answer() -> None:
    found = Looks()
    assert queried.holds(found.queried, ["a"], 0, begun=True) == (UNASKED,)
    assert queried.holds(found.queried, [], 0, begun=True) == ()
    found.look((5, 900), NOTHING)
    assert queried.holds(found.queried, ["a"], 1, begun=True) == (NOTHING,)
    assert queried.holds(found.queried, ["a"], 1, begun=False) == (), "a candidate without requests has no series yet"
    found.look((5, 900), (0, 1))
    assert queried.holds(found.queried, ["a"], 61, begun=True) == ()


def test_looks_that_stop_are_told() -> None:
    found = Looks().look((5, 900), (0, 1))
    assert queried.holds(found.queried, ["a"], 239, begun=True) == ()
    assert "has not been asked for minutes" in queried.holds(found.queried, ["a"], 241, begun=True)[0]
