"""The types of metrics, a row each: what is an event, of which units, and what a metric is asked if it does not say.

Counters are counted per arm at each interval; a metric adds some of them up. `{name}` in a counter's name is the
metric's own name, for what is counted for one metric alone. A new type is a row here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from podium.analysis.counts import Counts, Moments

Counted = Mapping[str, tuple[float, float]]
"""By counter: the champion's count and the candidate's, of one interval. One that is missing was not read."""

STARTED = "started"
"""Requests that reached a router: the units of the sample ratio."""


class Kind(StrEnum):
    """The type of a metric, as in the API."""

    ERROR_RATE = "ErrorRate"
    REJECTIONS = "Rejections"
    ABANDONED = "Abandoned"
    LATENCY = "Latency"
    ACCURACY = "Accuracy"
    PRECISION = "Precision"
    RECALL = "Recall"
    F1 = "F1"
    REWARD = "Reward"
    PROMETHEUS = "Prometheus"


@dataclass(frozen=True)
class Type:
    """What one type of metric is made of."""

    events: tuple[str, ...]
    """Counters whose sum is S."""
    units: tuple[str, ...]
    """Counters whose sum is n."""
    tolerate: float = 0.0
    """q by default: a candidate's rate that nobody minds, whatever the champion's."""
    max_ratio: float = 1.5
    """What must be ruled out before promotion, by default."""
    harm_ratio: float | None = 1.0
    """From where worse is harm, by default; None is maxRatio."""
    tau_harm: float = 0.8
    """How far from the null alternatives are looked for: the spread of the log ratio."""
    tau_better: float = 0.5
    by_pod: bool = False
    """Whether it tells of the single pod: left out while pods warm up, and for promotion where loads are unequal."""
    mean: bool = False
    """Whether it compares means: `events` are then the number, sum and sum of squares of values, more being better."""


TYPES: Mapping[Kind, Type] = {
    # finished: answered, reset or timed out by us. A request that its caller gave up is in `abandoned` alone.
    # 429 is an error where the model's server says it: it sheds load. gRPC: the statuses that mean the same.
    Kind.ERROR_RATE: Type(events=("5xx", "429", "reset", "timeout"), units=("finished",), tolerate=0.001),
    # 4xx: but 408, 429 and 499. A candidate that refuses what the champion takes is broken without one 5xx.
    Kind.REJECTIONS: Type(events=("4xx",), units=("finished",), tolerate=0.001),
    # Of requests that are over: a caller leaves long after the request began, in another interval
    # (docs/decisions/given-up-of-what-is-over.md).
    Kind.ABANDONED: Type(events=("abandoned",), units=("finished", "abandoned"), tolerate=0.01),
    # Pods differ: who allows a model to be slower by maxRatio does not call it harm.
    Kind.LATENCY: Type(
        events=("above:{name}",), units=("answered",), tolerate=0.01, harm_ratio=None, tau_harm=0.4, tau_better=0.4,
        by_pod=True,
    ),
    Kind.ACCURACY: Type(events=("wrong",), units=("labelled",)),
    Kind.PRECISION: Type(events=("fp",), units=("tp", "fp")),
    Kind.RECALL: Type(events=("fn",), units=("tp", "fn")),
    # 1 - F1 = x/(2 - x) with x = (FP + FN)/(TP + FP + FN): monotone, so a test on x is a test on F1.
    Kind.F1: Type(events=("fp", "fn"), units=("tp", "fp", "fn")),
    Kind.REWARD: Type(
        events=("values:{name}", "sum:{name}", "squares:{name}"), units=("values:{name}",), mean=True, max_ratio=1.0
    ),
    Kind.PROMETHEUS: Type(events=("events:{name}",), units=("total:{name}",)),
}  # fmt: skip

LABELLED: Final = frozenset({Kind.ACCURACY, Kind.PRECISION, Kind.RECALL, Kind.F1, Kind.REWARD})
"""Types that labels or rewards tell of."""


def counts(kind: Kind, name: str, counted: Counted) -> Counts | None:
    """Units and events of a metric in one interval; None where its units were not read.

    A counter of events that is missing is 0: routers and servers do not export what never happened.
    """
    row = TYPES[kind]
    if not any(unit.format(name=name) in counted for unit in row.units):
        return None
    n0, n1 = _sums(row.units, name, counted)
    s0, s1 = _sums(row.events, name, counted)
    # What was read while a request was between two counters may have an event and no unit yet.
    return Counts(n1, min(s1, n1), n0, min(s0, n0))


def moments(kind: Kind, name: str, counted: Counted) -> Moments | None:
    """Number, sum and squares of a metric of means in one interval; None where they were not read."""
    names = [counter.format(name=name) for counter in TYPES[kind].events]
    if not all(counter in counted for counter in names):
        return None
    champion, candidate = zip(*(counted[counter] for counter in names), strict=True)
    return Moments(*candidate, *champion)


def _sums(counters: tuple[str, ...], name: str, counted: Counted) -> tuple[float, float]:
    pairs = [counted.get(counter.format(name=name), (0, 0)) for counter in counters]
    return sum(champion for champion, _ in pairs), sum(candidate for _, candidate in pairs)
