"""The evidence on one metric of events: what is kept, how an interval adds to it, and what it says now.

    non-inferiority  H0 p1 >= max(maxRatio p0, q):  E = (E_ratio + E_rate)/2; without q: E_ratio
    superiority      H0 p1 >= p0:                   E_ratio
    harm             H0 in every block p1 <= harmRatio p0 throughout or p1 <= q throughout:
                     log L_j = sum over blocks of min(log L_ratio,j, log L_rate,j);  E = mean_j exp(log L_j)

The mean of two e-processes is one. In a block one of the two is a supermartingale, and the minimum is not above it; a
minimum over the whole run would let a shared incident spend one half, and tolerable noise the other.

What an interval adds to E_ratio of non-inferiority and superiority, if it speaks for them, is multiplied by
(most / d)^2 where its d events are more than `most`, twice the usual: while both arms suffer from something else they
are alike, and that says little of how they are otherwise. `most` is known before the interval, and given d the mean of
exp(increment) is at most 1 (by odds exactly; by ratio a test computes the whole mean); by Jensen's inequality so is
that of a power of it below 1, and what speaks against them is not lessened.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from podium.analysis import curve, odds
from podium.analysis.counts import NO_COUNTS, Counts
from podium.analysis.grids import Grid, log_mean_exp, log_weighted
from podium.analysis.kernel import NOTHING, Question, questions
from podium.analysis.plan import FEWEST_UNITS, Metric
from podium.analysis.restarts import weights

UNUSUAL: Final = 2.0
"""Times the usual events from which on an interval counts the less, the more there are."""
CHANCE: Final = 3.0
"""Standard deviations (Poisson) that chance hardly ever exceeds."""
KNOWN_UNITS: Final = 10_000
"""For so many units the champion's frozen rate counts in what is usual."""


@dataclass(frozen=True)
class Cumulative:
    """Log evidence at each grid point since the first interval."""

    harm: Grid = NOTHING
    """Of the blocks that are over."""
    better_ratio: Grid = NOTHING
    better_rate: Grid = NOTHING


NOTHING_YET = Cumulative()


@dataclass(frozen=True)
class Evidence:
    """The state of one metric of events."""

    cumulative: Cumulative = NOTHING_YET
    block_ratio: Grid = NOTHING
    """Harm in the block that is not over, by the ratio ..."""
    block_rate: Grid = NOTHING
    """... and by the candidate's rate alone."""
    starts: tuple[Cumulative | None, ...] = ()
    """The cumulative evidence at each start; None before it."""
    table: tuple[float, ...] = curve.empty()
    """For the ratio and its interval."""
    totals: Counts = NO_COUNTS
    """What was weighed."""
    usual: float = 0.0
    """Its events; of an interval with more than are usual at most, these."""
    by_odds: bool = False


def begun(metric: Metric, starts: int) -> Evidence:
    """The evidence before anything was counted: 1 for each question."""
    return Evidence(starts=(None,) * starts, by_odds=metric.odds)


def added(evidence: Evidence, metric: Metric, counts: Counts, promotes: bool) -> Evidence:
    """The evidence after one interval. `promotes`: whether it counts for promotion, too, or for harm alone."""
    harm, better = questions(metric)
    cumulative, most = evidence.cumulative, usual_at_most(evidence, metric, counts)
    if promotes:
        by_ratio = lessened(better.by_ratio(counts, evidence.by_odds), counts, most)
        cumulative = replace(
            cumulative,
            better_ratio=_sum(cumulative.better_ratio, by_ratio),
            better_rate=_sum(cumulative.better_rate, better.by_rate(counts)),
        )
    totals = evidence.totals + counts
    return replace(
        evidence,
        cumulative=cumulative,
        block_ratio=_sum(evidence.block_ratio, harm.by_ratio(counts, evidence.by_odds)),
        block_rate=_sum(evidence.block_rate, harm.by_rate(counts)),
        table=curve.added(evidence.table, counts),
        totals=totals,
        usual=evidence.usual + min(counts.events, most),
        # Decided by what was counted, so from the next interval on: the choice must not know what it chooses for.
        by_odds=evidence.by_odds and counts.events <= odds.MOST_EVENTS and not _seldom(totals),
    )


def _seldom(totals: Counts) -> bool:
    """Whether the champion's rate turns out to be one by which evidence is on the ratio.

    The null odds ratio is that of maxRatio at the frozen rate; at a much lower rate the same odds are a larger ratio.
    """
    return totals.champion_units >= FEWEST_UNITS and totals.champion_events < odds.FROM_RATE * totals.champion_units


def usual_at_most(evidence: Evidence, metric: Metric, counts: Counts) -> float:
    """Events of both arms that are usual at most among so many units, by what was known before; infinite if too little.

    Twice as many as there should be, and what chance hardly ever exceeds where they are few.
    """
    known = KNOWN_UNITS if metric.base is not None else 0
    units = evidence.totals.units + known
    if units < FEWEST_UNITS:
        return math.inf
    rate = (evidence.usual + known * (metric.base or 0.0)) / units
    mean = max(1.0, rate * counts.units)
    return max(UNUSUAL * mean, mean + CHANCE * math.sqrt(mean) + 1)


def lessened(increments: Sequence[float], counts: Counts, most: float) -> Grid:
    """What is left of an interval's increments for promotion where `most` events are usual at most.

    What speaks against promotion counts in full: a candidate may fail by itself in an unusual interval.
    """
    share = min(1.0, most / counts.events) ** 2 if counts.events else 1.0
    return tuple(min(each, share * each) for each in increments)


def block_ended(evidence: Evidence, metric: Metric) -> Evidence:
    """The same with the block that was open counted among those that are over."""
    cumulative = replace(evidence.cumulative, harm=_harm(evidence, metric))
    return replace(evidence, cumulative=cumulative, block_ratio=NOTHING, block_rate=NOTHING)


def restarted(evidence: Evidence, metric: Metric, start: int) -> Evidence:
    """The same with the evidence of that start begun: blocks end with it."""
    ended = block_ended(evidence, metric)
    starts = tuple(ended.cumulative if place == start else at for place, at in enumerate(ended.starts))
    return replace(ended, starts=starts)


def log_harm(evidence: Evidence, metric: Metric) -> float:
    """Log evidence that the candidate is worse."""
    now = _harm(evidence, metric)
    return _over_starts(evidence, [log_mean_exp(_difference(now, at.harm)) if at else 0.0 for at in evidence.starts])


def log_better(evidence: Evidence, metric: Metric) -> float:
    """Log evidence for promotion: that a guardrail is no worse than allowed, or that a goal is better."""
    return _over_starts(evidence, [_better(evidence, questions(metric).better, at) for at in evidence.starts])


def _better(evidence: Evidence, question: Question, at: Cumulative | None) -> float:
    if at is None:
        return 0.0
    by_ratio = log_mean_exp(_difference(evidence.cumulative.better_ratio, at.better_ratio))
    if not question.tolerate:
        return by_ratio
    by_rate = log_mean_exp(_difference(evidence.cumulative.better_rate, at.better_rate))
    return log_mean_exp((by_ratio, by_rate))


def _harm(evidence: Evidence, metric: Metric) -> Grid:
    """Log evidence of harm at each grid point, the open block included."""
    block = evidence.block_ratio
    if metric.tolerate:
        block = tuple(map(min, block, evidence.block_rate))
    return _sum(evidence.cumulative.harm, block)


def _over_starts(evidence: Evidence, logs: Sequence[float]) -> float:
    return log_weighted(weights(len(evidence.starts)), logs)


def _sum(left: Sequence[float], right: Sequence[float]) -> Grid:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _difference(now: Sequence[float], before: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(now, before, strict=True)]
