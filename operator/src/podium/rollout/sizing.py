"""How many pods every revision gets now, and where the Services point: the Replicas and Strategies tables."""

from dataclasses import replace
from datetime import datetime, timedelta

from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.rule import Kind
from podium.rollout.state import RevisionState, Situation, Workload
from podium.rollout.strategies import STRATEGIES, Sizes, Target

DEFAULT_STABILIZATION = 300
"""Seconds: autoscaling/v2's default of behavior.scaleDown.stabilizationWindowSeconds."""


def sizes(situation: Situation, moment: Moment) -> Sizes:
    """The next step. Traffic is moved before capacity is taken away: see `removals` and `retreat`."""
    champion, candidate = situation.champion, situation.candidate
    if champion is None:
        if candidate is None:
            return Sizes({}, None, removals=frozenset(r.name for r in situation.losers))
        return _alone(situation, candidate)
    if candidate is None and situation.unreadable:
        return _unmoved(situation, champion, moment)
    if candidate is None:
        return _settling(situation, champion, moment)
    if situation.unreadable:
        return _unmoved(situation, champion, moment)
    strategy = STRATEGIES[candidate.record.strategy]
    # A champion that is down, or has given all of its pods up, leaves nothing that a third revision's pods could harm.
    down = situation.champion_down_since is not None or champion.replicas == 0
    clear = down or not any(r.has_pods for r in situation.losers)
    # Once the candidate serves it goes on serving: what it has taken over is no longer the champion's to carry.
    together = strategy.shares_traffic and (clear or serves(situation, candidate))
    first, second = strategy.targets(situation, champion, candidate, together=together)
    last = _last_to_serve(situation, candidate)
    return Sizes(
        {champion.name: first, candidate.name: second, **last},
        stable=None if together or last else champion.name,
        preview=candidate.name if strategy.preview else None,
        removals=frozenset(r.name for r in situation.losers if r.name not in last),
    )


def _unmoved(situation: Situation, champion: RevisionState, moment: Moment) -> Sizes:
    """Until a record that matters can be read: the champion is repaired and scaled, and nobody else gives anything up.

    As long as others carry a part of the traffic the champion gives nothing up either.
    """
    others = [r for r in situation.revisions if r is not champion and r.workload]
    serving = [r for r in others if serves(situation, r)]
    steady = _steady(situation, champion, moment)
    if serving and champion.available < situation.size:
        steady = replace(steady, replicas=max(steady.replicas, champion.replicas), scale_down=False)
        stable = None
    else:
        stable = champion.name
    candidate = situation.candidate
    apart = candidate is not None and STRATEGIES[situation.spec.rollout.strategy].preview
    preview = candidate.name if candidate and apart else None
    return Sizes({champion.name: steady, **{r.name: Target(r.replicas) for r in others}}, stable, preview)


def _last_to_serve(situation: Situation, candidate: RevisionState) -> dict[str, Target]:
    """Losers that stay although a rollout has begun: neither champion nor candidate has a pod to serve instead."""
    if situation.champion_down_since is None or candidate.perhaps_available:
        return {}
    return {r.name: Target(r.replicas) for r in situation.losers if r.workload and serves(situation, r)}


def _alone(situation: Situation, candidate: RevisionState) -> Sizes:
    """A first revision serves as soon as a pod of it is ready."""
    if situation.unreadable:
        least = {r.name: Target(r.replicas) for r in situation.losers if r.workload}
        size = max(situation.size, candidate.replicas)
        return Sizes({candidate.name: Target(size), **least}, candidate.name)
    removals = frozenset(r.name for r in situation.losers)
    return Sizes({candidate.name: Target(situation.size)}, candidate.name, removals=removals)


def _settling(situation: Situation, champion: RevisionState, moment: Moment) -> Sizes:
    """No candidate: the champion at what spec says, and its losers on their way out."""
    targets = {champion.name: _steady(situation, champion, moment)}
    removals: set[str] = set()
    stable: str | None = champion.name
    for loser in situation.losers:
        if loser is situation.warm and _still_warm(situation, moment):
            targets[loser.name] = Target(loser.replicas)
        elif loser.workload is None or situation.size == 0:
            removals.add(loser.name)
        elif loser.outcome is Outcome.PROMOTED:
            if serves(situation, loser):
                targets[loser.name] = Target(loser.replicas)
            else:
                removals.add(loser.name)
        else:
            strategy = STRATEGIES[loser.record.strategy]
            back, left = strategy.retreat(situation, champion, loser)
            if left.replicas == 0 or (not strategy.shares_traffic and not serves(situation, loser)):
                removals.add(loser.name)
                continue
            targets = {loser.name: left, **targets, champion.name: back}  # who gives is written before who takes
            if strategy.shares_traffic:
                stable = None
    return Sizes(targets, stable, removals=frozenset(removals))


def _still_warm(situation: Situation, moment: Moment) -> bool:
    until = situation.warm_until
    return until is not None and not situation.may_start and not moment.reached(until)


def serves(situation: Situation, revision: RevisionState) -> bool:
    """Whether the stable Service's EndpointSlices still list ready pods of the revision."""
    return situation.endpoints.get(revision.name, 0) > 0


def _steady(situation: Situation, champion: RevisionState, moment: Moment) -> Target:
    autoscaling = situation.spec.autoscaling
    if autoscaling is None:
        return Target(situation.spec.replicas)
    if champion.replicas == 0:
        # Its Deployment was lost, or scaled to zero before: it gets its initial size first, and the HPA then.
        return Target(situation.initial_size)
    if not champion.scalable:
        return Target(champion.replicas)
    switched = champion.facts.undoable and champion.decided_by.at_once
    if switched and not champion.has_hpa and not situation.traffic_moved:
        return Target(champion.replicas)  # an HPA that sees no load yet would take away what is about to be needed
    at, undone = _moved_at(situation, champion)
    gradual = not undone and (champion.facts.shares_traffic or champion.decided_by.kind is Kind.FIRST)
    free = gradual or at is None or moment.reached(settled_at(situation, at))
    return Target(champion.replicas, autoscaled=True, min_replicas=autoscaling.min_replicas, scale_down=free)


def settled_at(situation: Situation, decided_at: datetime) -> datetime:
    """When the HPA of a champion that took all traffic at once may shrink it: its stabilisation window later."""
    behavior = situation.spec.autoscaling.behavior if situation.spec.autoscaling else {}
    seconds = behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", DEFAULT_STABILIZATION)
    return decided_at + timedelta(seconds=seconds)


def _moved_at(situation: Situation, champion: RevisionState) -> tuple[datetime | None, bool]:
    """When the champion got all of the traffic at last, and whether that was because a BlueGreen switch was undone."""
    undone = [
        r.decided_at
        for r in situation.revisions
        if r.outcome is Outcome.ROLLED_BACK and r.facts.undoable and r.decided_by.kind is Kind.PERSON and r.decided_at
    ]
    latest = max(undone, default=None)
    if latest is not None and (champion.decided_at is None or latest > champion.decided_at):
        return latest, True
    return champion.decided_at, False


def once_written(situation: Situation, wanted: Sizes) -> Situation:
    """The situation as it will be seen when these sizes are written, before anybody has acted on them."""
    revisions = tuple(_sized(r, wanted.targets.get(r.name)) for r in situation.revisions)
    return replace(situation, revisions=revisions)


def _sized(revision: RevisionState, target: Target | None) -> RevisionState:
    workload = revision.workload
    if target is None:
        return revision
    spec = workload.asked if workload is not None and target.autoscaled else target.replicas
    if workload is not None and workload.spec == workload.asked == spec:
        return revision
    if workload is None:
        return replace(revision, workload=Workload(spec, spec, ready=0, available=0, pods=0, settled=False))
    ready, available = min(workload.ready, spec), min(workload.available, spec)
    return replace(
        revision, workload=replace(workload, spec=spec, asked=spec, ready=ready, available=available, settled=False)
    )
