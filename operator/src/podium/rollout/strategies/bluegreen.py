"""BlueGreen: the candidate comes up in full beside the champion, then all traffic moves at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.api.reasons import Reason
from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.rule import Kind, Rule
from podium.rollout.strategies.base import Frozen, Move, Target, WithoutSteps, at_full_size
from podium.rollout.traffic import Split
from podium.rollout.verdict import Hold
from podium.rollout.words import named, sentences

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation


class BlueGreen(WithoutSteps):
    """The candidate is reached through the preview Service until it is promoted."""

    preview = True
    shares_traffic = False
    undoable = True
    promotable = True

    def fixed_size(self, record: RolloutRecord) -> bool:
        """See Facts: it may wait for a person for days."""
        return False

    def freeze(self, spec: ModelDeploymentSpec, size: int) -> Frozen:
        """The candidate gets as many pods as the champion has."""
        return Frozen(size)

    def awaits_person(self, situation: Situation, candidate: RevisionState) -> bool:
        """See Strategy: with promotion Manual."""
        return situation.spec.rollout.promotion == "Manual"

    def complete(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Rule | Hold | None:
        """At once, or when a person says so; never by itself to pods that some router does not reach."""
        if situation.spec.rollout.promotion == "Manual":
            ready = f"{named(candidate, situation)} has all its pods available and waits for a person"
            way = f"to promote it: {situation.how_to('promote', candidate)}"
            return Hold(Reason.WAITING_FOR_PROMOTION, sentences(ready, way))
        if situation.exact and not situation.traffic.prepared(candidate.name):
            return None
        return Rule(Kind.BLUE_GREEN_AVAILABLE)

    def move(self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, clear: bool) -> Move:
        """The champion keeps all that it needs for all of the traffic: its HPA may add pods, never take any away."""
        size = candidate.record.size if situation.spec.autoscaling else situation.target
        targets = {champion.name: at_full_size(situation, champion, size), candidate.name: Target(situation.target)}
        return Move(Split.to(champion.name, preview=candidate.name), targets)

    def retreat(self, situation: Situation, champion: RevisionState, loser: RevisionState) -> Move:
        """The traffic never left the champion, or goes back at once: the loser keeps its count until it has."""
        size = champion.replicas if situation.spec.autoscaling else situation.spec.replicas
        targets = {loser.name: Target(loser.replicas), champion.name: at_full_size(situation, champion, size)}
        return Move(Split.to(champion.name), targets)
