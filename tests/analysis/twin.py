"""The kernel in arrays, one row a rollout, for simulations of thousands. A test holds it equal to podium.analysis.

Only what is vectorised is written twice; grids, nulls and weights are the kernel's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

from podium.analysis import odds
from podium.analysis.counts import Counts
from podium.analysis.evidence import CHANCE, KNOWN_UNITS, UNUSUAL
from podium.analysis.grids import POINTS, Grid
from podium.analysis.kernel import Question, questions
from podium.analysis.plan import FEWEST_UNITS, Metric
from podium.analysis.restarts import weights

Rows = npt.NDArray[np.float64]
"""One number a rollout, or one row of grid points."""


def log_mean_exp(values: Rows) -> Rows:
    """Over the last axis."""
    most: Rows = values.max(axis=-1)
    return most + np.log(np.exp(values - most[..., None]).mean(axis=-1))


def log_weighted(shares: Iterable[float], columns: list[Rows]) -> Rows:
    """ln sum w exp(x), row by row."""
    found: Rows = np.logaddexp.reduce([np.log(share) + column for share, column in zip(shares, columns, strict=True)])
    return found


@dataclass
class Twin:
    """One metric's evidence in many rollouts at once; all of them are in the same interval."""

    metric: Metric
    starts: int
    runs: int
    harm: Rows = field(init=False)
    block_ratio: Rows = field(init=False)
    block_rate: Rows = field(init=False)
    better_ratio: Rows = field(init=False)
    better_rate: Rows = field(init=False)
    by_odds: npt.NDArray[np.bool_] = field(init=False)
    champion_events: Rows = field(init=False)
    champion_units: float = field(init=False, default=0.0)
    usual: Rows = field(init=False)
    units: float = field(init=False, default=0.0)
    begun: dict[int, tuple[Rows, Rows, Rows]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("harm", "block_ratio", "block_rate", "better_ratio", "better_rate"):
            setattr(self, name, np.zeros((self.runs, POINTS)))
        self.usual = np.zeros(self.runs)
        self.champion_events = np.zeros(self.runs)
        self.by_odds = np.full(self.runs, self.metric.odds)

    def add(self, n1: Rows, s1: Rows, n0: Rows, s0: Rows) -> None:
        """One interval. Numbers of units may be one for all."""
        harm, better = questions(self.metric)
        self.block_ratio += self._by_ratio(harm, n1, s1, n0, s0)
        known = KNOWN_UNITS if self.metric.base is not None else 0
        rate = (self.usual + known * (self.metric.base or 0)) / max(self.units + known, 1)
        events, mean = s1 + s0, np.maximum(1, rate * (n1 + n0))
        most = np.maximum(UNUSUAL * mean, mean + CHANCE * np.sqrt(mean) + 1)
        if self.units + known < FEWEST_UNITS:
            most = np.full_like(events, np.inf)
        share = np.minimum(1, most / np.maximum(events, 1)) ** 2
        by_ratio = self._by_ratio(better, n1, s1, n0, s0)
        self.better_ratio += np.minimum(by_ratio, share[:, None] * by_ratio)
        self.usual = self.usual + np.minimum(events, most)
        self.units += float(n1 + n0)
        self.champion_units += float(n0)
        self.champion_events = self.champion_events + s0
        if self.champion_units >= FEWEST_UNITS:
            self.by_odds = self.by_odds & (self.champion_events >= odds.FROM_RATE * self.champion_units)
        if harm.tolerate:
            self.block_rate += _by_rate(harm, n1, s1)
        if better.tolerate:
            self.better_rate += _by_rate(better, n1, s1)

    def end_block(self) -> None:
        """Harm so far is settled."""
        self.harm = self._harm()
        self.block_ratio = np.zeros_like(self.harm)
        self.block_rate = np.zeros_like(self.harm)

    def restart(self, start: int) -> None:
        """Evidence of that start begins."""
        self.end_block()
        self.begun[start] = (self.harm.copy(), self.better_ratio.copy(), self.better_rate.copy())

    def log_harm(self) -> Rows:
        """Log evidence of harm, a rollout each."""
        now = self._harm()
        return self._over_starts({start: log_mean_exp(now - at[0]) for start, at in self.begun.items()})

    def log_better(self) -> Rows:
        """Log evidence for promotion, a rollout each."""
        return self._over_starts({start: self._better(*at[1:]) for start, at in self.begun.items()})

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Only those rollouts go on."""
        for name in ("harm", "block_ratio", "block_rate", "better_ratio", "better_rate"):
            setattr(self, name, getattr(self, name)[which])
        self.usual = self.usual[which]
        self.champion_events = self.champion_events[which]
        self.by_odds = self.by_odds[which]
        self.begun = {
            start: (harm[which], ratio[which], rate[which]) for start, (harm, ratio, rate) in self.begun.items()
        }

    def _harm(self) -> Rows:
        block = np.minimum(self.block_ratio, self.block_rate) if self.metric.tolerate else self.block_ratio
        return self.harm + block

    def _better(self, ratio_before: Rows, rate_before: Rows) -> Rows:
        by_ratio = log_mean_exp(self.better_ratio - ratio_before)
        if not questions(self.metric).better.tolerate:
            return by_ratio
        by_rate = log_mean_exp(self.better_rate - rate_before)
        found: Rows = np.logaddexp(by_ratio, by_rate) - np.log(2)
        return found

    def _over_starts(self, begun: dict[int, Rows]) -> Rows:
        nothing = np.zeros(len(self.harm))
        return log_weighted(weights(self.starts), [begun.get(start, nothing) for start in range(self.starts)])

    def _by_ratio(self, question: Question, n1: Rows, s1: Rows, n0: Rows, s0: Rows) -> Rows:
        th = np.array(question.grid)
        d = (s1 + s0)[:, None]
        share = np.asarray(n1) / (np.asarray(n0) + np.asarray(n1) * question.null)
        found: Rows = s1[:, None] * np.log(th / question.null) - d * np.log1p(share[..., None] * (th - question.null))
        if self.by_odds.any():
            found = np.where(self.by_odds[:, None], _by_odds(question, int(n1), s1, int(n0), s0), found)
        return found


def _by_rate(question: Question, n1: Rows, s1: Rows) -> Rows:
    p, q = np.array(question.rates), question.tolerate
    rest = (n1 - s1)[:, None]
    found: Rows = s1[:, None] * np.log(p / q) + rest * (np.log1p(-p) - np.log1p(-q))
    return found


def _by_odds(question: Question, n1: int, s1: Rows, n0: int, s0: Rows) -> Rows:
    """Units are the same number in all rollouts, so what is summed depends on d alone."""
    table = _normalised(question.null_odds, question.odds_grid, n1, n0)
    found: Rows = s1[:, None] * np.log(np.array(question.odds_grid) / question.null_odds) + table[(s1 + s0).astype(int)]
    return found


@cache
def _normalised(null: float, grid: Grid, n1: int, n0: int) -> Rows:
    """By d: ln Z(psi0) - ln Z(psi_j)."""
    rows = []
    for d in range(n1 + n0 + 1):
        s1 = max(0, d - n0)
        each = odds.increments(Counts(n1, s1, n0, d - s1), null, grid)
        rows.append(np.array(each) - s1 * np.log(np.array(grid) / null))
    return np.array(rows)
