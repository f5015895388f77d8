"""Evidence on the odds ratio, exact given the number of events (Fisher 1935): for rates above 10 %.

Given d = S1 + S0, S1 is noncentral hypergeometric. At odds ratio psi its normalisation is
Z(psi) = sum_s C(n1, s) C(n0, d - s) psi^s, and an interval adds, at an alternative psi_j to a null psi0,

    S1 ln(psi_j/psi0) - ln Z(psi_j) + ln Z(psi0)

Under psi0 its exponential has mean exactly 1, and less on the side of the null away from the alternatives (monotone
likelihood ratio). RR-e would be valid, too, but loses power as rates grow: 1 + x <= exp(x) is then far from equal.
Assumptions as in `ratio`, and that the odds ratio, not the ratio, stands still while the base rate moves.
"""

import math

from podium.analysis.counts import Counts
from podium.analysis.grids import Grid

FROM_RATE = 0.1
"""The champion's rate at the start above which evidence is on the odds ratio."""
MOST_EVENTS = 2000
"""After an interval with more events RR-e takes over: sums as long as that cost more than they give."""
HIGHEST_RATE = 0.9
"""A null rate of the candidate from which on no ratio can be ruled out: there is no room left above it."""
MEANINGFUL = 1.05
"""A ratio below which nobody can wait: what it takes to rule it out grows with the square of what is above 1."""
_NEGLIGIBLE = 1e-18


class MaxRatioUnreachable(ValueError):
    """The champion's rate is so high that a candidate worse by that ratio would fail (nearly) always."""

    def __init__(
        self, ratio: float, base: float, *, metric: str = "", field: str = "maxRatio", least: float = 1.0
    ) -> None:
        """`field`: of the metric, in spec.rollout.analysis; `least`: the harmRatio that it must not go below."""
        most = math.floor(100 * HIGHEST_RATE / base) / 100
        # Evidence against a ratio of 1 always has room, but it would take for ever to rule out no difference at all.
        fields = field if most > least else f"harmRatio and its {field}"
        way = (
            f"set its {fields} below {most:.2f}"
            if most > MEANINGFUL
            else "take it out of spec.rollout.analysis.metrics"
        )
        super().__init__(
            f"{f'metric {metric}: ' if metric else ''}{ratio:g} times the champion's rate of {base:.1%} is "
            f"{ratio * base:.0%}, and a ratio that leads to {HIGHEST_RATE:.0%} or more cannot be ruled out. "
            f"To go on: {way}, which counts from the next rollout on (abort, then retry), or promote by hand"
        )


def null_odds(ratio: float, base: float) -> float:
    """psi0 = m (1 - p0)/(1 - m p0): the odds ratio of two rates whose ratio is m, at the champion's frozen rate p0."""
    if ratio == 1:
        return 1.0
    if ratio * base >= HIGHEST_RATE:
        raise MaxRatioUnreachable(ratio, base)
    return ratio * (1 - base) / (1 - ratio * base)


def increments(counts: Counts, null: float, grid: Grid) -> list[float]:
    """What one interval adds at each alternative of the grid (odds ratios)."""
    n1, s1, n0, s0 = (round(count) for count in counts)
    d = s1 + s0
    if d == 0 or n1 == 0 or n0 == 0:
        return [0.0] * len(grid)
    at_null = _log_z(n1, n0, d, null)
    return [s1 * math.log(psi / null) - _log_z(n1, n0, d, psi) + at_null for psi in grid]


def _log_z(n1: int, n0: int, d: int, psi: float) -> float:
    """ln Z(psi), summed from its largest term outwards until what is left is nothing."""
    low, high = max(0, d - n0), min(n1, d)
    mode = min(max(_mode(n1, n0, d, psi), low), high)
    total, term = 1.0, 1.0
    for s in range(mode, high):
        term *= (n1 - s) * (d - s) * psi / ((s + 1) * (n0 - d + s + 1))
        total += term
        if term < _NEGLIGIBLE:
            break
    term = 1.0
    for s in range(mode, low, -1):
        term *= s * (n0 - d + s) / ((n1 - s + 1) * (d - s + 1) * psi)
        total += term
        if term < _NEGLIGIBLE:
            break
    return _log_choose(n1, mode) + _log_choose(n0, d - mode) + mode * math.log(psi) + math.log(total)


def _mode(n1: int, n0: int, d: int, psi: float) -> int:
    """The largest term's place: where the ratio of neighbours passes 1, a root of a quadratic (Liao and Rosen 2001)."""
    a = psi - 1
    b = -((n1 + d + 2) * psi + n0 - d)
    c = (n1 + 1) * (d + 1) * psi
    return int(-2 * c / (b - math.sqrt(max(b * b - 4 * a * c, 0.0))))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
