"""Where requests go: what a strategy wants (`Split`), and what a router says is the case (`Traffic`). Pure.

A router turns a Split into objects and reads back whether it is applied (reconcile/routers.py). With `router: None`
that is the stable Service: it can select one revision's pods or all of them, so of the weights it keeps who has any at
all, and the pods' numbers make the shares. One that knows weights (Envoy, an HTTPRoute) takes them as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, Self

WHOLE = 10_000
"""All requests, as the sum of a Split's weights."""


@dataclass(frozen=True)
class Split:
    """Shares of the requests by revision, in parts of 10,000; without any revision nobody gets any."""

    weights: Mapping[str, int] = field(default_factory=dict)
    """Who takes requests as soon as a pod of it is ready; never 0."""
    preview: str | None = None
    """The revision behind the preview Service; None for no such Service."""
    mirror: str | None = None
    """The revision that gets a copy of each request, whose answer is thrown away."""

    def __post_init__(self) -> None:
        """ValueError for weights that are no shares."""
        if self.weights and (sum(self.weights.values()) != WHOLE or min(self.weights.values()) < 1):
            raise ValueError(f"weights of at least 1 that sum to {WHOLE} make a split, not {dict(self.weights)}")

    @classmethod
    def to(cls, revision: str, *, preview: str | None = None) -> Self:
        """All to one revision."""
        return cls({revision: WHOLE}, preview)

    @classmethod
    def by_pods(cls, pods: Mapping[str, int], *, preview: str | None = None) -> Self:
        """In proportion to pods, each revision at least 1 part; what rounding leaves goes to the largest."""
        total = sum(pods.values())
        weights = {
            name: max(1, WHOLE * count // total if total else WHOLE // len(pods)) for name, count in pods.items()
        }
        largest = max(weights, key=lambda name: weights[name])
        weights[largest] += WHOLE - sum(weights.values())
        return cls(weights, preview)

    @property
    def sole(self) -> str | None:
        """The revision that gets all; None if several share, or nobody gets any."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None


class Applied(Enum):
    """Whether requests go where a Split says."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()
    """Nothing tells yet, or those who know do not agree."""


class Traffic(Protocol):
    """Where requests go now, as the router tells."""

    def serves(self, revision: str) -> bool:
        """Whether any request may reach a ready pod of the revision."""
        ...

    def applied(self, split: Split) -> Applied:
        """Whether the split is what is the case."""
        ...

    def others(self, revision: str) -> int:
        """Ready pods of other revisions that requests may reach."""
        ...


@dataclass(frozen=True)
class Endpoints:
    """Traffic without a router: the ready pods that the stable Service's EndpointSlices list, by revision."""

    ready: Mapping[str, int] = field(default_factory=dict)

    def serves(self, revision: str) -> bool:
        """See Traffic."""
        return self.ready.get(revision, 0) > 0

    def applied(self, split: Split) -> Applied:
        """See Traffic: exactly the wanted revisions are listed. Without any ready pod nothing tells."""
        listed = {revision for revision, count in self.ready.items() if count}
        if not listed:
            return Applied.UNKNOWN
        return Applied.YES if listed == set(split.weights) else Applied.NO

    def others(self, revision: str) -> int:
        """See Traffic."""
        return sum(count for name, count in self.ready.items() if name != revision)
