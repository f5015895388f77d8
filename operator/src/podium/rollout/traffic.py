"""Where requests go: what a strategy wants (`Split`), and what a router says is the case (`Traffic`). Pure.

A router turns a Split into objects and reads back whether it is applied (reconcile/routers/). With `router: None`
that is the stable Service: it can select one revision's pods or all of them, so it only tells revisions with a weight
from those without one, and the numbers of pods make the shares. Envoy keeps the weights as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Protocol, Self

WHOLE = 10_000
"""All requests, as the sum of a Split's weights."""


@dataclass(frozen=True)
class Split:
    """Shares of the requests by revision, in parts of 10,000; without any revision nobody gets any."""

    weights: Mapping[str, int] = field(default_factory=dict)
    """Weight by revision, never 0; a revision gets requests as soon as one of its pods is ready."""
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

    def within(self, capacity: Mapping[str, int]) -> "Split":
        """The same, less those without a pod that could answer; itself where nobody has any.

        What they give up goes to the others, in proportion.
        """
        left = {name: weight for name, weight in self.weights.items() if capacity.get(name, 0) > 0}
        if not left or len(left) == len(self.weights):
            return self
        return replace(Split.by_pods(left), preview=self.preview, mirror=self.mirror)

    @property
    def sole(self) -> str | None:
        """The revision that gets all; None if several share, or nobody gets any."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None


class Applied(Enum):
    """Whether requests go where a Split says."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()
    """Not known: there is no answer yet, or routers disagree."""


class Traffic(Protocol):
    """Where requests go now, as the router tells."""

    @property
    def weighted(self) -> bool:
        """Whether weights are what divides the requests now; else the numbers of pods do."""
        ...

    @property
    def doubt(self) -> str:
        """Why not all is known that should be, in a sentence; empty when it is."""
        ...

    @property
    def kept_out(self) -> str:
        """Why a revision with ready pods cannot get a weight, in a sentence; empty if each can."""
        ...

    @property
    def listed(self) -> bool:
        """Whether the stable Service lists anybody who is ready."""
        ...

    def serves(self, revision: str) -> bool:
        """Whether requests surely reach a ready pod of the revision."""
        ...

    def reaches(self, revision: str) -> bool:
        """Whether any request may still reach a pod of the revision."""
        ...

    def sends(self, revision: str) -> bool:
        """Whether a router may still send requests there: it does not notice that pods are to go."""
        ...

    def prepared(self, revision: str) -> bool:
        """Whether a weight that the revision gets would find its pods."""
        ...

    def applied(self, split: Split) -> Applied:
        """Whether the split is what is the case."""
        ...

    def keepers(self, split: Split) -> tuple[int, int] | None:
        """How many routers say that they keep to the split, and how many there are; None where pods divide."""
        ...

    def others(self, revision: str) -> int:
        """Ready pods of other revisions that requests may reach."""
        ...


@dataclass(frozen=True)
class Endpoints:
    """Traffic without a router: the ready pods that the stable Service's EndpointSlices list, by revision."""

    ready: Mapping[str, int] = field(default_factory=dict)
    weighted = False
    doubt = ""
    kept_out = ""

    @property
    def listed(self) -> bool:
        """See Traffic."""
        return any(self.ready.values())

    def serves(self, revision: str) -> bool:
        """See Traffic."""
        return self.ready.get(revision, 0) > 0

    def reaches(self, revision: str) -> bool:
        """See Traffic: the same."""
        return self.serves(revision)

    def sends(self, revision: str) -> bool:
        """See Traffic: there is no router."""
        return False

    def prepared(self, revision: str) -> bool:
        """See Traffic: a Service finds its pods by itself."""
        return True

    def applied(self, split: Split) -> Applied:
        """See Traffic: exactly the wanted revisions are listed. Without any ready pod nothing tells."""
        listed = {revision for revision, count in self.ready.items() if count}
        if not listed:
            return Applied.UNKNOWN
        return Applied.YES if listed == set(split.weights) else Applied.NO

    def keepers(self, split: Split) -> None:
        """See Traffic: there is no router."""
        return

    def others(self, revision: str) -> int:
        """See Traffic."""
        return sum(count for name, count in self.ready.items() if name != revision)


@dataclass(frozen=True)
class Weighted:
    """Traffic through routers, or on its way to them, or away from them.

    Callers keep connections: those of a backend that the stable Service has left go on, until its pods or listeners go.
    """

    weighted: bool
    """Whether the stable Service selects the routers."""
    direct: Mapping[str, int]
    """Ready pods of models that the stable Service lists, by revision: callers that go past the routers."""
    routers: int
    """Ready router pods that it lists."""
    said: tuple[Mapping[str, int] | None, ...]
    """By router pod the weights that it keeps to; None for one that has not said so."""
    capacity: Mapping[str, int]
    """Ready pods by revision."""
    reached: frozenset[str] = frozenset()
    """Revisions that every router has reached, or that have a weight already."""
    doubt: str = ""
    kept_out: str = ""

    @property
    def listed(self) -> bool:
        """See Traffic."""
        return self.routers > 0 or any(self.direct.values())

    def serves(self, revision: str) -> bool:
        """See Traffic."""
        if not self.weighted:
            return self.direct.get(revision, 0) > 0
        known = self.routers > 0 and all(one is not None and one.get(revision, 0) > 0 for one in self.said)
        return bool(self.said) and known and self.capacity.get(revision, 0) > 0

    def reaches(self, revision: str) -> bool:
        """See Traffic: a router that does not answer may still send requests there."""
        return self.direct.get(revision, 0) > 0 or self.sends(revision)

    def sends(self, revision: str) -> bool:
        """See Traffic."""
        return any(one is None or one.get(revision, 0) > 0 for one in self.said)

    def prepared(self, revision: str) -> bool:
        """See Traffic: every router has reached it."""
        return revision in self.reached

    def applied(self, split: Split) -> Applied:
        """See Traffic: every router says so, and nobody goes another way."""
        listed = {revision for revision, count in self.direct.items() if count}
        if self.weighted and (None in self.said or not self.said or not self.routers):
            return Applied.UNKNOWN
        if not self.weighted and not listed:
            return Applied.UNKNOWN
        kept = all({name for name, weight in one.items() if weight} <= set(split.weights) for one in self.said if one)
        if not self.weighted:
            unknown = None in self.said
            return (
                Applied.NO if listed != set(split.weights) or not kept else Applied.UNKNOWN if unknown else Applied.YES
            )
        exact = all(_keeps(one, split) for one in self.said)
        return Applied.YES if exact and not listed else Applied.NO

    def keepers(self, split: Split) -> tuple[int, int] | None:
        """See Traffic: of the ready ones, and of those that leave and still answer."""
        return (sum(_keeps(one, split) for one in self.said), len(self.said)) if self.weighted else None

    def others(self, revision: str) -> int:
        """See Traffic."""
        found = self.direct.keys() | self.capacity.keys()
        return sum(self.capacity.get(n, 0) or self.direct.get(n, 0) for n in found if n != revision and self.reaches(n))


def _keeps(said: Mapping[str, int] | None, split: Split) -> bool:
    """Whether a router that says so keeps to the split; one that has said nothing does not."""
    return said is not None and {name: weight for name, weight in said.items() if weight} == dict(split.weights)
