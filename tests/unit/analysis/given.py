"""What the tests of the analysis begin from: plans, intervals, and ledgers of many of them."""

from collections.abc import Iterable
from typing import Any

from podium.analysis.intervals import Interval
from podium.analysis.metrics import Kind
from podium.analysis.plan import Metric, Plan, metric
from podium.analysis.state import State, begun, fold

BEGAN = 1_700_000_000.0
ERRORS = metric("errors", Kind.ERROR_RATE, champion=(10_000, 10))
BY_RATIO = metric("errors", Kind.ERROR_RATE, tolerate=0, champion=(10_000, 100))
LATENCY = metric("slow", Kind.LATENCY, edge=0.25, champion=(10_000, 500))


def plan(*metrics: Metric, **more: Any) -> Plan:
    return Plan(started_at=BEGAN, metrics=metrics or (ERRORS,), **more)


def interval(
    after: float = 0.0,
    champion: tuple[float, float] = (150, 0),
    candidate: tuple[float, float] = (50, 0),
    *,
    lasts: float = 2.0,
    weight: int = 2500,
    step: int = 0,
    counted: dict[str, tuple[float, float]] | None = None,
    **more: Any,
) -> Interval:
    """One that begins so many seconds after the start; each arm's (requests, errors)."""
    both = {"finished": (champion[0], candidate[0]), "5xx": (champion[1], candidate[1])} if counted is None else counted
    return Interval(BEGAN + after, BEGAN + after + lasts, weight, step, both, **more)


def folded(of: Plan, intervals: Iterable[Interval]) -> State:
    state = begun(of)
    for one in intervals:
        state = fold(of, state, one)
    return state
