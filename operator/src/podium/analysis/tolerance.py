"""Evidence on the candidate's rate alone, against a rate q that nobody minds.

A ratio says nothing where there are no events, and most services have almost none. For n units and S events of the
candidate, and an alternative p_j to the rate q,

    log L_j(t) = sum_k [ S1_k ln(p_j/q) + (n1_k - S1_k) ln((1 - p_j)/(1 - q)) ],   E = mean_j exp(log L_j)

This is the likelihood ratio of a binomial count: mean 1 at rate q, less beyond it on the null's side; a
supermartingale even if the rate moves, as long as it stays on that side.
"""

import math
from functools import lru_cache

from podium.analysis.grids import Grid, above, below

HIGHEST = 1 - 1e-6
"""Alternatives stop short of 1: one unit without an event would otherwise end all evidence."""
TAU_WORSE = 1.6
TAU_BETTER = 2.0


def worse(q: float) -> Grid:
    """Rates above q: alternatives to H0 p1 <= q."""
    return tuple(min(rate, HIGHEST) for rate in above(q, TAU_WORSE))


def better(q: float) -> Grid:
    """Rates below q: alternatives to H0 p1 >= q."""
    return below(q, TAU_BETTER)


def increments(units: float, events: float, q: float, grid: Grid) -> list[float]:
    """What one interval adds to log L_j at each rate of the grid. `units` and `events` are the candidate's."""
    rest = units - events
    return [events * hit + rest * miss for hit, miss in _steps(q, grid)]


@lru_cache(maxsize=256)
def _steps(q: float, grid: Grid) -> tuple[tuple[float, float], ...]:
    """What one event adds at each rate, and what one unit without one adds."""
    return tuple((math.log(p / q), math.log1p(-p) - math.log1p(-q)) for p in grid)
