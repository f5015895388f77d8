"""A person's command: the annotation `podium.dev/command: "<verb> <revision> <token>"`, acted on once."""

from collections.abc import Callable

from podium.rollout.command import FORM, Command
from podium.rollout.moment import Moment
from podium.rollout.record import CommandRecord, CommandResult, Outcome
from podium.rollout.revision import RevisionState
from podium.rollout.rule import Kind, Rule
from podium.rollout.state import Situation
from podium.rollout.verdict import Decline, Mark, Verdict
from podium.rollout.words import count, named, sentences


class _Declined(Exception):
    """Carries the sentence that the person reads."""


class _Later(Exception):
    """The counts that it depends on are not known at this moment."""


def command_gate(situation: Situation, moment: Moment) -> Verdict | None:
    """Act on a command that has not been acted on; decline what does not fit, with the reason and the way out."""
    value = situation.command
    seen = {r.command.value for r in situation.revisions if r.command} | {situation.last_command}
    seen |= {r.record.request for r in situation.revisions}
    if not value or value in seen:
        return None
    at = situation.next_decision(moment.now)
    asked = Command.parse(value)
    if asked is None or asked.verb not in VERBS:
        known = ", ".join(sorted(VERBS))
        return Decline(value, f'"{value}" is not a command: write {FORM}, with one of these verbs: {known}.', at)
    verb, name = asked.verb, asked.revision
    revision = next((r for r in situation.revisions if r.name == name), None)
    if revision is None:
        return Decline(value, f'"{verb} {name}" was refused: there is no revision {name}; {_present(situation)}.', at)
    if "command" in revision.broken:
        return Decline(
            value,
            f'"{verb} {name}" was refused, since whether it was acted on before is not known: {_mend(revision)}',
            at,
        )
    held = bool(revision.command and revision.command.paused)
    try:
        if situation.spec.suspend:
            raise _Declined("the model is suspended: set spec.suspend to false first")
        return VERBS[verb](situation, revision, CommandRecord(value, at, CommandResult.DONE, paused=held))
    except _Later:
        return None
    except _Declined as why:
        sentence = sentences(f'"{verb} {name}" was refused: {why}')
        if revision.command and revision.command.request:
            return Decline(value, sentence, at)  # its record must not be lost: an effect is still owed to it
        return Mark(
            revision.name,
            message=sentence,
            command=CommandRecord(value, at, CommandResult.REFUSED, sentence, paused=held),
            relied_on=False,
        )


def _mend(revision: RevisionState) -> str:
    return " ".join(revision.unreadable)


def _present(situation: Situation) -> str:
    roles = {"champion": situation.champion, "candidate": situation.candidate}
    told = [f"the {role} is {_identified(revision)}" for role, revision in roles.items() if revision]
    return ", ".join(told) or "there is none yet"


def _identified(revision: RevisionState) -> str:
    """With its name, which the next command has to hold."""
    return f"version {revision.version} ({revision.name})" if revision.version else f"revision {revision.name}"


def _promote(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    if revision is not situation.candidate:
        raise _Declined(f"only a candidate can be promoted, and {_present(situation)}")
    if situation.champion is None:
        raise _Declined("the first revision becomes champion by itself once it is available")
    if not revision.facts.promotable:
        raise _Declined(f"a {revision.record.strategy} promotes itself when all of its pods are available")
    if situation.paused:
        raise _Declined("the rollout is paused: set spec.paused to false, or send resume first")
    rule = Rule(Kind.PERSON)
    if revision.facts.grows:
        record = revision.record.promoted(rule, command.at, situation.operator)
        message = f"promoted by a person: it grows to {count(situation.target, 'pod')} to take all traffic"
        return Mark(revision.name, message, command=command, record=record)
    if _available(revision) < situation.target:
        raise _Declined(
            f"{revision.available} of {count(situation.target, 'pod')} are available, and it must carry all traffic"
        )
    return Mark(revision.name, "promoted by a person", Outcome.PROMOTED, rule, command)


def _abort(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    if revision is situation.candidate:
        if situation.champion is None:
            raise _Declined("there is no champion to go back to: change spec.model or delete the ModelDeployment")
        if situation.champion_down_since is not None:
            serves = named(situation.champion, situation)
            raise _Declined(f"{serves}, the champion, has no available pod to take the traffic")
        return Mark(revision.name, "aborted by a person", Outcome.ROLLED_BACK, Rule(Kind.PERSON), _held(command, False))
    if revision is situation.champion and situation.warm is not None:
        if _available(situation.warm) == 0:
            raise _Declined(f"{named(situation.warm, situation)} has no available pod to go back to")
        message = f"undone by a person: traffic goes back to {named(situation.warm, situation)}"
        return Mark(revision.name, message, Outcome.ROLLED_BACK, Rule(Kind.PERSON), _held(command, False))
    raise _Declined(
        "abort works on a candidate, and on a promoted revision while its predecessor is kept warm; "
        + _present(situation)
    )


def _retry(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    failed_first = situation.champion is None and revision is situation.candidate
    if revision is not situation.rejected and not failed_first:
        raise _Declined(f"only the rolled-back revision that spec asks for can be retried; {_present(situation)}")
    if not failed_first:
        _decline_a_second_rollout(situation, revision)
    return Mark(revision.name, "a person asked for it", Outcome.SUPERSEDED, None, _accepted(command))


def _restart(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    if revision is not situation.champion:
        raise _Declined(f"restart names the champion; {_present(situation)}")
    _decline_a_second_rollout(situation, revision)
    if revision.inputs != situation.proposal.inputs:
        raise _Declined("spec asks for another version than the champion's: retry that one, or put spec back first")
    return Mark(revision.name, "restart asked for by a person", command=_accepted(command))


def _decline_a_second_rollout(situation: Situation, revision: RevisionState) -> None:
    """What a retry or restart asks for would start as soon as the one under way, or the one owed already, is over."""
    if situation.candidate is not None:
        raise _Declined(
            f"the rollout of {named(situation.candidate, situation)} is under way: wait for it, or abort it"
        )
    if situation.request is not None and (revision.command is None or situation.request != revision.command.request):
        raise _Declined(f'"{situation.request.value}" was accepted before it, and waits to start')


def _pause(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    if revision is not (situation.candidate or situation.champion):
        raise _Declined(f"pause names the candidate or, without one, the champion; {_present(situation)}")
    return Mark(revision.name, "paused by a person", command=_held(command, True, revision))


def _resume(situation: Situation, revision: RevisionState, command: CommandRecord) -> Mark:
    found = situation.findings
    alarmed = found is not None and found.live is not None and found.live.state.alarmed
    if alarmed and revision is situation.candidate and not command.paused:
        return Mark(revision.name, "resumed by a person: its requests count again", command=command)
    at_a_pause = revision is situation.candidate and revision.record.waits and "rollout" not in revision.broken
    if at_a_pause and not command.paused and not situation.paused:
        record = revision.record.onward(command.at, situation.operator)
        return Mark(revision.name, "resumed by a person: its pause is over", command=command, record=record)
    if not command.paused:
        if situation.spec.paused:
            raise _Declined("spec.paused holds it, and no command: set that to false")
        raise _Declined(f"it is not paused: {_present(situation)}")
    return Mark(revision.name, "resumed by a person", command=_held(command, False, revision))


def _available(revision: RevisionState) -> int:
    if revision.workload is not None and not (revision.workload.settled and revision.workload.ripening == 0):
        raise _Later
    return revision.available


def _accepted(command: CommandRecord) -> CommandRecord:
    return CommandRecord(command.value, command.at, CommandResult.ACCEPTED, paused=command.paused)


def _held(command: CommandRecord, paused: bool, before: RevisionState | None = None) -> CommandRecord:
    """The command done. With `before`, a `retry` or `restart` that the revision is still owed stays owed."""
    owed = before.command.request if before is not None and before.command else None
    return CommandRecord(command.value, command.at, CommandResult.DONE, owed=owed.value if owed else "", paused=paused)


VERBS: dict[str, Callable[[Situation, RevisionState, CommandRecord], Mark]] = {
    "promote": _promote,
    "abort": _abort,
    "retry": _retry,
    "restart": _restart,
    "pause": _pause,
    "resume": _resume,
}
