"""What is frozen as evidence begins: the champion's edges and base rates, from what it was seen to answer. Pure."""

from collections.abc import Iterable

from podium.analysis import edges, restarts
from podium.analysis import plan as plans
from podium.analysis.counts import NO_COUNTS
from podium.analysis.metrics import Kind
from podium.analysis.metrics import counts as counts_of
from podium.analysis.plan import FEWEST_UNITS, Metric, Plan, Role
from podium.metrics import counts
from podium.metrics.counts import ANSWERED, FINISHED, Levels
from podium.metrics.rounds import Answer
from podium.rollout.measuring import Task
from podium.rollout.wish import Wish

QUANTILE = 0.95
"""Of the champion's latency, where no threshold is given."""


def totals(revision: str, samples: Iterable[Answer]) -> Levels:
    """Counts of a revision by all pods that report it, since each began to count."""
    levels = [found for sample in samples for found in sample.series(revision).values()]
    return counts.total(levels) if levels else {}


def plan(task: Task, figures: Levels, before: Levels, now: float) -> Plan:
    """The plan of an analysis that begins now.

    `figures`: what the champion's counters grew by since the rollout began; `before`: what they stand at, which is
    taken where these are too few, and for what a Prometheus or labels tell. Raises MaxRatioUnreachable, and ValueError
    for a wish that contradicts itself.
    """
    enough = figures if figures.get(FINISHED, 0) >= FEWEST_UNITS else before
    metrics = tuple(_metric(wish, before if wish.queried or wish.labelled else enough) for wish in task.asked.wishes)
    return Plan(
        started_at=now,
        metrics=metrics,
        starts=restarts.starts(task.weights, task.longest, len(metrics)),
        alpha=round(1 - task.asked.confidence, 9),
        approximate=task.asked.watched,
    )


def _metric(wish: Wish, figures: Levels) -> Metric:
    edge: float | None = None
    counted = {name: (count, 0.0) for name, count in figures.items()}
    if wish.kind is Kind.LATENCY:
        edge = _edge(wish, figures)
        if edge is not None and ANSWERED in figures:
            counted[f"above:{wish.name}"] = (counts.slower(figures, edge), 0.0)
    units, events = (counts_of(wish.kind, wish.name, counted) or NO_COUNTS)[2:]
    return plans.metric(
        wish.name,
        wish.kind,
        max_ratio=wish.max_ratio,
        harm_ratio=wish.harm_ratio,
        tolerate=wish.tolerate,
        edge=edge,
        # Better is what labels are asked for; as a guardrail they may be once a spec can say so.
        role=Role.GOAL if wish.labelled else Role.GUARDRAIL,
        champion=(units, events),
    )


def _edge(wish: Wish, figures: Levels) -> float | None:
    """The edge next above the threshold, or the champion's p95; None where too few answers tell that."""
    if wish.threshold is not None:
        return edges.next_edge(wish.threshold)
    answered = figures.get(ANSWERED, 0)
    return edges.frozen_edge(counts.above(figures), answered, QUANTILE) if answered >= FEWEST_UNITS else None
