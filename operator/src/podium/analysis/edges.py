"""The one fixed grid of latencies: 12 edges a decade from 0.1 ms to 600 s, the buckets of the routers' histograms.

A threshold moves to the next edge above. Any edge that is fixed before evidence is counted keeps the guarantee.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

A_DECADE = 12
_LOWEST = 1e-4
_HIGHEST = 600.0
_DIGITS = 3


def _grid() -> tuple[float, ...]:
    count = math.floor(A_DECADE * math.log10(_HIGHEST / _LOWEST))
    # Rounded, so that routers print what this says.
    exact = (_LOWEST * 10 ** (place / A_DECADE) for place in range(count + 1))
    return (*(float(f"{edge:.{_DIGITS}g}") for edge in exact), _HIGHEST)


EDGES = _grid()
"""Seconds, ascending."""


def next_edge(threshold: float) -> float:
    """The smallest edge that is not below the threshold (seconds). Raises ValueError beyond the last one."""
    place = bisect_left(EDGES, threshold)
    if place == len(EDGES) or threshold <= 0:
        raise ValueError(f"a latency of {threshold:g} s cannot be told from others: use 0.1 ms to {_HIGHEST:g} s")
    return EDGES[place]


def frozen_edge(above: Sequence[float], total: float, quantile: float) -> float | None:
    """The champion's quantile: the first edge with at most 1 - quantile of `total` answers above it.

    `above[i]`: answers slower than EDGES[i]. None where even the last edge has more above it, or nothing was answered.
    """
    allowed = (1 - quantile) * total
    if total <= 0:
        return None
    # A share such as 0.05 is no binary fraction: what equals it up to rounding is not above it.
    return next((edge for edge, count in zip(EDGES, above, strict=True) if count <= allowed * (1 + 1e-9)), None)
