"""What status says of each metric: what was counted, how both compare, and how strong the evidence is."""

from dataclasses import dataclass

from podium.analysis import curve, mean
from podium.analysis.counts import NO_COUNTS, Counts
from podium.analysis.decision import Decision
from podium.analysis.mean import Mean
from podium.analysis.metrics import Counted, counts
from podium.analysis.plan import Metric, Plan
from podium.analysis.state import State


@dataclass(frozen=True)
class Report:
    """One metric."""

    name: str
    counted: Counts
    """All that callers saw."""
    weighed: Counts
    """What evidence is made of: without intervals that straddle a weight change, and young pods' latency."""
    ratio: float | None
    """The candidate's rate over the champion's, or the difference of means; None where nothing tells."""
    interval: tuple[float, float]
    """Which the true one is within, at all times at once, with the plan's confidence."""
    harm: float | None
    """Log evidence that the candidate is worse; None for a metric that is shown and not weighed."""
    better: float | None
    """Log evidence for promotion."""


def reports(plan: Plan, state: State, decision: Decision) -> tuple[Report, ...]:
    """One for each metric of the plan, in its order."""
    strengths = {strength.name: strength for strength in decision.metrics}
    found = []
    for metric in plan.metrics:
        strength = strengths.get(metric.name)
        weighed, ratio, interval = _compared(plan, metric, state)
        found.append(
            Report(
                name=metric.name,
                counted=_of(metric, state.counted),
                weighed=weighed,
                ratio=ratio,
                interval=interval,
                harm=strength.harm if strength else None,
                better=strength.better if strength else None,
            )
        )
    return tuple(found)


def _compared(plan: Plan, metric: Metric, state: State) -> tuple[Counts, float | None, tuple[float, float]]:
    found = state.metrics[metric.name]
    if isinstance(found, Mean):
        ratio = found.sums.s / found.sums.h if found.sums.h else None
        return _of(metric, state.weighed), ratio, mean.interval(found, plan.alpha)
    ratio = curve.estimate(found.table, found.totals)
    return found.totals, ratio, curve.interval(found.table, found.totals, plan.alpha)


def _of(metric: Metric, totals: Counted) -> Counts:
    """Units and events in totals; means have no events."""
    if metric.type.mean:
        champion, candidate = totals.get(f"values:{metric.name}", (0, 0))
        return Counts(candidate, 0, champion, 0)
    return counts(metric.kind, metric.name, totals) or NO_COUNTS
