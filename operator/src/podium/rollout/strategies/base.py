"""What a strategy is: how many pods each revision gets, where the traffic goes, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.rollout.moment import Moment
from podium.rollout.rule import Rule
from podium.rollout.verdict import Hold

if TYPE_CHECKING:
    from podium.rollout.state import RevisionState, Situation


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
class Sizes:
    """Every revision that is to have a Deployment, and where the Services point; all others go."""

    targets: Mapping[str, Target]
    stable: str | None
    """Revision behind the stable Service; None for every pod of the ModelDeployment."""
    preview: str | None = None
    """Revision behind the preview Service; None for no such Service."""
    removals: frozenset[str] = field(default_factory=frozenset)
    """Revisions whose Deployment goes."""


@dataclass(frozen=True)
class Frozen:
    """A rollout's sizes, fixed at its start. Counts are pods."""

    size: int
    surge: int = 0
    unavailable: int = 0


class Facts(Protocol):
    """What is true of every rollout by one strategy."""

    preview: bool
    """Whether the candidate has a Service of its own."""
    shares_traffic: bool
    """Whether champion and candidate stand behind the stable Service together: the traffic follows the pods."""
    fixed_size: bool
    """Whether T is frozen at the start; else it follows replicas, or the champion's HPA."""
    undoable: bool
    """Whether the champion's predecessor stays warm after a promotion, which a person can take back."""
    promotable: bool
    """Whether a person may promote; one that is not promotes itself."""


class Strategy(Facts, Protocol):
    """A way to replace the champion by the candidate. Stateless: all that it knows is in the situation."""

    def freeze(self, spec: ModelDeploymentSpec, size: int) -> Frozen:
        """The sizes of a rollout of `size` pods that starts now."""
        ...

    def complete(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Rule | Hold | None:
        """Asked once the candidate is available in full: the promotion's rule, what it waits for, or None."""
        ...

    def targets(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, together: bool
    ) -> tuple[Target, Target]:
        """Champion's and candidate's; `together`: whether both are to stand behind the stable Service now."""
        ...

    def retreat(self, situation: Situation, champion: RevisionState, loser: RevisionState) -> tuple[Target, Target]:
        """Champion's and the retired candidate's, on the way back."""
        ...
