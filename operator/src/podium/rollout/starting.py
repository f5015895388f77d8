"""The gates of what comes next: what ends because spec or a person asks for something else, and what begins then.

As in gates.py, each is a function of the situation and the time alone.
"""

from dataclasses import replace

from podium.api import names
from podium.api.reasons import Reason
from podium.rollout.moment import Moment
from podium.rollout.record import CommandResult, Outcome
from podium.rollout.revision import RevisionState
from podium.rollout.rule import Kind, Rule
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.verdict import Hold, Mark, Start, Verdict


def spec_left_rejected(situation: Situation, moment: Moment) -> Verdict | None:
    """Once the spec asks for something else, a rolled-back revision no longer stands in the way of its inputs."""
    for revision in situation.revisions:
        if revision.outcome is Outcome.ROLLED_BACK and revision.inputs != situation.proposal.inputs:
            return Mark(revision.name, outcome=Outcome.SUPERSEDED, relied_on=False)
    return None


def spec_left_candidate(situation: Situation, moment: Moment) -> Verdict | None:
    """A spec that changed mid-rollout retires the candidate; the champion stays."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or candidate.inputs == situation.proposal.inputs:
        return None
    back = champion is not None and champion.inputs == situation.proposal.inputs
    if champion is None and situation.proposal.reason:
        return Hold(situation.proposal.reason, situation.proposal.message)
    if situation.champion_down_since is not None and candidate.perhaps_available > 0:
        return Hold(
            Reason.CHAMPION_UNAVAILABLE, f"{candidate.name} serves alone; it is replaced once it is the champion"
        )
    message = "spec was put back to the champion's" if back else "spec changed before it was promoted"
    return Mark(candidate.name, message, Outcome.SUPERSEDED, Rule(Kind.SPEC_CHANGED))


def request_fulfilled(situation: Situation, moment: Moment) -> Verdict | None:
    """An accepted retry or restart is done once the revision that it asked for exists."""
    started = {r.record.request for r in situation.revisions if r.record.request}
    for revision in situation.revisions:
        command = revision.command
        if command and command.request and command.request.value in started:
            return Mark(revision.name, command=command.done(), relied_on=False)
    return None


def request_outlived(situation: Situation, moment: Moment) -> Verdict | None:
    """What a retry or restart was for may be gone before it could start: then it would only disturb the champion."""
    started = {r.record.request for r in situation.revisions}
    for revision in situation.revisions:
        command = revision.command
        if command is None or command.request is None or command.request.value in started:
            continue
        if revision.inputs != situation.proposal.inputs:
            if command.result is not CommandResult.ACCEPTED:
                return Mark(revision.name, command=command.done())  # a pause or a resume has come after it
            message = f"{command.verb} {revision.name} dropped before it could start: spec no longer asks for it"
            declined = replace(
                command, at=situation.next_decision(moment.now), result=CommandResult.REFUSED, message=message
            )
            return Mark(revision.name, message, command=declined)
    return None


def start(situation: Situation, moment: Moment) -> Verdict | None:
    """Begin what is asked for, once nobody holds it and no third revision stands in its way."""
    if not situation.wants_rollout:
        return None
    if situation.proposal.reason:
        return Hold(situation.proposal.reason, situation.proposal.message)
    if situation.champion is not None:
        impossible = STRATEGIES[situation.spec.rollout.strategy].impossible(situation, situation.champion)
        if impossible is not None:
            return impossible
    if situation.paused:
        return Hold(Reason.PAUSED, f"a rollout of {situation.proposal.version} waits: it is paused")
    leaving = [r for r in situation.losers if r.has_pods]
    since = situation.champion_down_since
    if _in_the_way(situation, leaving) and not (since and moment.reached(since + situation.timings.champion_down)):
        message = f"a rollout of {situation.proposal.version} waits until {_last_pods(leaving)}"
        return Hold(Reason.DRAINING, message)
    return Start(situation.request)


def _in_the_way(situation: Situation, leaving: list[RevisionState]) -> bool:
    """One third revision that is going may be, where its pods stand in for nobody's behind the stable Service.

    That is without a champion, and where the Service selects the champion's pods alone.
    """
    if len(leaving) != 1:
        return bool(leaving)
    apart = not STRATEGIES[situation.spec.rollout.strategy].shares_traffic
    return situation.champion is not None and not (apart and leaving[0].going)


def _last_pods(leaving: list[RevisionState]) -> str:
    """What is waited for; a pod that nobody takes away is named with what a person can do."""
    for revision in leaving:
        for pod in revision.pods:
            if pod.stray:
                return (
                    f"pod {pod.name} is gone: it has the labels of {revision.name} but is none of its Deployment's; "
                    f"delete it, or take its label {names.LABEL_MODEL} away"
                )
            if pod.overdue:
                return (
                    f"pod {pod.name} is gone: it has been terminating for longer than its grace: its node may be dead; "
                    f"once that is known to be gone: kubectl delete pod {pod.name} --force --grace-period=0"
                )
    return f"{leaving[0].name} has no pods"
