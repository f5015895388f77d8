"""Sample ratio: whether as many units were started on each arm as the weight says.

The kernel of `ratio` with the share that was asked for, rho, in place of the units: S1 of d = S1 + S0 started units
are the candidate's, and at an alternative th_j to th0 = 1 an interval adds S1 ln th_j - d ln(1 - rho + rho th_j).
Two-sided.
This is the exact likelihood ratio of a binomial share.
"""

import math
from collections.abc import Sequence

from podium.analysis.grids import Grid, around, log_mean_exp

ALPHA = 0.001
"""Of a false alarm in a whole rollout."""
TAU = 0.8


def grid() -> Grid:
    """Odds ratios on both sides of 1."""
    return around(1.0, TAU)


def increments(candidate: float, champion: float, share: float) -> list[float]:
    """What one interval adds at each alternative. `share`: the candidate's, strictly between 0 and 1."""
    d = candidate + champion
    return [candidate * math.log(th) - d * math.log1p(share * (th - 1)) for th in grid()]


def alarmed(evidence: Sequence[float]) -> bool:
    """Whether the split is other than asked for."""
    return log_mean_exp(evidence) >= -math.log(ALPHA)
