"""RollingUpdate: pods of the candidate come, pods of the champion go, and never fewer than T - U are available."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.rule import Kind, Rule
from podium.rollout.strategies.base import Frozen, Move, Target, WithoutSteps
from podium.rollout.traffic import Split
from podium.rollout.verdict import Hold

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation


def absolute(value: int | str, of: int, *, up: bool) -> int:
    """A number of pods from a number or a percentage of `of`, rounded up or down (apps/v1 Deployment's rule)."""
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * of / 100
    return math.ceil(share) if up else math.floor(share)


def sizes(spec: ModelDeploymentSpec, size: int) -> Frozen:
    """Surge rounds up and unavailable down; if both come to 0, one pod may be unavailable."""
    surge = absolute(spec.rollout.rolling_update.max_surge, size, up=True)
    unavailable = min(size, absolute(spec.rollout.rolling_update.max_unavailable, size, up=False))
    return Frozen(size, surge, unavailable if surge or unavailable else 1)


def exchange(giver: RevisionState, taker: RevisionState, frozen: Frozen) -> tuple[int, int]:
    """How many pods the two should have after the next step, (giver, taker). Written in this order.

    The giver shrinks by what the taker has made up for and, of its pods that serve, by no more than is available above
    T - U; pods that are not Ready cost nothing and go first (the ReplicaSet controller deletes them first). With counts
    that are not settled nothing shrinks. The taker grows into what the surge then leaves room for.
    """
    size, floor = frozen.size, frozen.size - frozen.unavailable
    left = kept(giver, taker, frozen)
    if all(r.workload is None or r.workload.settled for r in (giver, taker)):
        idle = max(0, giver.replicas - giver.ready)
        spare = max(0, giver.available + taker.available - floor)
        shrink = max(0, min(giver.replicas + taker.available - floor, idle + spare))
        left = max(left if giver.workload is None else 0, giver.replicas - shrink)
    room = max(0, size + frozen.surge - left)
    return left, max(taker.replicas, min(size, room))


def kept(giver: RevisionState, taker: RevisionState, frozen: Frozen) -> int:
    """The giver's pods as they are; if its Deployment was deleted, those that the taker does not make up for yet."""
    if giver.workload is not None:
        return giver.replicas
    return max(0, frozen.size - frozen.unavailable - taker.available)


class RollingUpdate(WithoutSteps):
    """Champion and candidate share the stable Service; the traffic follows the pods."""

    preview = False
    shares_traffic = True
    undoable = False
    promotable = False

    def fixed_size(self, record: RolloutRecord) -> bool:
        """See Facts: its pods are counted against T from step to step."""
        return True

    def freeze(self, spec: ModelDeploymentSpec, size: int) -> Frozen:
        """See `sizes`."""
        return sizes(spec, size)

    def complete(
        self, situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment
    ) -> Rule | Hold | None:
        """Over when the champion has no pods left, and the Service lists the candidate's."""
        left = champion.workload.live + champion.workload.pods if champion.workload else 0
        return None if left or not situation.traffic.serves(candidate.name) else Rule(Kind.ROLLING_COMPLETE)

    def move(self, situation: Situation, champion: RevisionState, candidate: RevisionState, *, clear: bool) -> Move:
        """One step towards the candidate; both stay where they are in a pause, and while it is kept from serving."""
        frozen, serves = Frozen.of(candidate.record), situation.traffic.serves(candidate.name)
        # Once the candidate serves it goes on serving: the champion may no longer have the pods for its share.
        together = clear or serves
        counted = candidate
        if candidate.workload is not None and not serves:
            # Not selected by the Service (that write may be refused): its pods replace no champion's pods yet.
            counted = replace(candidate, workload=replace(candidate.workload, available=0))
        if situation.paused or not together:
            left, taken = kept(champion, counted, frozen), candidate.replicas
        else:
            left, taken = exchange(champion, counted, frozen)
        if not together:
            return Move(Split.to(champion.name), {champion.name: Target(left), candidate.name: Target(taken)})
        return _step(situation, champion, left, candidate, taken)

    def retreat(self, situation: Situation, champion: RevisionState, loser: RevisionState) -> Move:
        """The same step the other way round."""
        left, taken = exchange(loser, champion, Frozen.of(loser.record))
        return _step(situation, loser, left, champion, taken)


def _step(situation: Situation, giver: RevisionState, left: int, taker: RevisionState, taken: int) -> Move:
    """The sizes, and the split that goes with them."""
    split = _shared(situation, (giver, left), (taker, taken))
    return Move(split, {giver.name: Target(left), taker.name: Target(taken)})


def _shared(situation: Situation, *sides: tuple[RevisionState, int]) -> Split:
    """The traffic follows the available pods, as far as they are to stay. By weights, a pod that goes takes none."""
    pods = {r.name: min(situation.share(r), size) if situation.exact else situation.share(r) for r, size in sides}
    if situation.exact and situation.champion is not None:
        pods = {name: count for name, count in pods.items() if count} or {situation.champion.name: 1}
    return Split.by_pods(pods)
