"""What a pass asks of the measuring of its rollout. Pure."""

from dataclasses import replace

from podium.api.v1alpha1 import parse_duration
from podium.reconcile.plan import Plan
from podium.rollout.asked import Where
from podium.rollout.measuring import Task
from podium.rollout.record import CommandRecord, CommandResult, RolloutRecord
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.traffic import WHOLE, Applied


def task_of(plan: Plan) -> Task | None:
    """What is to be measured from now on; None where nothing is analysed."""
    situation = plan.situation
    champion, candidate = situation.champion, situation.candidate
    if champion is None or candidate is None or not candidate.record.asked:
        return None
    match candidate.record.asked.at:
        case Where.ROUTERS:
            return _at_routers(plan, champion, candidate) if situation.exact else None
        case Where.PODS:
            return _at_pods(plan, champion, candidate)


def _at_routers(plan: Plan, champion: RevisionState, candidate: RevisionState) -> Task:
    """What decides is counted while all routers say that they keep to a weight."""
    situation, record, split = plan.situation, candidate.record, plan.move.split
    available = candidate.available >= STRATEGIES[record.strategy].needed(situation, champion, candidate)
    confirmed = situation.traffic.applied(split) is Applied.YES
    return replace(
        _task(situation, champion, candidate),
        weight=split.weights.get(candidate.name, 0),
        applied=confirmed,
        applied_since=record.applied_at.timestamp() if record.applied_at and confirmed else None,
        begins=record.weighed_at is not None or (available and record.available_at is not None),
    )


def _at_pods(plan: Plan, champion: RevisionState, candidate: RevisionState) -> Task | None:
    """Shares follow the ready pods: whoever counts there needs nobody to confirm them, and no weight to begin."""
    if champion.counting is None or candidate.counting is None:
        return None
    ready = champion.ready + candidate.ready
    serves = candidate.name in plan.move.split.weights
    return replace(
        _task(plan.situation, champion, candidate),
        weight=WHOLE * candidate.ready // ready if serves and ready else 0,
        counting={champion.name: champion.counting, candidate.name: candidate.counting},
    )


def _task(situation: Situation, champion: RevisionState, candidate: RevisionState) -> Task:
    """What is the same wherever requests are counted."""
    record = candidate.record
    found, resumed = situation.findings, _resumed(situation)
    return Task(
        rollout=record.id,
        champion=champion.name,
        candidate=candidate.name,
        asked=record.asked,
        weights=sum(not step.pauses for step in record.steps),
        longest=parse_duration(situation.spec.rollout.max_duration),
        weight=0,
        applied=True,
        applied_since=None,
        step=_place(record),
        begins=True,
        pods=(champion.ready, candidate.ready),
        warm_at=_warm_at(champion, candidate),
        resumed=resumed.value if resumed else "",
        resumed_at=resumed.at.timestamp() if resumed else 0.0,
        stored=found.stored if found else None,
        changed=found.changed if found else "",
    )


def _place(record: RolloutRecord) -> int:
    """At which of the weights it is, pauses aside, from 0; at the last one once all are over."""
    weights = sum(not step.pauses for step in record.steps[: record.step + 1])
    return max(weights - 1, 0)


def _warm_at(*revisions: RevisionState) -> float:
    """When the youngest ready pod has been ready for warmUp."""
    warm_up = max(revision.record.asked.warm_up if revision.record.asked else 0.0 for revision in revisions)
    since = [pod.ready_since for revision in revisions for pod in revision.pods if pod.ready_since is not None]
    return max((at.timestamp() for at in since), default=0.0) + warm_up


def _resumed(situation: Situation) -> CommandRecord | None:
    """The candidate's last `resume`, if it was taken; None without one, or once another command that names it came."""
    command = situation.candidate.command if situation.candidate else None
    taken = command is not None and command.verb == "resume" and command.result is CommandResult.DONE
    return command if taken else None
