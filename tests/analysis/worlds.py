"""The worlds that the promises are about. Rates are shares of requests; a look is two seconds."""

import math
from collections.abc import Mapping, Sequence

from podium.analysis.metrics import Kind
from podium.analysis.plan import Metric, metric
from podium.analysis.restarts import Start, starts
from tests.analysis.rollouts import (
    LOOK_SECONDS,
    Draw,
    Look,
    World,
    bursts,
    looks,
    moving,
    pods,
    ramp,
    rates,
)

BASES = (0.0, 0.0001, 0.001, 0.005, 0.01, 0.05, 0.2)
FROZEN = 100_000
"""Requests that the champion's figures are frozen by."""
ONE = (Start(step=0),)
RESTARTS = starts(3, 86_400, 4)
"""Those of the default steps; here the first three begin with the looks 0, 30 and 60."""
TIMED = (Start(step=0), Start(after=60.0), Start(after=120.0), *RESTARTS[3:])
"""The same by the clock, for worlds without a ramp."""


def errors(base: float = 0.001, **more: float) -> Metric:
    """ErrorRate with a champion whose rate is known."""
    return metric("errors", Kind.ERROR_RATE, champion=(FROZEN, base * FROZEN), **more)


def latency(share: float = 0.05, **more: float) -> Metric:
    """Latency with an edge that this share of the champion's answers is above."""
    return metric("latency", Kind.LATENCY, edge=0.1, champion=(FROZEN, share * FROZEN), **more)


def guardrails(errors_base: float, rejections: float, abandoned: float, slow: float) -> tuple[Metric, ...]:
    """The four defaults."""
    return (
        errors(errors_base),
        metric("rejections", Kind.REJECTIONS, champion=(FROZEN, rejections * FROZEN)),
        metric("abandoned", Kind.ABANDONED, champion=(FROZEN, abandoned * FROZEN)),
        latency(slow),
    )


def four(candidate: Sequence[float], champion: Sequence[float]) -> Mapping[str, Draw]:
    """Rates of errors, rejections, abandoned and slow answers."""
    names = ("errors", "rejections", "abandoned", "latency")
    return {name: rates(p1, p0) for name, p1, p0 in zip(names, candidate, champion, strict=True)}


def constant(champion: float, candidate: float, *, count: int = 400, n1: int = 50, n0: int = 150) -> World:
    """One metric at two constant rates."""
    return World(looks(count, n1, n0), {"errors": rates(candidate, champion)})


def incident(
    base: float,
    seconds: float,
    high: float | None = None,
    begins: float = 100.0,
    candidate: float | None = None,
) -> World:
    """For so long both arms fail at the higher rate; else the candidate at its own, if it has one.

    Higher: 5 %, or three times the base rate where that is more.
    """
    high = max(0.05, 3 * base) if high is None else high

    def at(look: Look) -> tuple[float, float]:
        if begins <= look.after < begins + seconds:
            return high, high
        return base if candidate is None else candidate, base

    return World(looks(400, 50, 150), {"errors": moving(at)})


def ramping(base: float, count: int = 300) -> World:
    """5, 25, 50 % of 200 requests, while the base rate rises fourfold with the weight and sinks again."""

    def at(look: Look) -> tuple[float, float]:
        rate = min(base * (2.5 - 1.5 * math.cos(2 * math.pi * look.after / (100 * LOOK_SECONDS))), 0.9)
        return rate, rate

    return World(ramp(200, (5, 25, 50), 30, count), {"errors": moving(at)})


def bursting(base: float) -> World:
    """One interval in twenty has ten times as many errors in both arms, of 20 % at the most beyond the base."""
    return World(looks(400, 50, 150), {"errors": bursts(base, 0.05, min(max(10 * base, 0.01), base + 0.2))})


def uneven(candidate: int, champion: int, runs: int, seed: int) -> World:
    """Pods of one model whose shares of slow answers differ (lognormal, sigma .2); as many requests to each pod."""
    each = 50
    return World(
        looks(400, each * candidate, each * champion), {"latency": pods(0.05, 0.2, candidate, champion, runs, seed)}
    )
