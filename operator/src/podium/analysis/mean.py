"""Evidence on a difference of means (Reward): a normal mixture, stratified by interval.

For interval k with n values of mean m and within-interval variance s^2 in each arm, h = n0 n1/(n0 + n1):

    S = sum h (m1 - m0 - delta0)        V = sum h^2 (s1^2/n1 + s0^2/n0)
    log E = 1/2 ln(4 rho/(V + rho)) + S^2/(2 (V + rho)) + ln Phi(S/sqrt(V + rho))

for H0 m1 - m0 <= delta0; the other direction takes -S. One-sided normal mixture (Robbins 1970; Howard et al. 2021,
Proposition 6). Assumption: sums of many values are nearly normal, so evidence is asymptotic and begins after a burn-in
of 100 values per arm, which also sets rho (that which is best when V has reached 200 variances of one value).
"""

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

from podium.analysis.counts import NO_MOMENTS, Moments
from podium.analysis.grids import log_weighted
from podium.analysis.restarts import weights

BURN_IN = 100
"""Values per arm that are looked at and not weighed."""
_BEST_AT = 200
"""V over the variance of one value at which evidence is to be strongest."""


@dataclass(frozen=True)
class Sums:
    """What intervals add up to."""

    s: float = 0.0
    """Sum of h (m1 - m0)."""
    h: float = 0.0
    """Sum of h: what a margin is multiplied by."""
    v: float = 0.0

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(self.s - other.s, self.h - other.h, self.v - other.v)


NO_SUMS = Sums()


@dataclass(frozen=True)
class Mean:
    """The state of one metric of means."""

    sums: Sums = NO_SUMS
    burnt: Moments = NO_MOMENTS
    """What was counted before evidence began."""
    rho: float = 0.0
    """0 while burning in."""
    starts: tuple[Sums | None, ...] = ()
    """The sums at each start of evidence; None before it."""


def best_rho(alpha: float, variance: float) -> float:
    """Rho for evidence that is strongest at V = 200 variances (Howard et al. 2021, equation 24, one-sided)."""
    twice = -2 * math.log(2 * alpha)
    return _BEST_AT * variance / (twice + math.log1p(twice))


def added(mean: Mean, moments: Moments, alpha: float) -> Mean:
    """The state after one interval. One with fewer than two values in an arm has no variance, and adds nothing."""
    if mean.rho == 0:
        return _burning(mean, Moments(*(a + b for a, b in zip(mean.burnt, moments, strict=True))), alpha)
    n1, sum1, squares1, n0, sum0, squares0 = moments
    if n1 < 2 or n0 < 2:
        return mean
    h = n0 * n1 / (n0 + n1)
    v = h * h * (_variance(n1, sum1, squares1) / n1 + _variance(n0, sum0, squares0) / n0)
    sums = Sums(mean.sums.s + h * (sum1 / n1 - sum0 / n0), mean.sums.h + h, mean.sums.v + v)
    return replace(mean, sums=sums)


def restarted(mean: Mean, start: int) -> Mean:
    """The same with the evidence of that start begun."""
    return replace(mean, starts=tuple(mean.sums if place == start else at for place, at in enumerate(mean.starts)))


def log_harm(mean: Mean) -> float:
    """Log evidence that the candidate's mean is lower, over all starts."""
    return _over_starts(mean, 0.0, lower=True)


def log_better(mean: Mean, margin: float) -> float:
    """Log evidence that the candidate's mean is higher than the champion's less the margin, over all starts."""
    return _over_starts(mean, -margin, lower=False)


def _over_starts(mean: Mean, margin: float, *, lower: bool) -> float:
    logs = [log_evidence(mean.sums - at, mean.rho, margin, lower=lower) if at else 0.0 for at in mean.starts]
    return log_weighted(weights(len(logs)), logs)


def log_evidence(sums: Sums, rho: float, margin: float = 0.0, *, lower: bool = False) -> float:
    """Log evidence that m1 - m0 is above `margin` or, with `lower`, below it; 0 while burning in."""
    if rho == 0:
        return 0.0
    s = sums.s - margin * sums.h
    return mixture(-s if lower else s, sums.v, rho)


def mixture(s: float, v: float, rho: float) -> float:
    """Log E of the one-sided normal mixture."""
    spread = v + rho
    return 0.5 * math.log(4 * rho / spread) + s * s / (2 * spread) + _log_phi(s / math.sqrt(spread))


def interval(mean: Mean, alpha: float) -> tuple[float, float]:
    """Confidence sequence of m1 - m0 at level 1 - alpha, by the two-sided mixture."""
    sums, rho = mean.sums, mean.rho
    if rho == 0 or sums.h == 0:
        return -math.inf, math.inf
    spread = sums.v + rho
    radius = math.sqrt(spread * (math.log(spread / rho) - 2 * math.log(alpha))) / sums.h
    return sums.s / sums.h - radius, sums.s / sums.h + radius


def _burning(mean: Mean, burnt: Moments, alpha: float) -> Mean:
    n1, sum1, squares1, n0, sum0, squares0 = burnt
    if min(n1, n0) < BURN_IN:
        return replace(mean, burnt=burnt)
    variance = (_variance(n1, sum1, squares1) + _variance(n0, sum0, squares0)) / 2
    return replace(mean, burnt=burnt, rho=best_rho(alpha, variance) if variance > 0 else 0.0)


def _variance(number: float, total: float, squares: float) -> float:
    return max(squares - total * total / number, 0.0) / (number - 1)


def _log_phi(x: float) -> float:
    """ln Phi(x); far below 0 by its asymptotic series, where Phi itself is 0 as a float."""
    if x > -30:
        return math.log(NormalDist().cdf(x)) if x > -5 else math.log(math.erfc(-x / math.sqrt(2)) / 2)
    return -x * x / 2 - math.log(-x) - math.log(2 * math.pi) / 2 - 1 / (x * x)
