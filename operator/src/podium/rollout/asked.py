"""What an analysis is asked, as frozen at the start of its rollout. Pure values.

The metrics' frozen figures (an edge, a base rate) are not here: they are taken when the candidate gets its first
weight, and stand in the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podium.api.v1alpha1 import ModelDeploymentSpec, parse_duration
from podium.rollout.wish import Wish, wished

_FIELDS = frozenset({"confidence", "interval", "warmUp", "metrics"})
_SHORTEST, _LONGEST = 0.1, 3600.0
"""Seconds of an interval; the CRD is stricter."""


@dataclass(frozen=True)
class Asked:
    """An analysis; one without wishes is none."""

    wishes: tuple[Wish, ...] = ()
    confidence: float = 0.95
    interval: float = 2.0
    """Seconds from one round to the next."""
    warm_up: float = 60.0
    """Seconds for which a pod is ready before its latency counts."""

    def __bool__(self) -> bool:
        """Whether anything is weighed."""
        return bool(self.wishes)

    @staticmethod
    def of(spec: ModelDeploymentSpec) -> "Asked":
        """What spec asks for."""
        analysis = spec.rollout.analysis
        return Asked(
            wishes=wished(spec),
            confidence=analysis.confidence,
            interval=float(parse_duration(analysis.interval)),
            warm_up=float(parse_duration(analysis.warm_up)),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in the rollout's record; empty where nothing is asked."""
        if not self.wishes:
            return {}
        return {
            "confidence": self.confidence,
            "interval": self.interval,
            "warmUp": self.warm_up,
            "metrics": [wish.to_json() for wish in self.wishes],
        }

    @staticmethod
    def from_json(data: object) -> "Asked":
        """The inverse; ValueError for what is none."""
        if data == {}:
            return Asked()
        if not isinstance(data, Mapping) or data.keys() != _FIELDS or not isinstance(data["metrics"], list):
            raise ValueError(f"{data!r} is no analysis")
        confidence, interval, warm_up = (_number(data[name]) for name in ("confidence", "interval", "warmUp"))
        if not (0 < confidence < 1 and _SHORTEST <= interval <= _LONGEST and warm_up >= 0):
            raise ValueError(f"{data!r} is no analysis")
        return Asked(tuple(Wish.from_json(wish) for wish in data["metrics"]), confidence, interval, warm_up)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{value!r} is no number")
    return float(value)
