"""RR-e: evidence on the ratio of two rates, stratified by interval.

For interval k with n units and S events (1: candidate, 0: champion), d = S1 + S0, and an alternative th_j to th0:

    log LR_j(t) = sum_k [ S1_k ln(th_j/th0) - d_k ln((n0_k + n1_k th_j) / (n0_k + n1_k th0)) ]
    E_t = mean_j exp(log LR_j(t))

Assumptions: units are assigned to arms independently and one by one; weights are chosen before an interval begins.
Nothing is assumed of the base rate, which may be another in each interval.

Why it holds: with c = (n0 + n1 th_j)/(n0 + n1 th0), the mean of exp(increment) is, by 1 + x <= exp(x) for each unit, at
most exp(n1 p1 (th_j/(th0 c) - 1) + n0 p0 (1/c - 1)), whose exponent is 0 at p1 = th0 p0; and, on the side of the null
away from the alternatives, less. So E is a nonnegative supermartingale, and by Ville's inequality
P(E ever >= 1/alpha) <= alpha. It is the likelihood ratio of S1 given d for Poisson counts (conditional test of two
Poisson rates; Przyborowski and Wilenski 1940), as a mixture (Robbins 1970).
"""

import math

from podium.analysis.counts import Counts
from podium.analysis.grids import Grid


def increments(counts: Counts, null: float, grid: Grid) -> list[float]:
    """What one interval adds to log LR_j at each alternative of the grid."""
    n1, s1, n0, _ = counts
    d = counts.events
    if d == 0:
        return [0.0] * len(grid)
    # In terms of th_j - th0, so that nothing is lost where n is 10^9 and the alternative is near.
    base = n0 + n1 * null
    return [s1 * math.log(th / null) - d * math.log1p(n1 * (th - null) / base) for th in grid]
