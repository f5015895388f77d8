"""What a strategy is: how many pods each revision gets, where the traffic goes, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.rule import Rule
from podium.rollout.steps import Step
from podium.rollout.traffic import Split
from podium.rollout.verdict import Hold

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation


@dataclass(frozen=True)
class Target:
    """What one revision's Deployment and HPA should be now."""

    replicas: int
    """Pods, as long as no HPA decides."""
    autoscaled: bool = False
    """Whether the spec's HPA takes over; the live number is handed to it."""
    min_replicas: int = 1
    scale_down: bool = True
    """Whether the HPA may shrink it."""


@dataclass(frozen=True)
class Move:
    """One step: where requests go, and how many pods each revision that is to have a Deployment gets; all others go."""

    split: Split
    targets: Mapping[str, Target]
    """In the order of writing: a revision that gives pods up comes before the one that gets more."""
    removals: frozenset[str] = field(default_factory=frozenset)
    """Revisions whose Deployment goes."""


@dataclass(frozen=True)
class Frozen:
    """A rollout's sizes, fixed at its start. Counts are pods."""

    size: int
    surge: int = 0
    unavailable: int = 0
    steps: tuple[Step, ...] = ()

    @staticmethod
    def of(record: RolloutRecord) -> Frozen:
        """As a rollout's record has them."""
        return Frozen(record.size, record.surge, record.unavailable, record.steps)


@dataclass(frozen=True)
class Progress:
    """A change of a rollout's record before its end, such as a Canary's next step."""

    record: RolloutRecord
    message: str = ""
    """What people are told of it; empty for bookkeeping."""
    reason: str = "Step"
    """Of the Event that tells it."""


class Facts(Protocol):
    """What is true of every rollout by one strategy."""

    preview: bool
    """Whether the candidate has a Service of its own."""
    shares_traffic: bool
    """Whether champion and candidate stand behind the stable Service together: the traffic follows the pods."""
    undoable: bool
    """Whether the champion's predecessor stays warm after a promotion, which a person can take back."""
    promotable: bool
    """Whether a person may promote; one that is not promotes itself."""
    grows: bool
    """Whether a promotion first brings the candidate to T (phase Promoting); else it must have T before."""
    stepwise: bool
    """Whether it goes by steps, which its record must have."""

    def fixed_size(self, record: RolloutRecord) -> bool:
        """Whether T is frozen at the start; else it follows replicas, or the champion's HPA."""
        ...


def at_full_size(situation: Situation, champion: RevisionState, size: int) -> Target:
    """A champion that may have to carry all of the traffic: its HPA may add pods to `size`, never take any away."""
    if situation.spec.autoscaling is None:
        return Target(size)
    size = max(1, size)
    if not champion.scalable:
        return Target(max(size, champion.replicas))
    return Target(size, autoscaled=True, min_replicas=size, scale_down=False)


class WithoutSteps:
    """Defaults for strategies without steps."""

    grows = False
    stepwise = False

    def impossible(self, situation: Situation, champion: RevisionState) -> Hold | None:
        """See Strategy: it can always begin."""
        return None

    def excess(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> str:
        """See Strategy: no share is asked for."""
        return ""

    def needed(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> int:
        """See Strategy: all of T."""
        return situation.target

    def awaits_person(self, situation: Situation, candidate: RevisionState) -> bool:
        """See Strategy: it promotes itself."""
        return False

    def advance(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Progress | Hold | None:
        """See Strategy: there is nothing between its start and its end."""
        return None


class Strategy(Facts, Protocol):
    """A way to replace the champion by the candidate. Stateless: all that it knows is in the situation."""

    def freeze(self, spec: ModelDeploymentSpec, size: int) -> Frozen:
        """The sizes of a rollout of `size` pods that starts now."""
        ...

    def impossible(self, situation: Situation, champion: RevisionState) -> Hold | None:
        """Why no rollout of this size can begin, and the ways out; None if it can."""
        ...

    def excess(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> str:
        """A sentence if the candidate gets far more requests than was asked for; else nothing."""
        ...

    def needed(self, situation: Situation, champion: RevisionState, candidate: RevisionState) -> int:
        """How many pods the candidate must have available within its deadline."""
        ...

    def awaits_person(self, situation: Situation, candidate: RevisionState) -> bool:
        """Whether a candidate that has its pods goes on only when a person says so."""
        ...

    def advance(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Progress | Hold | None:
        """The next step towards its end: what to record of it, what it waits for, or None."""
        ...

    def complete(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Rule | Hold | None:
        """Asked once the candidate is available in full: the promotion's rule, what it waits for, or None."""
        ...

    def move(self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, clear: bool) -> Move:
        """The next step; `clear`: requests may go to both, for no third revision has pods that would get some, too."""
        ...

    def retreat(self, situation: Situation, champion: RevisionState, loser: RevisionState) -> Move:
        """The next step of the way back from a candidate that was retired."""
        ...
