"""What callers saw, from what a router counted."""

import pytest

from podium.analysis.edges import EDGES, frozen_edge
from podium.analysis.metrics import Kind
from podium.analysis.metrics import counts as of_metric
from podium.metrics import counts
from podium.metrics.counts import above, class_of, grown, levels, slower, total
from podium.metrics.reading import Ended, Reading
from tests.unit.metrics.given import cluster, ended, reading

KNOWN = ["started", "finished", "abandoned", "429", "4xx", "5xx", "reset", "timeout"]


def told(found: Reading, name: str = "new.http") -> dict[str, float]:
    """What of the levels is not 0."""
    said = levels(found, name)
    assert said is not None
    return {each: said[each] for each in (*KNOWN, "answered") if said.get(each)}


@pytest.mark.parametrize(
    ("code", "flags", "grpc", "expected"),
    [
        (200, "", None, ""), (302, "", None, ""), (400, "", None, "4xx"), (404, "", None, "4xx"), (408, "", None, ""),
        (429, "", None, "429"), (499, "", None, ""), (500, "", None, "5xx"), (503, "", None, "5xx"),
        # the router's own answers
        (503, "UC", None, "reset"), (503, "UF URX", None, "reset"), (503, "UH", None, "reset"),
        (504, "UT", None, "timeout"),
        # the answer broke off in the middle, whatever it was
        (200, "UPE", None, "reset"), (200, "UC", None, "reset"), (200, "UR", 14, "reset"), (400, "UPE", None, "reset"),
        (200, "UT", None, "timeout"), (200, "SI", None, "timeout"),
        # its caller left, before the answer and in the middle of it; or never sent all of the request
        (0, "DC", None, "abandoned"), (200, "DC", None, "abandoned"), (0, "DR", None, "abandoned"),
        (408, "SI", None, ""),
        # gRPC, whose errors are answers 200
        (200, "", 0, ""), (200, "", 1, ""), (200, "", 2, "5xx"), (200, "", 3, "4xx"), (200, "", 4, "5xx"),
        (200, "", 5, "4xx"), (200, "", 8, "429"), (200, "", 12, "5xx"), (200, "", 14, "5xx"), (200, "", 16, "4xx"),
        (200, "", 77, "5xx"), (200, "", -1, "5xx"),
    ],
)  # fmt: skip
def test_each_end_of_a_request_is_in_one_class(code: int, flags: str, grpc: int | None, expected: str) -> None:
    assert class_of(Ended(code, frozenset(flags.split()), grpc)) == expected


def test_by_the_log_each_request_counts_once_as_its_caller_saw_it() -> None:
    found = reading(
        cluster(total=24, completed=18, active=2, pending_active=1, c200=12, c500=3, c504=3, times={5: 5}),
        ended(200, count=5), ended(200, "UPE", count=4), ended(200, "DC", count=3), ended(0, "DC", count=4),
        ended(500, count=3), ended(504, "UT", count=3),
    )  # fmt: skip
    assert told(found) == {
        "started": 22 + 3, "finished": 15, "answered": 5, "abandoned": 7, "5xx": 3, "reset": 4, "timeout": 3,
    }  # fmt: skip


def test_without_the_log_who_gave_up_is_what_is_missing() -> None:
    found = reading(cluster(total=45, completed=30, active=3, retry=2, c200=20, c429=4, c404=1, c500=5, times={1: 20}))
    assert told(found) == {
        "started": 43, "finished": 30, "answered": 20, "abandoned": 10, "429": 4, "4xx": 1, "5xx": 5,
    }  # fmt: skip


def test_attempts_that_never_got_a_connection_are_no_callers_who_gave_up() -> None:
    dead = reading(cluster(completed=2, c503=2, retry=6, pending_failure_eject=8))
    empty = reading(cluster(completed=3, c503=3, cx_none_healthy=3))
    left = reading(cluster(cancelled=4))
    assert told(dead) == {"started": 2, "finished": 2, "5xx": 2}
    assert told(empty) == {"started": 3, "finished": 3, "5xx": 3}
    assert told(left) == {"started": 4, "abandoned": 4}


def test_without_the_log_nothing_is_said_of_how_grpc_ended() -> None:
    used = levels(reading(cluster("new.grpc", total=9, completed=9, c200=9, times={1: 9})), "new.grpc")
    assert used is not None
    assert [name for name in (*KNOWN, "answered") if name in used] == []
    assert told(reading(cluster("new.grpc")), "new.grpc") == {}
    under_way = reading(cluster("new.grpc", total=2, active=2), cluster("new.http", total=1, completed=1, c500=1))
    first = levels(under_way, "new.grpc")
    assert first is not None
    found = total([first, levels(under_way, "new.http") or {}])
    assert (found["started"], found["finished"], found["5xx"]) == (3, 1, 1)
    assert "finished" not in total([used, levels(reading(cluster()), "new.http") or {}])


def test_a_cluster_that_is_not_there_has_no_counts() -> None:
    assert levels(reading(cluster("old.http")), "new.http") is None


def test_what_is_new_is_the_difference() -> None:
    first = levels(reading(cluster(total=5), ended(200, count=5)), "new.http")
    second = levels(reading(cluster(total=9), ended(200, count=7), ended(500, count=2), uptime=102), "new.http")
    assert first is not None
    assert second is not None
    new, _ = grown(first, second)
    assert {name: new[name] for name in KNOWN if new[name]} == {"started": 4, "finished": 4, "5xx": 2}


@pytest.mark.parametrize(
    ("after", "uptime"),
    [(2, 101), (9, 1)],
    ids=["fewer than before", "more than before, by an Envoy that is younger"],
)
def test_an_Envoy_that_was_started_anew_counts_from_0(after: int, uptime: int) -> None:
    before = levels(reading(cluster(total=5), ended(500, count=5)), "new.http")
    now = levels(reading(cluster(total=after), ended(500, count=after), uptime=uptime), "new.http")
    assert now is not None
    new, seen = grown(before, now)
    assert (new["5xx"], seen["5xx"]) == (after, after)


def test_a_histogram_begins_anew_with_its_cluster_and_the_log_does_not() -> None:
    before = levels(reading(cluster(total=9, times={5: 9}), ended(200, count=9)), "new.http")
    now = levels(reading(cluster(total=2, times={5: 2}), ended(200, count=11)), "new.http")
    assert now is not None
    new, _ = grown(before, now)
    assert (new["finished"], new["answered"]) == (2, 2)


def test_a_reading_between_two_counters_of_one_request_counts_it_once() -> None:
    """Under way and already over; an answer whose body is under way is completed, and active still."""
    seen: counts.Levels | None = None
    sums = dict.fromkeys(("started", "abandoned"), 0.0)
    for total_, completed, active in ((10, 9, 0), (11, 11, 2), (12, 11, 0)):
        now = levels(reading(cluster(total=total_, completed=completed, active=active)), "new.http")
        assert now is not None
        new, seen = grown(seen, now)
        assert min(new.values()) >= 0
        sums = {name: count + new[name] for name, count in sums.items()}
    assert sums == {"started": 12, "abandoned": 1}


def test_latencies_freeze_an_edge_and_count_above_it() -> None:
    found = levels(reading(cluster(times={3: 90, 40: 8, 700: 2})), "new.http")
    assert found is not None
    edge = frozen_edge(above(found), found["answered"], 0.95)
    assert edge == 0.0464
    assert (slower(found, edge), slower(found, EDGES[0]), slower(found, EDGES[-1])) == (2, 100, 0)


def test_the_metrics_read_what_is_counted_here() -> None:
    found = total([levels(reading(cluster(), ended(200, "UPE", count=2), ended(429), ended(404), ended(0, "DC")),
                          "new.http") or {}])  # fmt: skip
    counted = {name: (0.0, found[name]) for name in found if name in counts.COUNTED}
    rates = {kind: of_metric(kind, kind.value, counted) for kind in (Kind.ERROR_RATE, Kind.REJECTIONS, Kind.ABANDONED)}
    assert {kind: each and each[:2] for kind, each in rates.items()} == {
        Kind.ERROR_RATE: (4, 3), Kind.REJECTIONS: (4, 1), Kind.ABANDONED: (5, 1),
    }  # fmt: skip
