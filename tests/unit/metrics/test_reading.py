"""What a router's text says, and that nothing else is taken for it."""

import re
from urllib.parse import unquote

import pytest

from podium.analysis.edges import EDGES
from podium.metrics.reading import Ended, Unreadable, query, read
from podium.router.bootstrap import grid
from podium.router.routing import LONGEST_SECONDS
from tests.unit.metrics.given import LAST, cluster, ended, reading, text


def test_counters_codes_and_latencies_are_by_cluster() -> None:
    found = reading(
        cluster("new.http", total=7, completed=6, active=1, c200=4, c503=2, times={3: 3, 40: 1}),
        cluster("old.grpc", total=9),
    )

    assert set(found.clusters) == {"new.http", "old.grpc"}
    new = found.clusters["new.http"]
    assert (new.counters["upstream_rq_total"], new.counters["upstream_rq_completed"]) == (7, 6)
    assert new.codes == {200: 4, 503: 2}
    assert new.buckets is not None
    assert {EDGES[place]: count for place, count in enumerate(new.buckets) if count} == {0.00316: 3, 0.0464: 1}
    assert found.uptime == 100


def test_what_is_absent_is_absent() -> None:
    found = reading(cluster("old.http"))

    assert "new.http" not in found.clusters
    old = found.clusters["old.http"]
    assert (old.buckets, old.ended, old.codes) == (None, None, {})
    assert "upstream_rq_completed" not in old.counters


def test_ends_are_told_by_code_flags_and_status() -> None:
    found = reading(
        cluster(), ended(200, count=5), ended(503, "URX,UF", count=2), ended(200, "-", "3"), ended(200, "-", "-1")
    )

    assert found.clusters["new.http"].ended == {
        Ended(200, frozenset(), None): 5,
        Ended(503, frozenset({"URX", "UF"}), None): 2,
        Ended(200, frozenset(), 3): 1,
        Ended(200, frozenset(), -1): 1,
    }


def test_ends_of_a_cluster_that_has_gone_are_nobodys() -> None:
    assert reading(ended(200)).clusters == {}


def test_the_routers_grid_is_the_analysis_grid() -> None:
    *edges, last = (edge / 1000 for edge in grid())
    assert edges == pytest.approx(EDGES, rel=5e-3)
    assert last == LONGEST_SECONDS, "Envoy prints no answers beyond its last edge"


@pytest.mark.parametrize("older", [False, True], ids=["with a bucket beyond", "of an older router, without one"])
def test_answers_slower_than_the_grid_are_beyond_its_last_edge(older: bool) -> None:
    line = cluster(times={50: 2, 700_000: 3})
    assert " B8.64e+07(0,5)" in line
    buckets = reading(line.replace(" B8.64e+07(0,5)", "") if older else line).clusters["new.http"].buckets
    assert buckets is not None
    assert (sum(buckets), buckets[-1]) == ((2, 0) if older else (5, 3))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "break off"),
        ("<html>nothing here</html>", "is no statistic"),
        (text(cluster(total=3)).removesuffix(LAST), "break off after 'server.uptime'"),
        (text(cluster()).replace("server.uptime: 100\n", ""), "break off"),
        (text(cluster()).replace("upstream_rq_total: 0", "upstream_rq_total: -1"), "total is '-1', no count"),
        (text(cluster()).replace("upstream_rq_total: 0", "upstream_rq_total: ٣"), "no count"),
        (text(cluster()).replace("cluster.new.http.upstream_rq_retry: 0\n", ""), "new.http has no upstream_rq_retry"),
        (text(ended(200, "-", "-2")), "does not say how a request ended"),
        (text(ended(200, "UC-x")), "does not say how a request ended"),
        (text(ended(200), cluster()).replace("code.200", "code.two"), "does not say how a request ended"),
        (text(cluster(times={1: 1})).replace(" B600000(0,1)", ""), "other buckets"),
        (text(cluster(times={1: 1})).replace("B600000(0,1)", "B600000(0,1"), "other buckets"),
        (text(cluster(times={1: 1})).replace("B600000(0,1)", "B600000(0,one)"), "other buckets"),
        (text(cluster(times={1: 1})).replace("B100(0,1)", "B110(0,1)", 1), "other buckets"),
        (text(cluster(times={1: 1})).replace("B600000(0,1)", "B600000(0,0)"), "fewer answers"),
    ],
)  # fmt: skip
def test_anything_else_is_an_error_that_names_the_pod(broken: str, why: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(why)) as error:
        read("router-a", broken)
    assert str(error.value).startswith("router pod router-a: ")


def test_a_text_that_breaks_off_anywhere_gives_no_number() -> None:
    whole = text(cluster(total=12, completed=12, c200=12, times={3: 12}), ended(200, count=12), cluster("old.http"))
    for end in range(len(whole) - len(LAST)):
        with pytest.raises(Unreadable):
            read("router-a", whole[:end])


def test_the_query_asks_for_the_revisions_that_are_compared_and_no_others() -> None:
    asked = unquote(query(["fraud-b", "fraud-a"]).partition("filter=")[2])
    wanted = "".join(line for line in text(
        cluster("fraud-a.http", total=1, completed=1, c200=1, times={1: 1}), ended(200, name="fraud-b.grpc")
    ).splitlines(keepends=True) if re.search(asked, line.partition(": ")[0]))  # fmt: skip

    assert set(read("router-a", wanted).clusters) == {"fraud-a.http"}
    assert "ended.requests.cluster.fraud-b.grpc" in wanted
    for name in ("cluster.fraud-a2.http.upstream_rq_total", "cluster.fraud-a.http.external.upstream_rq_200"):
        assert not re.search(asked, name)
