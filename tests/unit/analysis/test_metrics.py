"""The table of metrics: what is an event, of which units."""

import pytest

from podium.analysis.counts import Counts, Moments
from podium.analysis.metrics import TYPES, Counted, Kind, counts, moments
from podium.analysis.plan import metric

SEEN: Counted = {
    "started": (1000, 500), "finished": (990, 490), "answered": (980, 480), "abandoned": (4, 3),
    "5xx": (5, 1), "429": (1, 1), "reset": (2, 0), "timeout": (0, 4), "4xx": (30, 60), "408": (7, 8),
    "above:slow": (49, 30), "wrong": (9, 8), "labelled": (90, 80),
    "tp": (50, 40), "fp": (5, 6), "fn": (7, 8),
    "events:checkout": (3, 2), "total:checkout": (300, 200),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "candidate", "champion"),
    [
        (Kind.ERROR_RATE, "errors", (490, 6), (990, 8)),
        (Kind.REJECTIONS, "rejections", (490, 60), (990, 30)),
        (Kind.ABANDONED, "abandoned", (493, 3), (994, 4)),
        (Kind.LATENCY, "slow", (480, 30), (980, 49)),
        (Kind.ACCURACY, "accuracy", (80, 8), (90, 9)),
        (Kind.PRECISION, "precision", (46, 6), (55, 5)),
        (Kind.RECALL, "recall", (48, 8), (57, 7)),
        (Kind.F1, "f1", (54, 14), (62, 12)),
        (Kind.PROMETHEUS, "checkout", (200, 2), (300, 3)),
    ],
)
def test_events_and_units(kind: Kind, name: str, candidate: tuple[int, int], champion: tuple[int, int]) -> None:
    assert counts(kind, name, SEEN) == Counts(*candidate, *champion)


@pytest.mark.parametrize(
    ("kind", "tolerate", "max_ratio", "harm_ratio"),
    [
        (Kind.ERROR_RATE, 0.001, 1.5, 1.0),
        (Kind.REJECTIONS, 0.001, 1.5, 1.0),
        (Kind.ABANDONED, 0.01, 1.5, 1.0),
        (Kind.LATENCY, 0.01, 1.5, 1.5),
        (Kind.ACCURACY, 0.0, 1.5, 1.0),
        (Kind.PROMETHEUS, 0.0, 1.5, 1.0),
    ],
)
def test_what_a_metric_asks_if_it_does_not_say(
    kind: Kind, tolerate: float, max_ratio: float, harm_ratio: float
) -> None:
    found = metric("m", kind, edge=0.1)
    assert (found.tolerate, found.max_ratio, found.harm_ratio) == (tolerate, max_ratio, harm_ratio)


def test_slower_is_harm_from_the_ratio_on_that_must_be_ruled_out() -> None:
    assert metric("slow", Kind.LATENCY, edge=0.1, max_ratio=1.3).harm_ratio == 1.3


@pytest.mark.parametrize(("harm", "most"), [(1.6, 1.5), (0.9, 1.5), (1.0, 0.9)])
def test_ratios_that_contradict_each_other_are_refused(harm: float, most: float) -> None:
    with pytest.raises(ValueError, match="metric errors: harmRatio"):
        metric("errors", Kind.ERROR_RATE, harm_ratio=harm, max_ratio=most)


def test_every_type_but_means_is_in_the_table_above() -> None:
    assert {kind for kind in Kind if TYPES[kind].mean} == {Kind.REWARD}


def test_a_mean_is_made_of_number_sum_and_squares() -> None:
    seen: Counted = {"values:click": (10, 20), "sum:click": (5, 12), "squares:click": (5, 12)}
    assert moments(Kind.REWARD, "click", seen) == Moments(20, 12, 12, 10, 5, 5)


def test_counters_that_never_rose_are_not_exported_and_count_as_none() -> None:
    assert counts(Kind.ERROR_RATE, "errors", {"finished": (10, 5)}) == Counts(5, 0, 10, 0)


def test_what_was_not_read_is_no_count_of_zero() -> None:
    assert counts(Kind.ERROR_RATE, "errors", {"labelled": (10, 5)}) is None
    assert moments(Kind.REWARD, "click", {"values:click": (10, 20)}) is None


def test_an_event_that_was_read_before_its_unit_is_no_rate_above_one() -> None:
    assert counts(Kind.ERROR_RATE, "errors", {"finished": (10, 1), "5xx": (0, 2)}) == Counts(1, 1, 10, 0)


def test_metrics_of_one_type_have_counters_of_their_own_where_they_differ() -> None:
    seen: Counted = {"answered": (100, 50), "above:slow": (9, 5), "above:slower": (3, 1)}
    assert counts(Kind.LATENCY, "slower", seen) == Counts(50, 1, 100, 3)
