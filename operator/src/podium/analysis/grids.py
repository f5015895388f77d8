"""Grids of alternatives over which evidence is averaged: quantiles of a normal distribution of the log ratio."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import NormalDist

Grid = tuple[float, ...]
"""One alternative each: a ratio, odds ratio or rate. All grids of one metric have equal length."""

POINTS = 40


@lru_cache(maxsize=256)
def half_normal(points: int = POINTS) -> Grid:
    """z_j = Phi^-1(1/2 + (j + 1/2) / (2 points)), j = 0 .. points - 1: positive, ascending."""
    return tuple(NormalDist().inv_cdf(0.5 + (j + 0.5) / (2 * points)) for j in range(points))


@lru_cache(maxsize=256)
def normal(points: int = POINTS) -> Grid:
    """z_j = Phi^-1((j + 1/2) / points), j = 0 .. points - 1: ascending, symmetric around 0."""
    return tuple(NormalDist().inv_cdf((j + 0.5) / points) for j in range(points))


@lru_cache(maxsize=256)
def above(null: float, tau: float) -> Grid:
    """Alternatives worse than `null`: null exp(tau z_j). Ascending."""
    return tuple(null * math.exp(tau * z) for z in half_normal())


@lru_cache(maxsize=256)
def below(null: float, tau: float) -> Grid:
    """Alternatives better than `null`: null exp(-tau z_j). Descending: the j-th is as far away as in `above`."""
    return tuple(null * math.exp(-tau * z) for z in half_normal())


@lru_cache(maxsize=256)
def around(null: float, tau: float) -> Grid:
    """Alternatives on both sides of `null`: null exp(tau z_j). Ascending."""
    return tuple(null * math.exp(tau * z) for z in normal())


def log_sum_exp(logs: Iterable[float]) -> float:
    """ln sum exp(x), without overflow; minus infinity for none."""
    values = list(logs)
    most = max(values, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def log_mean_exp(logs: Sequence[float]) -> float:
    """ln of the mean of exp(x): the log of evidence that is averaged over a grid."""
    return log_sum_exp(logs) - math.log(len(logs))


def log_weighted(weights: Sequence[float], logs: Sequence[float]) -> float:
    """ln sum w exp(x), for positive weights."""
    return log_sum_exp(math.log(weight) + value for weight, value in zip(weights, logs, strict=True))
