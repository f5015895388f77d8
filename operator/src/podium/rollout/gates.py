"""The gates, in the order in which they are asked; the first decision wins.

Each is a function of the situation and the time alone, and relies on no other having run before it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from podium.api.reasons import Reason
from podium.rollout.commands import command_gate
from podium.rollout.crash import environment_fails_likewise, evidence, requests_end_it_likewise
from podium.rollout.ending import ended_lately, ended_twice, ends_counted
from podium.rollout.judging import harm, too_late, unreachable
from podium.rollout.kept import no_way_back, stands
from podium.rollout.lateness import deadline, lost
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.rule import Kind, Rule
from podium.rollout.starting import request_fulfilled, request_outlived, spec_left_candidate, spec_left_rejected, start
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.verdict import Hold, Mark, Verdict
from podium.rollout.words import available, count, lasted, named, sentences

Gate = Callable[[Situation, Moment], Verdict | None]
RESTORED = Rule(Kind.RESTORED)


def restored(situation: Situation, moment: Moment) -> Verdict | None:
    """A rollout that began before the records of earlier ones were restored gives way to what these say.

    What they do not say is told by whether their champion was restored with pods: then it served, and this one did not.
    """
    begun, champion = situation.unaware, situation.recorded
    if begun is None or champion is None:
        return None
    since = "it began before the records of this ModelDeployment were restored"
    if situation.unaware_of:
        return Mark(begun.name, f"{since}; what it serves had been rolled back", Outcome.SUPERSEDED, RESTORED)
    if champion.inputs == begun.inputs:
        return Mark(begun.name, f"{since}; {named(champion, situation)} is the champion", Outcome.SUPERSEDED, RESTORED)
    if begun.number > 1:
        return None  # it began beside a champion, and goes on as a rollout from the one that came
    if champion.workload is not None and champion.workload.live > 0:
        who = named(champion, situation)
        message = f"{since}; they do not say whether it had been rolled back, and {who} was restored with pods"
        return Mark(begun.name, message, Outcome.ROLLED_BACK, RESTORED)
    if begun is situation.candidate:
        message = f"{since}; none of the others was restored with pods"
        return Mark(begun.name, message, Outcome.PROMOTED, Rule(Kind.FIRST))
    return None


def champion_down(situation: Situation, moment: Moment) -> Verdict | None:
    """A champion without an available pod gives way to a candidate that has one."""
    champion, candidate, since = situation.champion, situation.candidate, situation.champion_down_since
    if champion is None or candidate is None or since is None or candidate.available == 0:
        return None
    if not moment.reached(since + situation.timings.champion_down):
        return None
    had, has = named(champion, situation), count(candidate.available, "available pod")
    message = f"{had} has had no available pod for {lasted(moment.now - since)}, and this version has {has}"
    return Mark(candidate.name, message, Outcome.PROMOTED, Rule(Kind.CHAMPION_DOWN))


def crashed(situation: Situation, moment: Moment) -> Verdict | None:
    """One candidate pod that provably cannot come up rolls the candidate back."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None:
        return None
    failure = evidence(candidate, moment, situation.timings)
    if failure is None:
        return None
    if champion is None:
        return None  # nothing to go back to: its pods keep trying, and status says why it failed
    serves, sentence = named(champion, situation), failure.message
    window = situation.timings.environment_window
    if environment_fails_likewise(failure, candidate, champion, window):
        message = f"new pods of {serves}, which serves, fail in the same way, so the model is not the cause: {sentence}"
        return Hold(Reason.ENVIRONMENT, sentences(message))
    if requests_end_it_likewise(failure, candidate, champion, window):
        message = f"requests crash servers of {serves}, too, so the new version is not the only cause: {sentence}"
        return Hold(Reason.ENVIRONMENT, sentences(message))
    if situation.champion_down_since is not None:
        return Hold(Reason.CHAMPION_UNAVAILABLE, no_way_back(situation, sentence))
    if candidate.promotion_stands:
        return stands(situation, candidate, sentence)
    return Mark(candidate.name, failure.message, Outcome.ROLLED_BACK, Rule(Kind.CRASH, failure.reason))


def unreadable(situation: Situation, moment: Moment) -> Verdict | None:
    """Records that cannot be read (edited, or of another version): nothing is decided that they may contradict."""
    if not situation.unreadable:
        return None
    return Hold(Reason.RECORD_UNREADABLE, " ".join(situation.unreadable))


def unroutable(situation: Situation, moment: Moment) -> Verdict | None:
    """What spec asks for can be had only in part: that is told, whatever else goes on; `start` begins nothing."""
    return Hold(Reason.INVALID_SPEC, sentences(situation.unroutable)) if situation.unroutable else None


def environment(situation: Situation, moment: Moment) -> Verdict | None:
    """Time in which the cluster takes no pods for a reason that is not the candidate's does not count."""
    candidate, since = situation.candidate, situation.candidate_kept_out_since
    if candidate is None:
        return None
    record = candidate.record
    if since is not None and record.held_since is None:
        if not moment.reached(since + situation.timings.patience):
            return None
        return Mark(candidate.name, record=replace(record, held_since=max(since, record.began_at)))
    if since is not None:
        sentence = situation.candidate_refused or (candidate.workload.failure if candidate.workload else "")
        message = f"the cluster refuses pods of {named(candidate, situation)}: {sentence}"
        return Hold(Reason.ENVIRONMENT, sentences(message))
    if record.held_since is not None:
        # another operator's clock, which may be ahead, may have stamped it
        lasted = max(moment.now - record.held_since, timedelta(0))
        return Mark(candidate.name, record=replace(record, held=record.held + lasted, held_since=None))
    return None


def suspended(situation: Situation, moment: Moment) -> Verdict | None:
    """All pods are away because spec says so: a rollout stands still, and from when is recorded."""
    candidate = situation.candidate
    if candidate is not None and candidate.record.suspended_since is None and not situation.unreadable:
        return Mark(candidate.name, record=candidate.record.suspended(moment.now))
    return Hold(Reason.SUSPENDED, "The model is suspended. To bring it back: set spec.suspend to false.")


def emptied(situation: Situation, moment: Moment) -> Verdict | None:
    """No pods are asked for in the middle of a rollout: it stands still until some are, as in a suspension.

    One that began without pods ends without them, and so does one that has been promoted: see `complete`.
    """
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or champion is None or situation.target or candidate.record.promoting:
        return None
    if situation.emptied:
        message = f"the rollout of {named(candidate, situation)} stands still"
        return Hold(Reason.SCALED_TO_ZERO, sentences(message, "to go on: raise spec.replicas"))
    if candidate.record.size == 0:
        return None
    return Mark(candidate.name, record=candidate.record.suspended(moment.now))


def brought_back(situation: Situation, moment: Moment) -> Verdict | None:
    """After a suspension the champion comes first; the rollout goes on once it is back, or does not come back."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or candidate.record.suspended_since is None or situation.emptied:
        return None
    wanted = situation.target and max(1, situation.target - candidate.record.unavailable)
    if champion is not None and champion.available < wanted:
        since = situation.returning_since
        if since is None or not moment.reached(since + situation.progress_deadline):
            return None
    return Mark(candidate.name, record=candidate.record.resumed(moment.now))


def steps(situation: Situation, moment: Moment) -> Verdict | None:
    """Go one step on with a candidate whose strategy has steps between its start and its promotion."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or champion is None or situation.target == 0 or situation.returning:
        return None
    found = STRATEGIES[candidate.record.strategy].advance(situation, champion, candidate, moment)
    if found is None or isinstance(found, Hold):
        return found
    return Mark(candidate.name, found.message, record=found.record, reason=found.reason if found.message else "")


def complete(situation: Situation, moment: Moment) -> Verdict | None:
    """Promote a candidate that has all that its strategy asks for."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None:
        return None
    certain = candidate.available >= situation.target
    if champion is None and situation.unaware_of:
        lost = " ".join(revision.name for revision in situation.unaware_of)
        return Hold(
            Reason.RECORD_MISSING,
            sentences(
                f"{named(candidate, situation)} was rolled back once, but there is no ControllerRevision of the "
                "version that it was rolled back to: nothing is promoted until that is restored",
                f"if it is lost for good: change spec.model, or: kubectl delete controllerrevision {lost} "
                f"-n {situation.namespace}",
            ),
        )
    if situation.emptied:
        return None
    if situation.target == 0:
        rule = Rule.parse(candidate.record.promoting) if candidate.promotion_stands else Rule(Kind.NO_REPLICAS)
    elif candidate.perhaps_available < situation.target:
        return None
    elif champion is None:
        rule = Rule(Kind.FIRST)
    else:
        found = STRATEGIES[candidate.record.strategy].complete(situation, champion, candidate, moment)
        if found is None:
            return None
        if isinstance(found, Rule) and not found.stands:
            found = ended_lately(situation, candidate, moment) or found
        waits = situation.paused or isinstance(found, Hold)
        if waits and certain and candidate.record.available_at is None:
            # From here on it waits for a person: a lost pod no longer makes the deadline count.
            return Mark(candidate.name, record=candidate.record.available(moment.now))
        if isinstance(found, Hold):
            return found
        rule = found
    if situation.paused:
        return Hold(Reason.PAUSED, sentences(f"{named(candidate, situation)} is ready to be promoted, and is paused"))
    if not certain:
        return None
    return Mark(candidate.name, available(candidate.available, situation.target), Outcome.PROMOTED, rule)


GATES: tuple[Gate, ...] = (
    unroutable,
    restored,
    champion_down,
    crashed,
    ends_counted,
    ended_twice,
    environment,
    emptied,
    brought_back,
    deadline,
    lost,
    command_gate,
    spec_left_rejected,
    spec_left_candidate,
    request_fulfilled,
    request_outlived,
    harm,
    unreachable,
    too_late,
    steps,
    complete,
    start,
)


WHILE_SUSPENDED: tuple[Gate, ...] = (suspended, command_gate)
"""The gates while suspended: nothing is decided, except that a command has to wait."""


UNTIL_MENDED: tuple[Gate, ...] = (champion_down, unreadable)
"""Those that are asked while a record that matters cannot be read."""


def first_verdict(situation: Situation, moment: Moment) -> Verdict | None:
    """What the first gate that decides something says; a Hold stands when none does, and stops no person."""
    held: Hold | None = None
    gates = UNTIL_MENDED if situation.unreadable else GATES
    for gate in WHILE_SUSPENDED if situation.spec.suspend else gates:
        verdict = gate(situation, moment)
        if isinstance(verdict, Hold):
            held = held or verdict
        elif verdict is not None:
            return verdict
    return held
