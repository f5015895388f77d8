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
from podium.rollout.words import named, sentences


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
        message = f"{named(candidate, situation)} alone has pods; it is replaced once it is the champion"
        return Hold(Reason.CHAMPION_UNAVAILABLE, sentences(message))
    message = "spec asks for the champion again" if back else "spec changed before it was promoted"
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
            message = f'"{command.verb} {revision.name}" was dropped before it could start: spec no longer asks for it.'
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
        return Hold(Reason.PAUSED, sentences(f"the rollout of {_proposed(situation)} has not started: it is paused"))
    leaving = [r for r in situation.losers if r.has_pods]
    since = situation.champion_down_since
    if _in_the_way(situation, leaving) and not (since and moment.reached(since + situation.timings.champion_down)):
        message = f"the rollout of {_proposed(situation)} waits until {_last_pods(situation, leaving)}"
        return Hold(Reason.DRAINING, sentences(message))
    return Start(situation.request)


def _in_the_way(situation: Situation, leaving: list[RevisionState]) -> bool:
    """Whether leftover revisions must drain before a rollout starts.

    One may remain when there is no champion or, where the stable Service selects the champion's pods alone, once all
    its pods are terminating.
    """
    if len(leaving) != 1:
        return bool(leaving)
    apart = not STRATEGIES[situation.spec.rollout.strategy].shares_traffic
    return situation.champion is not None and not (apart and leaving[0].going)


def _proposed(situation: Situation) -> str:
    version = situation.proposal.version
    return f"version {version}" if version else "what spec asks for"


def _last_pods(situation: Situation, leaving: list[RevisionState]) -> str:
    """What is waited for; a pod that nobody takes away is named with what a person can do."""
    for revision in leaving:
        for pod in revision.pods:
            if pod.stray:
                return (
                    f"pod {pod.name} is gone: it has the labels of {named(revision, situation)}, but its Deployment "
                    f"did not make it; delete it, or remove its label {names.LABEL_MODEL}"
                )
            if pod.overdue:
                return (
                    f"pod {pod.name} is gone: it has been terminating for longer than its grace period, so its node "
                    f"may be down; once you know that the node is down: kubectl delete pod {pod.name} "
                    f"-n {situation.namespace} --force --grace-period=0"
                )
    return f"{named(leaving[0], situation)} has no pods left"
