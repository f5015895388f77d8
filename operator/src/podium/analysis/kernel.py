"""One metric's questions, each with its null, its grid and its form: what an interval adds to its evidence."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from podium.analysis import odds, ratio, tolerance
from podium.analysis.counts import Counts
from podium.analysis.grids import POINTS, Grid, above, below
from podium.analysis.plan import Metric, Role

NOTHING: Grid = (0.0,) * POINTS


@dataclass(frozen=True)
class Question:
    """A null hypothesis and its alternatives, in both forms, and beside the rate that nobody minds."""

    null: float
    """th0, a ratio of rates."""
    grid: Grid
    null_odds: float
    """psi0: the same as odds ratio at the champion's frozen rate. 1 where the form is never odds."""
    odds_grid: Grid
    tolerate: float
    """q; 0 where the question has none."""
    rates: Grid

    def by_ratio(self, counts: Counts, by_odds: bool) -> Grid:
        """What an interval adds at each alternative, comparing both arms."""
        if by_odds:
            return tuple(odds.increments(counts, self.null_odds, self.odds_grid))
        return tuple(ratio.increments(counts, self.null, self.grid))

    def by_rate(self, counts: Counts) -> Grid:
        """What it adds at each alternative to the rate that nobody minds, looking at the candidate alone."""
        if not self.tolerate:
            return NOTHING
        return tuple(tolerance.increments(counts.candidate_units, counts.candidate_events, self.tolerate, self.rates))


class Questions(NamedTuple):
    """What is asked of each metric."""

    harm: Question
    """H0: no worse than harmRatio times the champion, or no worse than what nobody minds."""
    better: Question
    """Guardrails, H0: worse than maxRatio times the champion and than what nobody minds. Goals, H0: no better."""


@lru_cache(maxsize=4096)
def questions(metric: Metric) -> Questions:
    """Both questions of a metric. Goals must be better than the champion: a tolerated rate does not make them so."""
    goal = metric.role is Role.GOAL
    null, tau = (1.0 if goal else metric.max_ratio), metric.type.tau_better
    q = 0.0 if goal else metric.tolerate
    better_odds, harm_odds = _odds(null, metric), _odds(metric.harm_ratio, metric)
    return Questions(
        harm=Question(
            null=metric.harm_ratio,
            grid=above(metric.harm_ratio, metric.type.tau_harm),
            null_odds=harm_odds,
            odds_grid=above(harm_odds, metric.type.tau_harm),
            tolerate=metric.tolerate,
            rates=tolerance.worse(metric.tolerate) if metric.tolerate else NOTHING,
        ),
        better=Question(
            null=null,
            grid=below(null, tau),
            null_odds=better_odds,
            odds_grid=below(better_odds, tau),
            tolerate=q,
            rates=tolerance.better(q) if q else NOTHING,
        ),
    )


def _odds(null: float, metric: Metric) -> float:
    return odds.null_odds(null, metric.base) if metric.odds and metric.base is not None else 1.0
