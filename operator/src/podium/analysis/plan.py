"""What is frozen when an analysis begins: metrics with their ratios and forms, starts, and the allowed error."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from podium.analysis import odds
from podium.analysis.metrics import TYPES, Kind, Type
from podium.analysis.restarts import Start

BLOCK_SECONDS = 200.0
"""Harm is judged block by block; blocks end by the clock, never by what was counted."""
FEWEST_UNITS = 1000
"""Of the champion, for a frozen figure to be one."""

GUARDRAILS = (
    ("errors", Kind.ERROR_RATE),
    ("rejections", Kind.REJECTIONS),
    ("abandoned", Kind.ABANDONED),
    ("latency", Kind.LATENCY),
)
"""Name and type of the metrics of an analysis that names none."""


class Role(StrEnum):
    """What a metric is for."""

    GUARDRAIL = "Guardrail"
    """Must not get worse."""
    GOAL = "Goal"
    """Must get better."""


@dataclass(frozen=True)
class Metric:
    """One metric of an analysis, as frozen at its start."""

    name: str
    kind: Kind
    role: Role = Role.GUARDRAIL
    max_ratio: float = 1.5
    """What must be ruled out before promotion (guardrails): the candidate's rate over the champion's."""
    harm_ratio: float = 1.0
    """From where worse is harm."""
    tolerate: float = 0.0
    """q: a rate of the candidate that is as good as the champion's, whatever that is. 0: none."""
    base: float | None = None
    """p0: the champion's rate before the candidate got traffic; None where it is not known."""
    odds: bool = False
    """Whether evidence is on the odds ratio (champions with a rate above 10 %)."""
    edge: float | None = None
    """Latency: answers slower than this (seconds) are events."""
    margin: float = 0.0
    """Means, as guardrails: by how much lower the candidate's mean may be."""
    weighed: bool = True
    """Whether it decides, or is only shown (latency without enough answers to freeze its edge by)."""

    @property
    def type(self) -> Type:
        """The row of its type."""
        return TYPES[self.kind]


@dataclass(frozen=True)
class Plan:
    """All that a decision follows from, beside the intervals."""

    started_at: float
    """Seconds since 1970; blocks and starts by the clock count from it."""
    metrics: tuple[Metric, ...]
    starts: tuple[Start, ...] = (Start(step=0),)
    alpha: float = 0.05
    """The chance of a false rollback in a whole rollout, and of a false promotion."""
    approximate: bool = False
    """Without a router units are not what was assigned: harm alone counts, at 1/alpha^2, and steps alone promote."""

    @property
    def needed(self) -> float:
        """The evidence for promotion, 1/alpha."""
        return 1 / self.alpha

    @property
    def needed_for_harm(self) -> float:
        """The evidence for a rollback."""
        return self.needed**2 if self.approximate else self.needed

    @property
    def weighed(self) -> tuple[Metric, ...]:
        """The metrics that decide."""
        return tuple(metric for metric in self.metrics if metric.weighed)

    @property
    def share(self) -> float:
        """Of the error that is allowed, what each metric gets: the same."""
        return 1 / max(len(self.weighed), 1)

    def check(self) -> None:
        """Raises ValueError for what `metric` would not have made, and evidence cannot be counted with."""
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha:g}")
        for metric in self.metrics:
            if not 1 <= metric.harm_ratio <= metric.max_ratio or not 0 <= metric.tolerate < 1:
                raise ValueError(
                    f"metric {metric.name} has harmRatio {metric.harm_ratio:g}, maxRatio {metric.max_ratio:g} and "
                    f"tolerate {metric.tolerate:g}"
                )


def metric(
    name: str,
    kind: Kind,
    *,
    role: Role = Role.GUARDRAIL,
    max_ratio: float | None = None,
    harm_ratio: float | None = None,
    tolerate: float | None = None,
    edge: float | None = None,
    margin: float = 0.0,
    champion: tuple[float, float] = (0, 0),
) -> Metric:
    """A metric with the defaults of its type, and its form chosen by the champion's frozen (units, events).

    Raises MaxRatioUnreachable where a rate so high leaves no room above it, and ValueError for ratios that contradict
    each other.
    """
    row = TYPES[kind]
    most = row.max_ratio if max_ratio is None else max_ratio
    harm = harm_ratio if harm_ratio is not None else most if row.harm_ratio is None else row.harm_ratio
    if not 1 <= harm <= most:
        raise ValueError(f"metric {name}: harmRatio {harm:g} must be at least 1 and at most maxRatio {most:g}")
    q = row.tolerate if tolerate is None else tolerate
    if not 0 <= q < 1:
        raise ValueError(f"metric {name}: tolerate {q:g} must be at least 0 and below 1")
    units, events = champion
    base = events / units if units >= FEWEST_UNITS else None
    form = not row.mean and base is not None and base > odds.FROM_RATE
    if form and base is not None:
        field, ratio = ("harmRatio", harm) if role is Role.GOAL else ("maxRatio", most)
        try:
            odds.null_odds(ratio, base)
        except odds.MaxRatioUnreachable:
            least = 1.0 if role is Role.GOAL else harm
            raise odds.MaxRatioUnreachable(ratio, base, metric=name, field=field, least=least) from None
    weighed = kind is not Kind.LATENCY or edge is not None
    return Metric(name, kind, role, most, harm, q, base, form, edge, margin, weighed)


def defaults(edge: float | None, champion: Sequence[tuple[float, float]]) -> tuple[Metric, ...]:
    """The guardrails of an analysis that names none: errors, rejections, abandoned, and latency above a frozen edge.

    `champion`: its frozen (units, events) of each, in that order. Without an edge latency is shown and not weighed.
    """
    return tuple(
        metric(name, kind, champion=figures, edge=edge if kind is Kind.LATENCY else None)
        for (name, kind), figures in zip(GUARDRAILS, champion, strict=True)
    )
