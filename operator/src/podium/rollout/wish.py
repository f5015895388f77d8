"""What an analysis is asked, as a spec says it and as it is frozen when a rollout starts. Pure values."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from podium.analysis import edges, plan
from podium.analysis.metrics import LABELLED
from podium.analysis.metrics import Kind as Type
from podium.api import queries
from podium.api.v1alpha1 import Metric, ModelDeploymentSpec, parse_duration

MOST: Final = 20
"""Metrics, of one analysis."""
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
OPTIONAL: Final = frozenset({"threshold", "events", "total"})
FIELDS: Final = frozenset({"name", "kind", "maxRatio", "harmRatio", "tolerate"}) | OPTIONAL
KINDS: Final = frozenset({Type.ERROR_RATE, Type.REJECTIONS, Type.ABANDONED, Type.LATENCY, Type.PROMETHEUS})
"""What can be asked so far."""


@dataclass(frozen=True)
class Wish:
    """One metric as it is asked for, before anything is known of the champion."""

    name: str
    kind: Type
    max_ratio: float
    """The candidate's rate over the champion's that must be ruled out before promotion; above 1."""
    harm_ratio: float
    """From where more is harm; from 1 to max_ratio."""
    tolerate: float
    """A candidate's rate that nobody minds, as a fraction from 0 to below 1."""
    threshold: float | None = None
    """Latency: slower answers count (seconds). None: the champion's p95 when the rollout starts."""
    events: str = ""
    """Prometheus: the query of what went wrong, with its variables; empty for other types."""
    total: str = ""
    """Prometheus: the query of what it is part of."""

    @property
    def queried(self) -> bool:
        """Whether Prometheus is asked for it, and nobody's counters are read."""
        return self.kind is Type.PROMETHEUS

    @property
    def labelled(self) -> bool:
        """Whether labels or rewards tell it, which come after the answers. No spec can ask for that yet."""
        return self.kind in LABELLED

    def to_json(self) -> dict[str, Any]:
        """As it stands in the rollout's record."""
        data = {
            "name": self.name,
            "kind": self.kind.value,
            "maxRatio": self.max_ratio,
            "harmRatio": self.harm_ratio,
            "tolerate": self.tolerate,
        }
        asked = {"events": self.events, "total": self.total} if self.events else {}
        return data | asked | ({} if self.threshold is None else {"threshold": self.threshold})

    @staticmethod
    def from_json(value: object) -> "Wish":
        """The inverse; ValueError for what is no wish, or one that no spec could ask."""
        if not isinstance(value, dict) or not FIELDS - OPTIONAL <= value.keys() <= FIELDS:
            raise ValueError(f"{value!r} is no metric of an analysis")
        name, kind = value["name"], value["kind"]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a metric")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"{kind!r} is no type of a metric")
        threshold = _number(value["threshold"]) if "threshold" in value else None
        wish = Wish(
            name,
            Type(kind),
            _number(value["maxRatio"]),
            _number(value["harmRatio"]),
            _number(value["tolerate"]),
            threshold,
            _query(value, "events", Type(kind)),
            _query(value, "total", Type(kind)),
        )
        if not 1 <= wish.harm_ratio <= wish.max_ratio or wish.max_ratio == 1 or not 0 <= wish.tolerate < 1:
            raise ValueError(f"metric {name}: its ratios or its tolerance contradict each other")
        if threshold is not None and (wish.kind is not Type.LATENCY or not 0 < threshold <= edges.EDGES[-1]):
            raise ValueError(f"metric {name}: {threshold:g} s is no threshold of {kind}")
        return wish


def wished(spec: ModelDeploymentSpec, *, errors_alone: bool = False) -> tuple[Wish, ...]:
    """What an analysis of this spec would be asked, in the spec's order; () where it is to ask nothing.

    Whether there is one (strategy, router) is not decided here. `errors_alone`: where nothing else is counted.
    """
    metrics = spec.rollout.analysis.metrics
    if metrics is None:
        told = [each for each in plan.GUARDRAILS if not errors_alone or each[1] is Type.ERROR_RATE]
        return tuple(_filled_in(name, kind) for name, kind in told)
    return tuple(_of(metric) for metric in metrics)


def to_json(wishes: Iterable[Wish]) -> list[dict[str, Any]]:
    """As they stand in the rollout's record."""
    return [wish.to_json() for wish in wishes]


def from_json(value: object) -> tuple[Wish, ...]:
    """The inverse; ValueError for what is no list of wishes, or has one name twice."""
    if not isinstance(value, list) or len(value) > MOST:
        raise ValueError(f"{str(value)[:200]} is no list of at most {MOST} metrics")
    wishes = tuple(Wish.from_json(each) for each in value)
    if len({wish.name for wish in wishes}) != len(wishes):
        raise ValueError("two metrics have one name")
    return wishes


def _of(metric: Metric) -> Wish:
    return _filled_in(
        metric.name,
        Type(metric.type),
        max_ratio=metric.max_ratio,
        harm_ratio=metric.harm_ratio,
        tolerate=None if metric.tolerate is None else float(metric.tolerate.rstrip("%")) / 100,
        threshold=None if metric.threshold is None else parse_duration(metric.threshold),
        events=metric.events or "",
        total=metric.total or "",
    )


def _filled_in(
    name: str,
    kind: Type,
    *,
    max_ratio: float | None = None,
    harm_ratio: float | None = None,
    tolerate: float | None = None,
    threshold: float | None = None,
    events: str = "",
    total: str = "",
) -> Wish:
    full = plan.metric(name, kind, max_ratio=max_ratio, harm_ratio=harm_ratio, tolerate=tolerate)
    return Wish(name, kind, full.max_ratio, full.harm_ratio, full.tolerate, threshold, events, total)


def _query(value: dict[str, Any], field: str, kind: Type) -> str:
    text = value.get(field, "")
    if not isinstance(text, str) or bool(text) != (kind is Type.PROMETHEUS):
        raise ValueError(f"{field} {text!r} is no query of a metric of type {kind}")
    return queries.check(text) if text else ""


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)
