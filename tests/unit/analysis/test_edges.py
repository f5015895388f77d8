"""The one grid of latencies."""

from itertools import pairwise

import pytest

from podium.analysis.edges import EDGES, frozen_edge, next_edge


def test_there_are_twelve_edges_a_decade_from_a_tenth_of_a_millisecond_to_ten_minutes() -> None:
    assert (EDGES[0], EDGES[12], EDGES[24], EDGES[-1]) == (0.0001, 0.001, 0.01, 600.0)
    assert all(1.05 < above / below < 1.22 for below, above in pairwise(EDGES))


@pytest.mark.parametrize(
    ("threshold", "edge"), [(0.25, 0.261), (0.261, 0.261), (0.1, 0.1), (0.00001, 0.0001), (600, 600)]
)
def test_a_threshold_moves_to_the_next_edge_above(threshold: float, edge: float) -> None:
    assert next_edge(threshold) == edge


@pytest.mark.parametrize("threshold", [601, 0, -1])
def test_a_threshold_beyond_the_grid_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"0\.1 ms to 600 s"):
        next_edge(threshold)


def test_the_frozen_edge_is_the_first_that_the_champions_quantile_is_not_above() -> None:
    above = [1000 if edge < 0.1 else 51 if edge < 0.2 else 50 if edge < 1 else 0 for edge in EDGES]
    assert frozen_edge(above, 1000, 0.95) == next(edge for edge in EDGES if edge >= 0.2)


def test_without_answers_there_is_no_frozen_edge() -> None:
    assert frozen_edge([0] * len(EDGES), 0, 0.95) is None
