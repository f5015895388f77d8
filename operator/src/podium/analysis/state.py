"""The state of an analysis, and what an interval makes of it: `fold` is the whole of how evidence grows.

A pure function of plan, state and interval, so a ledger can be replayed by anybody, at any time, to the same end.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from podium.analysis import evidence as events
from podium.analysis import mean as means
from podium.analysis import metrics, split
from podium.analysis.evidence import Evidence
from podium.analysis.grids import Grid
from podium.analysis.intervals import WHOLE, Interval
from podium.analysis.kernel import NOTHING
from podium.analysis.mean import Mean
from podium.analysis.metrics import STARTED, Counted
from podium.analysis.plan import BLOCK_SECONDS, Metric, Plan


class Block(NamedTuple):
    """Within which an interval falls: an interval belongs to the block that it begins in."""

    number: int
    """Counted by the clock from the start."""
    weight: int
    step: int


@dataclass(frozen=True)
class State:
    """All evidence of an analysis, and the totals."""

    metrics: Mapping[str, Evidence | Mean]
    """By the metric's name."""
    block: Block | None = None
    until: float = 0.0
    """When the last interval ended, in seconds since 1970."""
    split: Grid = NOTHING
    """Log evidence of another sample ratio than asked for, at each alternative."""
    alarmed: bool = False
    """Whether that was ever enough: a person ends it."""
    alarmed_at: float | None = None
    """When the interval ended that was enough, seconds since 1970; None without an alarm, or if not known."""
    counted: Counted = field(default_factory=dict)
    """Totals by counter: the champion's and the candidate's. What callers saw, all of it."""
    weighed: Counted = field(default_factory=dict)
    """The same without intervals that straddle a weight change. (Young pods' latency is left out by its metric.)"""
    seconds: float = 0.0
    """How long the weighed intervals lasted together."""
    intervals: int = 0
    dropped: int = 0
    """How many of them were counted in the totals alone."""


def begun(plan: Plan) -> State:
    """The state before the first interval."""
    starts = len(plan.starts)
    return State(
        {
            metric.name: Mean(starts=(None,) * starts) if metric.type.mean else events.begun(metric, starts)
            for metric in plan.metrics
        }
    )


def fold(plan: Plan, state: State, interval: Interval) -> State:
    """The state after one more interval."""
    state = replace(
        state,
        counted=_total(state.counted, interval.counted),
        until=interval.end,
        intervals=state.intervals + 1,
    )
    if interval.resumed:
        state = replace(state, split=NOTHING, alarmed=False, alarmed_at=None)
    if interval.straddles:
        return replace(state, dropped=state.dropped + 1)
    found = {metric.name: _of_metric(plan, metric, state, interval) for metric in plan.metrics}
    weighed = _total(state.weighed, interval.counted)
    lasted = state.seconds + interval.end - interval.start
    return _split(
        plan, replace(state, metrics=found, block=_block(plan, interval), weighed=weighed, seconds=lasted), interval
    )


def log_harm(state: State, metric: Metric) -> float:
    """Log evidence that the candidate is worse in this metric."""
    found = state.metrics[metric.name]
    return means.log_harm(found) if isinstance(found, Mean) else events.log_harm(found, metric)


def log_better(state: State, metric: Metric) -> float:
    """Log evidence for promotion by this metric."""
    found = state.metrics[metric.name]
    return means.log_better(found, metric.margin) if isinstance(found, Mean) else events.log_better(found, metric)


def _block(plan: Plan, interval: Interval) -> Block:
    number = math.floor((interval.start - plan.started_at) / BLOCK_SECONDS)
    return Block(number, interval.weight, interval.step)


def _of_metric(plan: Plan, metric: Metric, state: State, interval: Interval) -> Evidence | Mean:
    """What the interval makes of one metric: blocks end and starts begin before it is counted."""
    found = state.metrics[metric.name]
    if isinstance(found, Mean):
        for start in _due(plan, found.starts, interval):
            found = means.restarted(found, start)
        moments = metrics.moments(metric.kind, metric.name, interval.counted)
        return found if moments is None else means.added(found, moments, plan.alpha)
    if state.block is not None and state.block != _block(plan, interval):
        found = events.block_ended(found, metric)
    for start in _due(plan, found.starts, interval):
        found = events.restarted(found, metric, start)
    counts = metrics.counts(metric.kind, metric.name, interval.counted)
    if counts is None or (metric.type.by_pod and interval.warming):
        return found
    return events.added(found, metric, counts, promotes=interval.alike or not metric.type.by_pod)


def _due(plan: Plan, taken: tuple[object | None, ...], interval: Interval) -> list[int]:
    """The starts that begin with this interval."""
    elapsed = interval.start - plan.started_at
    return [
        place
        for place, (start, at) in enumerate(zip(plan.starts, taken, strict=True))
        if at is None and start.due(interval.step, elapsed)
    ]


def _split(plan: Plan, state: State, interval: Interval) -> State:
    pair, share = interval.counted.get(STARTED), interval.weight / WHOLE
    if pair is None or plan.approximate or not 0 < share < 1:
        return state
    champion, candidate = pair
    grown = tuple(a + b for a, b in zip(state.split, split.increments(candidate, champion, share), strict=True))
    if state.alarmed or not split.alarmed(grown):
        return replace(state, split=grown)
    return replace(state, split=grown, alarmed=True, alarmed_at=interval.end)


def _total(totals: Counted, counted: Counted) -> Counted:
    found = dict(totals)
    for name, (champion, candidate) in counted.items():
        before = found.get(name, (0, 0))
        found[name] = (before[0] + champion, before[1] + candidate)
    return found
