"""When a decision can be expected, at the present traffic, if the candidate is as good as the champion.

Each guardrail's evidence is carried on from where it stands, with events at the champion's rate in both arms (at the
frozen rate before anything was counted). The slowest guardrail decides. This is the path without chance. Chance delays
where there are events, so that path is stretched by what simulations of whole rollouts with the default guardrails
found (tests/bench/bench_analysis.py prints both).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from podium.analysis.counts import Counts
from podium.analysis.evidence import Evidence, log_better, restarted
from podium.analysis.grids import Grid
from podium.analysis.kernel import questions
from podium.analysis.mean import Mean
from podium.analysis.metrics import STARTED, Kind
from podium.analysis.plan import FEWEST_UNITS, Metric, Plan, Role
from podium.analysis.state import State

STRETCH = 1.15
"""Mean of the simulated rollouts over the path without chance, where events are to be expected on it."""
MOST_UNITS = 10**9
"""Beyond it there is no decision to expect."""
_PRECISION = 1.02
_BATCH = 1000.0
"""Units at a time; evidence grows in proportion while allocation and rates stay (the odds form: nearly)."""


@dataclass(frozen=True)
class Traffic:
    """Requests a second of each arm."""

    champion: float
    candidate: float
    alike: bool = True
    """Whether each pod of the candidate is asked enough to be compared with the champion's: `Interval.alike`."""


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
        found = restarted(found, metric, 0)
    needed = math.log(plan.needed)
    if log_better(found, metric) >= needed:
        return 0.0
    if metric.type.by_pod and not traffic.alike:
        return math.inf  # it does not count for promotion at this weight, with so many pods
    rate, beside = _rate(found, metric), traffic.champion / traffic.candidate
    batch = Counts(_BATCH, _BATCH * rate, _BATCH * beside, _BATCH * beside * rate)
    better = questions(metric).better
    by_ratio, by_rate = better.by_ratio(batch, found.by_odds), better.by_rate(batch)
    units = _least(lambda n: log_better(_after(found, n / _BATCH, by_ratio, by_rate), metric) >= needed)
    units = units * STRETCH if units * rate >= 1 else units
    return units * _requests_per_unit(metric, state)


def _requests_per_unit(metric: Metric, state: State) -> float:
    """How many requests of the candidate one unit of it takes: what a Prometheus counts may be fewer, or more."""
    if metric.kind is not Kind.PROMETHEUS:
        return 1.0
    requests = state.counted.get(STARTED, (0, 0))[1]
    units = state.counted.get(f"total:{metric.name}", (0, 0))[1]
    return requests / units if requests and units else 1.0


def _after(evidence: Evidence, batches: float, by_ratio: Grid, by_rate: Grid) -> Evidence:
    before = evidence.cumulative
    cumulative = replace(
        before,
        better_ratio=tuple(a + batches * b for a, b in zip(before.better_ratio, by_ratio, strict=True)),
        better_rate=tuple(a + batches * b for a, b in zip(before.better_rate, by_rate, strict=True)),
    )
    return replace(evidence, cumulative=cumulative)


def _rate(evidence: Evidence, metric: Metric) -> float:
    """The champion's rate as far as it is known."""
    _, _, n0, s0 = evidence.totals
    base = metric.base or 0.0
    return (s0 + base * FEWEST_UNITS) / (n0 + FEWEST_UNITS)  # a frozen figure counts as much as is needed to freeze one


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
