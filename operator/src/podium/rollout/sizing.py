"""How many pods every revision gets now, and where the Services point."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.revision import RevisionState, Workload
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES, Move, Target
from podium.rollout.traffic import Applied, Split

DEFAULT_STABILIZATION = 300
"""Seconds: autoscaling/v2's default of behavior.scaleDown.stabilizationWindowSeconds."""


def next_move(situation: Situation, moment: Moment) -> Move:
    """The next step. Traffic is moved before capacity is taken away: see `removals` and `retreat`."""
    move = _next_move(situation, moment)
    return _weights_first(situation, move) if situation.exact else _callers_first(situation, move)


def _callers_first(situation: Situation, move: Move) -> Move:
    """Routers that the stable Service has left may have callers still: the revision that gets these keeps its pods."""
    targets, removals = dict(move.targets), set(move.removals)
    for revision in situation.revisions:
        target = targets.get(revision.name)
        goes = target is None or (target.replicas == 0 and not target.autoscaled)
        if goes and revision.replicas and revision.name != move.split.sole and situation.traffic.sends(revision.name):
            targets[revision.name] = Target(revision.replicas)
            removals.discard(revision.name)
    return replace(move, targets=targets, removals=frozenset(removals))


def _weights_first(situation: Situation, move: Move) -> Move:
    """With exact weights: none for a revision without a ready pod, and no pod goes before the weights are confirmed.

    Only the revision that gets all requests may shrink at once: no other is to take any over.
    """
    empty = {name for name, target in move.targets.items() if target.replicas == 0 and not target.autoscaled}
    split = move.split.within({n: 0 if n in empty else count for n, count in situation.capacity.items()})
    applied = situation.traffic.applied(split) is Applied.YES
    targets, removals = dict(move.targets), set(move.removals)
    for revision in situation.revisions:
        target = targets.get(revision.name)
        if revision.workload is None or revision.name == split.sole:
            continue
        if target is None and situation.traffic.reaches(revision.name):
            targets[revision.name] = Target(revision.replicas)
            removals.discard(revision.name)
        elif target is not None and not applied and not target.autoscaled and target.replicas < revision.replicas:
            targets[revision.name] = replace(target, replicas=revision.replicas)
    return Move(split, _within_room(situation, move, targets), removals=frozenset(removals))


def _within_room(situation: Situation, move: Move, targets: dict[str, Target]) -> dict[str, Target]:
    """Whoever grows into what another one gives up waits for as much of it as that one keeps."""
    kept = sum(targets[n].replicas - t.replicas for n, t in move.targets.items() if targets[n].replicas > t.replicas)
    for revision in situation.revisions:
        target = targets.get(revision.name)
        if kept and target is not None and not target.autoscaled and target.replicas > revision.replicas:
            grown = max(revision.replicas, target.replicas - kept)
            kept -= target.replicas - grown
            targets[revision.name] = replace(target, replicas=grown)
    return targets


def _next_move(situation: Situation, moment: Moment) -> Move:
    champion, candidate = situation.champion, situation.candidate
    if situation.spec.suspend or situation.emptied:
        return _away(situation)
    if champion is None:
        return _alone(situation, candidate) if candidate else _between(situation)
    if situation.unreadable:
        return _unmoved(situation, champion, moment)
    if candidate is None:
        return _settling(situation, champion, moment)
    if situation.returning:
        return _returning(situation, champion, candidate)
    # A champion that is down, or has given all of its pods up, leaves nothing that a third revision's pods could harm.
    down = situation.champion_down_since is not None or champion.replicas == 0
    clear = down or situation.exact or not any(r.has_pods for r in situation.losers)
    step = STRATEGIES[candidate.record.strategy].move(situation, champion, candidate, clear=clear)
    last = _last_to_serve(situation, champion, candidate)
    split = step.split
    if last and split.preview is None:
        split = _joined(situation, split, [*step.targets, *last])
    elif last:
        split = Split.to(next(iter(last)), preview=split.preview)  # the candidate is not to take any yet
    return Move(
        split,
        {**step.targets, **last},
        removals=frozenset(r.name for r in situation.losers if r.name not in last),
    )


def _away(situation: Situation) -> Move:
    """No pods of anybody; the Services stay as they are without a rollout that moves."""
    lead = situation.champion or situation.candidate
    split = Split.to(lead.name, preview=_previewed(situation)) if lead else Split()
    roles = (situation.champion, situation.candidate)
    return Move(split, {r.name: Target(0) for r in situation.revisions if r.workload or r in roles})


def _returning(situation: Situation, champion: RevisionState, candidate: RevisionState) -> Move:
    """After a suspension: the champion in full, before the candidate has any pod that could take its place."""
    preview = candidate.name if candidate.facts.preview else None
    targets = {champion.name: Target(max(situation.target, champion.replicas)), candidate.name: Target(0)}
    removals = frozenset(r.name for r in situation.losers)
    return Move(Split.to(champion.name, preview=preview), targets, removals=removals)


def _joined(situation: Situation, split: Split, names: Iterable[str]) -> Split:
    """All of these revisions take requests, by their available pods."""
    pods = {r.name: situation.share(r) for r in situation.revisions if r.name in set(names)}
    return Split.by_pods(pods, preview=split.preview)


def _unmoved(situation: Situation, champion: RevisionState, moment: Moment) -> Move:
    """Until a record that matters can be read: the champion is repaired and scaled, and nobody else gives anything up.

    As long as others carry a part of the traffic the champion gives nothing up either.
    """
    others = [r for r in situation.revisions if r is not champion and r.workload]
    steady = _steady(situation, champion, moment)
    split = Split.to(champion.name, preview=_previewed(situation))
    if any(serves(situation, r) for r in others) and champion.available < situation.size:
        steady = replace(steady, replicas=max(steady.replicas, champion.replicas), scale_down=False)
        split = _joined(situation, split, [champion.name, *(r.name for r in others)])
    return Move(split, {champion.name: steady, **{r.name: Target(r.replicas) for r in others}})


def _previewed(situation: Situation) -> str | None:
    """The candidate, if its rollout's strategy gives it a Service of its own.

    The frozen strategy counts; spec's only where the record cannot be read.
    """
    candidate = situation.candidate
    if candidate is None:
        return None
    unknown = "rollout" in candidate.broken
    facts = STRATEGIES[situation.spec.rollout.strategy] if unknown else candidate.facts
    return candidate.name if facts.preview else None


def _last_to_serve(situation: Situation, champion: RevisionState, candidate: RevisionState) -> dict[str, Target]:
    """Losers that stay although a rollout has begun: neither champion nor candidate has a pod to serve instead."""
    if champion.reported or (candidate.perhaps_available and candidate.facts.shares_traffic):
        return {}
    return {r.name: Target(r.replicas) for r in situation.losers if r.workload and serves(situation, r)}


def _alone(situation: Situation, candidate: RevisionState) -> Move:
    """A first revision serves as soon as a pod of it is ready; until then one that spec has left, if it serves."""
    split = Split.to(candidate.name)
    if situation.unreadable:
        least = {r.name: Target(r.replicas) for r in situation.losers if r.workload}
        size = max(situation.size, candidate.replicas)
        return Move(split, {candidate.name: Target(size), **least})
    waiting = _between(situation)
    split = waiting.split if waiting.split.weights and not candidate.ready else split
    return Move(split, {candidate.name: Target(situation.size), **waiting.targets}, removals=waiting.removals)


def _between(situation: Situation) -> Move:
    """Nobody has become champion yet: of those that spec has left, whoever serves goes on until somebody else does."""
    serving = [r for r in situation.losers if r.outcome is Outcome.SUPERSEDED and serves(situation, r)]
    stay = {r.name: Target(r.replicas) for r in serving if r.workload}
    removals = frozenset(r.name for r in situation.losers if r.name not in stay)
    return Move(Split.to(serving[0].name) if serving else Split(), stay, removals=removals)


def _settling(situation: Situation, champion: RevisionState, moment: Moment) -> Move:
    """No candidate: the champion at what spec says, and its losers on their way out."""
    targets = {champion.name: _steady(situation, champion, moment)}
    removals: set[str] = set()
    sharing = {champion.name}
    for loser in situation.losers:
        if loser is situation.warm and _still_warm(situation, moment):
            targets[loser.name] = Target(loser.replicas)
        elif loser.workload is None or situation.size == 0:
            removals.add(loser.name)
        elif loser.outcome is Outcome.PROMOTED or _led_to(champion, loser):
            if serves(situation, loser):
                targets[loser.name] = Target(loser.replicas)
                sharing |= _instead(champion, loser)
            else:
                removals.add(loser.name)
        else:
            back = STRATEGIES[loser.record.strategy].retreat(situation, champion, loser)
            shares = loser.name in back.split.weights
            if back.targets[loser.name].replicas == 0 or (not shares and not serves(situation, loser)):
                removals.add(loser.name)
                continue
            targets = {**back.targets, **{name: t for name, t in targets.items() if name not in back.targets}}
            sharing |= set(back.split.weights) | (_instead(champion, loser) if serves(situation, loser) else set())
    whole = Split.to(champion.name)
    split = _joined(situation, whole, targets) if len(sharing) > 1 else whole
    return Move(split, targets, removals=frozenset(removals))


def _led_to(champion: RevisionState, loser: RevisionState) -> bool:
    """Whether spec left it before there was any champion: until the first one is listed it may be all that serves."""
    return loser.outcome is Outcome.SUPERSEDED and champion.decided_by.first and loser.number < champion.number


def _instead(champion: RevisionState, loser: RevisionState) -> set[str]:
    """Who goes on taking requests until the champion has a pod for them: it was restored, or scaled to zero."""
    return set() if champion.reported else {loser.name}


def _still_warm(situation: Situation, moment: Moment) -> bool:
    until = situation.warm_until
    return until is not None and not situation.may_start and not moment.reached(until)


def serves(situation: Situation, revision: RevisionState) -> bool:
    """Whether requests still reach ready pods of the revision."""
    return situation.traffic.reaches(revision.name)


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
    shared = champion.facts.shares_traffic and not champion.facts.undoable  # the last share moved at once, else
    gradual = not undone and (shared or champion.decided_by.first)
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
        if r.outcome is Outcome.ROLLED_BACK and r.facts.undoable and r.decided_by.undoes and r.decided_at
    ]
    latest = max(undone, default=None)
    if latest is not None and (champion.decided_at is None or latest > champion.decided_at):
        return latest, True
    return champion.decided_at, False


def once_written(situation: Situation, wanted: Move) -> Situation:
    """The situation as it will be seen when these sizes are written, before anybody has acted on them."""
    revisions = tuple(_sized(r, wanted.targets.get(r.name)) for r in situation.revisions)
    return replace(situation, revisions=revisions)


def _sized(revision: RevisionState, target: Target | None) -> RevisionState:
    workload = revision.workload
    if target is None:
        return revision
    size = workload.asked if workload is not None and target.autoscaled else target.replicas
    if workload is not None and workload.live == workload.asked == size:
        return revision
    if workload is None:
        return replace(revision, workload=Workload(size, size, ready=0, available=0, pods=0, settled=False))
    ready, available = min(workload.ready, size), min(workload.available, size)
    return replace(
        revision, workload=replace(workload, live=size, asked=size, ready=ready, available=available, settled=False)
    )
