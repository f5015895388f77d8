"""What an analysis is asked, as frozen at the start of its rollout. Pure values.

The metrics' frozen figures (an edge, a base rate) are not here: they are taken when the candidate gets its first
weight, and stand in the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from podium.api.v1alpha1 import ModelDeploymentSpec, parse_duration
from podium.rollout.wish import Wish, from_json, to_json, wished

_FIELDS = frozenset({"confidence", "interval", "warmUp", "metrics"})
_AT = "countedAt"
_SHORTEST, _LONGEST = 0.1, 3600.0
"""Seconds of an interval; the CRD is stricter."""


class Where(StrEnum):
    """Where requests are counted; whoever reads them there is found by it (podium.metrics.sources)."""

    ROUTERS = "Routers"
    """Each request is assigned by lot: evidence decides everything."""
    PODS = "Pods"
    """Callers that keep a connection stay on one pod: errors may stop a candidate, and nothing promotes it."""


@dataclass(frozen=True)
class Asked:
    """An analysis; one without wishes is none."""

    wishes: tuple[Wish, ...] = ()
    confidence: float = 0.95
    interval: float = 2.0
    """Seconds from one round to the next."""
    warm_up: float = 60.0
    """Seconds for which a pod is ready before its latency counts."""
    at: Where = Where.ROUTERS

    def __bool__(self) -> bool:
        """Whether anything is weighed."""
        return bool(self.wishes)

    @property
    def awaited(self) -> bool:
        """Whether steps and promotion wait for the evidence; else all that it may do is to stop the candidate."""
        return bool(self.wishes) and self.at is Where.ROUTERS

    @property
    def watched(self) -> bool:
        """Whether the evidence can stop the candidate, and nothing waits for it."""
        return bool(self.wishes) and self.at is Where.PODS

    @property
    def labelled(self) -> bool:
        """Whether labels or rewards tell some of it: without a router nothing waits for them."""
        return self.awaited and any(wish.labelled for wish in self.wishes)

    @staticmethod
    def of(spec: ModelDeploymentSpec, at: Where = Where.ROUTERS, *, by_default: bool = True) -> "Asked":
        """What spec asks for, counted there; `by_default`: also where it names no metrics."""
        analysis = spec.rollout.analysis
        if analysis.metrics is None and not by_default:
            return Asked()
        return Asked(
            at=at,
            wishes=wished(spec, errors_alone=at is Where.PODS),
            confidence=analysis.confidence,
            interval=float(parse_duration(analysis.interval)),
            warm_up=float(parse_duration(analysis.warm_up)),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in the rollout's record; empty where nothing is asked."""
        if not self.wishes:
            return {}
        return {
            **({_AT: self.at.value} if self.at is not Where.ROUTERS else {}),
            "confidence": self.confidence,
            "interval": self.interval,
            "warmUp": self.warm_up,
            "metrics": to_json(self.wishes),
        }

    @staticmethod
    def from_json(data: object) -> "Asked":
        """The inverse; ValueError for what is none."""
        if data == {}:
            return Asked()
        if not isinstance(data, Mapping) or data.keys() - {_AT} != _FIELDS:
            raise ValueError(f"{data!r} is no analysis")
        confidence, interval, warm_up = (_number(data[name]) for name in ("confidence", "interval", "warmUp"))
        if not (0 < confidence < 1 and _SHORTEST <= interval <= _LONGEST and warm_up >= 0):
            raise ValueError(f"{data!r} is no analysis")
        return Asked(from_json(data["metrics"]), confidence, interval, warm_up, Where(data.get(_AT, Where.ROUTERS)))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{value!r} is no number")
    return float(value)
