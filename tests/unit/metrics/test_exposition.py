"""Counters are summed from Prometheus' text, by the series that a ModelRuntime names."""

import pytest

from podium.metrics.exposition import NoCount, by_label, total

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


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many", "1_0", "\u0663"])
def test_what_is_no_count_is_refused_by_name(value: str) -> None:
    with pytest.raises(NoCount, match=r"^broken_total is "):
        total(f"fine_total 3\nbroken_total {value}\n", ["broken_total"])


@pytest.mark.parametrize(
    "line",
    [
        "x_total\t3",
        "  x_total 3",
        "\tx_total \t 3 1700000000000",
        'x_total{a="b"}3',
        'x_total\t{ a = "b" , }\t3\r',
        'x_total{"a.b"="c"} 3',
        *(f'x_total{{a="b{cut}c"}} 3' for cut in ("\u2028", "\x85", "\x0c", "\r")),
    ],
)
def test_a_line_is_read_however_its_blanks_and_labels_are_written(line: str) -> None:
    assert total(f"# TYPE x_total counter\n{line}\ny_total 4\n", ["x_total"]) == 3
    assert sum(by_label(f"{line}\n", ["x_total"], "revision").values()) == 3


@pytest.mark.parametrize(
    "line", ["x_total", "x_total{", 'x_total{a="b" 3', 'x_total{a="b"}', "x_total{a=b} 3", "x_total\u20283"]
)
def test_a_line_of_a_series_that_cannot_be_read_is_refused_and_no_zero(line: str) -> None:
    for read in (lambda text: total(text, ["x_total"]), lambda text: by_label(text, ["x_total"], "a")):
        with pytest.raises(NoCount, match=r"^x_total has a line 'x_total.*correct what exports it$"):
            read(f"fine_total 3\n{line}\n")


def test_a_value_of_a_series_that_nobody_asks_for_is_not_looked_at() -> None:
    assert total(TEXT, ["plain"]) == 1500
