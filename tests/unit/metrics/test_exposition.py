"""Counters are summed from Prometheus' text, by the series that a ModelRuntime names."""

import pytest

from podium.metrics.exposition import NoCount, total

TEXT = """\
# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{code="200",path="/a b"} 90 1700000000000
requests_total{code="500", path="x} y\\"z",} 7
requests_total{code="503"} 3.0 # {trace="1"} 1
requests_total_created{code="500"} 1.7e+09
other{code="500"} NaN
plain 1.5e3
"""


@pytest.mark.parametrize(
    ("series", "sum_"),
    [
        (["requests_total"], 100),
        (['requests_total{code="500"}'], 7),
        (['requests_total{code=~"5.."}'], 10),
        (['requests_total{code=~"5"}'], 0),
        (['requests_total{code=~"5..",path="x} y"}'], 0),
        (['requests_total{path=""}'], 3),
        (['requests_total{code="500"}', 'requests_total{code=~"5.."}'], 10),
        (["plain", 'requests_total{code="503"}'], 1503),
        (["absent_total"], 0),
    ],
)
def test_the_series_that_are_named_are_summed_each_once(series: list[str], sum_: float) -> None:
    assert total(TEXT, series) == sum_


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many"])
def test_what_is_no_count_is_refused_by_name(value: str) -> None:
    with pytest.raises(NoCount, match=r"^broken_total is "):
        total(f"fine_total 3\nbroken_total {value}\n", ["broken_total"])


def test_a_value_of_a_series_that_nobody_asks_for_is_not_looked_at() -> None:
    assert total(TEXT, ["plain"]) == 1500
