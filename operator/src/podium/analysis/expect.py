"""When a decision can be expected, at the present traffic, if the candidate is as good as the champion.

Each guardrail's evidence is carried on from where it stands, an answer of the candidate at a time, with events at the
champion's rate in both arms (or at the frozen rate before anything was counted). The slowest guardrail decides. This
is the path without chance; chance delays, and joint figures are means over it, so it is stretched by what simulations
of whole rollouts found (tests/bench/bench_analysis.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from podium.analysis.counts import Counts
from podium.analysis.evidence import Evidence, log_better
from podium.analysis.evidence import added as evidence_added
from podium.analysis.evidence import restarted as evidence_restarted
from podium.analysis.mean import Mean
from podium.analysis.plan import Metric, Plan, Role
from podium.analysis.state import State

STRETCH = 1.0
"""Mean over the path without chance."""
MOST_UNITS = 10**9
"""Beyond it there is no decision to expect."""
_PRECISION = 1.02


@dataclass(frozen=True)
class Traffic:
    """Requests a second of each arm."""

    champion: float
    candidate: float


def units_to_promotion(plan: Plan, state: State, traffic: Traffic) -> float:
    """How many more units of the candidate a promotion by evidence takes; infinity where it cannot be expected."""
    if plan.approximate:
        return 0.0
    return max((_of_metric(plan, metric, state, traffic) for metric in plan.weighed), default=0.0)


def seconds_to_promotion(plan: Plan, state: State, traffic: Traffic) -> float:
    """The same in seconds, at the present traffic."""
    units = units_to_promotion(plan, state, traffic)
    if units == 0:
        return 0.0
    return units / traffic.candidate if traffic.candidate > 0 else math.inf


def _of_metric(plan: Plan, metric: Metric, state: State, traffic: Traffic) -> float:
    found = state.metrics[metric.name]
    if metric.role is Role.GOAL or isinstance(found, Mean) or not traffic.candidate > 0 or not traffic.champion > 0:
        return math.inf  # how much better a candidate is, nobody knows beforehand
    if not any(found.starts):
        found = evidence_restarted(found, metric, 0)
    needed = math.log(plan.needed)
    if log_better(found, metric) >= needed:
        return 0.0
    rate, beside = _rate(found, metric), traffic.champion / traffic.candidate
    units = _least(lambda n: log_better(_after(found, metric, n, rate, beside), metric) >= needed)
    return units * STRETCH


def _after(evidence: Evidence, metric: Metric, units: float, rate: float, beside: float) -> Evidence:
    counts = Counts(units, units * rate, units * beside, units * beside * rate)
    return evidence_added(evidence, metric, counts, promotes=True)


def _rate(evidence: Evidence, metric: Metric) -> float:
    """The champion's rate as far as it is known."""
    _, _, n0, s0 = evidence.totals
    base = metric.base or 0.0
    # A frozen figure counts as many units as are needed to freeze one.
    return (s0 + base * 1000) / (n0 + 1000)


def _least(enough: Callable[[float], bool]) -> float:
    """The least number of units that is enough, to 2 %, by doubling and bisection."""
    high = 1.0
    while not enough(high):
        high *= 2
        if high > MOST_UNITS:
            return math.inf
    low = high / 2
    while high > low * _PRECISION and high > 1:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
