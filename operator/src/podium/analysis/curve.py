"""The ratio as people see it: an estimate and a confidence sequence, from one table that intervals add to.

With G(th) = S1 ln th - sum_k d_k ln((n0_k + n1_k th)/(n0_k + n1_k)), RR-e's log LR of th_j against th0 is
G(th_j) - G(th0). So the sum over intervals is kept at fixed knots of ln th, and interpolated between them (six-point
Lagrange, whose error in log LR is below 1e-8 d): however long the rollout, the table is as large as at its start.

The confidence sequence is {th0 : two-sided E(th0) < 1/alpha}: it covers the ratio at all times at once with
probability 1 - alpha (Robbins 1970; Howard et al. 2021).
"""

import math
from collections.abc import Callable, Sequence

from podium.analysis.counts import Counts
from podium.analysis.grids import POINTS, log_mean_exp, normal

TAU = 0.8
_STEP = 0.125
_REACH = 56
KNOTS = tuple(math.exp(_STEP * place) for place in range(-_REACH, _REACH + 1))
"""Ratios from 1/1097 to 1097."""
_AROUND = 6
_OUTERMOST = math.log(100)
"""Ratios beyond 100 and below 1/100 are told as no bound at all."""
_TOLERANCE = 1e-8
_FIRST_STEP = 0.02
_MOST_LOOKS = 60


def empty() -> tuple[float, ...]:
    """The table before anything was counted."""
    return (0.0,) * len(KNOTS)


def added(table: Sequence[float], counts: Counts) -> tuple[float, ...]:
    """The table with d ln((n0 + n1 th)/(n0 + n1)) of one interval added at each knot."""
    n1, _, n0, _ = counts
    d = counts.events
    if d == 0:
        return tuple(table)
    share = n1 / (n0 + n1)
    return tuple(value + d * math.log1p(share * (th - 1)) for value, th in zip(table, KNOTS, strict=True))


def estimate(table: Sequence[float], totals: Counts) -> float | None:
    """The ratio that makes G largest; 0 or infinity where one arm has no events, None where neither has."""
    if totals.events == 0:
        return None
    if totals.candidate_events == 0:
        return 0.0
    if totals.champion_events == 0:
        return math.inf
    low, high = -_REACH * _STEP, _REACH * _STEP
    while high - low > _TOLERANCE:
        third = (high - low) / 3
        if _log_g(table, totals, low + third) < _log_g(table, totals, high - third):
            low += third
        else:
            high -= third
    return math.exp(low)


def interval(table: Sequence[float], totals: Counts, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the ratio at level 1 - alpha: its bounds now; 0 and infinity where there is none."""
    found = estimate(table, totals)
    if found is None:
        return 0.0, math.inf
    middle = min(max(math.log(found) if found > 0 else -_OUTERMOST, -_OUTERMOST), _OUTERMOST)
    needed = -math.log(alpha)

    def beyond(at: float) -> float:
        return log_evidence(table, totals, math.exp(at)) - needed

    low = _edge(middle, -_OUTERMOST, beyond)
    high = _edge(middle, _OUTERMOST, beyond)
    return (0.0 if low is None else math.exp(low)), (math.inf if high is None else math.exp(high))


def log_evidence(table: Sequence[float], totals: Counts, null: float) -> float:
    """Log of the two-sided evidence that the ratio is not `null`."""
    at, here = math.log(null), _log_g(table, totals, math.log(null))
    return log_mean_exp([_log_g(table, totals, at + TAU * z) - here for z in normal(POINTS)])


def _edge(inside: float, outermost: float, beyond: Callable[[float], float]) -> float | None:
    """Where between the two `beyond` becomes positive; None if it does not even at the outermost.

    Bracketed by doubling steps, then false position (Illinois: the end that stays counts half), since each look at
    the evidence costs as much as counting an interval.
    """
    if inside == outermost:
        return None
    if beyond(inside) >= 0:
        return inside  # the ratio itself is beyond what is told
    step, near, far = math.copysign(_FIRST_STEP, outermost - inside), inside, inside
    while beyond(far) < 0:
        if far == outermost:
            return None
        near, far, step = far, max(min(inside + step, _OUTERMOST), -_OUTERMOST), 2 * step
    at_near, at_far = beyond(near), beyond(far)
    middle = far
    for _ in range(_MOST_LOOKS):
        middle = (near * at_far - far * at_near) / (at_far - at_near)
        found = beyond(middle)
        if abs(found) < _TOLERANCE:
            break
        if found < 0:
            near, at_near, at_far = middle, found, at_far / 2
        else:
            far, at_far, at_near = middle, found, at_near / 2
    return middle


def _log_g(table: Sequence[float], totals: Counts, at: float) -> float:
    """G at a log ratio, by the six knots around it."""
    place = at / _STEP + _REACH
    first = min(max(math.floor(place) - _AROUND // 2 + 1, 0), len(table) - _AROUND)
    a = place - first
    b, c, d, e, f = a - 1, a - 2, a - 3, a - 4, a - 5
    ab, ef, cd = a * b, e * f, c * d
    k0, k1, k2, k3, k4, k5 = table[first : first + _AROUND]
    between = (
        -k0 * b * cd * ef / 120
        + k1 * a * cd * ef / 24
        - k2 * ab * d * ef / 12
        + k3 * ab * c * ef / 12
        - k4 * ab * cd * f / 24
        + k5 * ab * cd * e / 120
    )
    return totals.candidate_events * at - between
