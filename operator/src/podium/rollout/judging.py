"""What evidence says of the candidate now, in the words of the analysis, with what only the rollout knows. Pure.

Harm rolls back at any time. Whatever is missing holds: no step, no promotion. Promotion is the strategy's to ask for,
once its steps are over.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from podium.analysis.decision import Call, Circumstances, Decision, decide
from podium.analysis.expect import Traffic, seconds_to_promotion
from podium.api.reasons import Reason
from podium.api.v1alpha1 import parse_duration
from podium.rollout.ending import ended_lately
from podium.rollout.kept import no_way_back, stands
from podium.rollout.measuring import unread
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome, RolloutRecord
from podium.rollout.rule import Kind, Rule
from podium.rollout.sentences import by_version, rolled_back, step_told
from podium.rollout.verdict import Hold, Mark, Verdict
from podium.rollout.words import lasted, named, per_second, sentences, span

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation

REASONS = {"sample-ratio": Reason.SAMPLE_RATIO, "no-data": Reason.NO_DATA}
"""By the rule of a decision that holds."""


def judged(situation: Situation, candidate: RevisionState, moment: Moment) -> Decision | None:
    """The decision at this moment; None where the rollout is not analysed, or nothing has been counted yet."""
    record, found = candidate.record, situation.findings
    if not record.asked or found is None or found.live is None:
        return None
    if record.asked.awaited and record.weighed_at is None:
        return None
    return decide(
        found.live.ledger.plan,
        found.live.state,
        Circumstances(
            steps_over=record.step >= len(record.steps),
            time_over=_over(situation, candidate, moment),
            holds=found.holds,
        ),
    )


def missing(situation: Situation, candidate: RevisionState) -> Hold | None:
    """Why a rollout that is analysed may go no step further now: nothing has been read from the routers."""
    record, found = candidate.record, situation.findings
    if not record.asked.awaited:
        return None
    if not situation.exact:
        way = f"to go on: set it back to Envoy, or give the rollout up: {situation.how_to('abort', candidate)}"
        left = situation.spec.traffic.router == "None"
        return Hold(Reason.NO_DATA, sentences(f"there is no evidence: {_passed_by(situation)}", way if left else ""))
    if found is None or found.live is None:
        holds = found.holds if found is not None and found.holds else unread(record.asked)
        why = "; ".join(by_version(each, situation) for each in holds)
        return Hold(Reason.NO_DATA, sentences(f"there is no evidence yet: {why}"))
    if record.weighed_at is None and not found.kept:
        return Hold(Reason.NO_DATA, "There is no evidence yet: its ledger is not written yet.")
    return None


def too_little(situation: Situation, record: RolloutRecord) -> str:
    """What is told as evidence begins: that maxDuration is likely to end before it, at the traffic so far.

    Empty where it is not, and where the traffic is not known. The candidate is taken to get its largest weight.
    """
    live = situation.findings.live if situation.findings else None
    weights = [step.weight for step in record.steps if step.weight is not None]
    if live is None or not weights:
        return ""
    rate, share = live.traffic.champion + live.traffic.candidate, max(weights) / 100
    seconds = seconds_to_promotion(live.ledger.plan, live.state, Traffic(rate * (1 - share), rate * share))
    limit = situation.spec.rollout.max_duration
    if not rate or seconds <= parse_duration(limit):
        return ""
    left = f"some {span(seconds)}" if math.isfinite(seconds) else "longer than can be told"
    return (
        f"at {per_second(rate)} evidence takes {left}, and maxDuration is {limit}: then onInconclusive "
        f"({situation.spec.rollout.on_inconclusive}) decides; set spec.rollout.analysis.metrics to [] to go by the "
        "steps alone"
    )


def held(situation: Situation, candidate: RevisionState, moment: Moment) -> Hold | None:
    """Why evidence lets the rollout go no step further now; None if nothing is missing."""
    if not candidate.record.asked.awaited:
        return None
    waits = missing(situation, candidate)
    if waits is not None:
        return waits
    decision = judged(situation, candidate, moment)
    if decision is None or decision.call is not Call.HOLD:
        return None
    way = f"once that is mended: {situation.how_to('resume', candidate)}" if decision.splits_wrongly else ""
    return Hold(REASONS[decision.rule], sentences(by_version(decision.message, situation), way))


def asks_a_person(situation: Situation, candidate: RevisionState, moment: Moment) -> bool:
    """Whether evidence has come to where only a person goes on: by the split, or as maxDuration is over (Pause)."""
    decision = judged(situation, candidate, moment) if candidate.record.asked.awaited else None
    if decision is None:
        return False
    undecided = decision.call is Call.INCONCLUSIVE and situation.spec.rollout.on_inconclusive == "Pause"
    return undecided or decision.splits_wrongly


def harm(situation: Situation, moment: Moment) -> Verdict | None:
    """A gate: a candidate that is surely worse is rolled back, paused or not, unless a person promoted it."""
    candidate = situation.candidate
    decision = judged(situation, candidate, moment) if candidate is not None else None
    if candidate is None or decision is None or decision.call is not Call.ROLL_BACK:
        return None
    if situation.champion_down_since is not None:
        return Hold(Reason.CHAMPION_UNAVAILABLE, no_way_back(situation, decision.message))
    if candidate.promotion_stands:
        return stands(situation, candidate, decision.message)
    worst = decision.rule.removeprefix("harm: ")
    return Mark(candidate.name, told(situation, candidate, decision), Outcome.ROLLED_BACK, Rule(Kind.HARM, worst))


def unreachable(situation: Situation, moment: Moment) -> Verdict | None:
    """A gate: a candidate whose ready pods say nothing for progressDeadline, while the champion's do, is rolled back.

    Where pods count, one that cannot be read cannot be stopped by its errors either.
    """
    candidate, found = situation.candidate, situation.findings
    if candidate is None or found is None or found.unread_since is None or candidate.ready == 0:
        return None
    if situation.champion_down_since is not None or candidate.promotion_stands:
        return None
    since = datetime.fromtimestamp(found.unread_since, UTC)
    if not moment.reached(since + situation.progress_deadline):
        return None
    limit = lasted(situation.progress_deadline)
    sentence = f"its pods are ready, but their metrics could not be read for {limit} (the champion's could)"
    sentence += f": {found.unreachable}" if found.unreachable else ""
    return Mark(candidate.name, sentence, Outcome.ROLLED_BACK, Rule(Kind.UNREACHABLE))


def too_late(situation: Situation, moment: Moment) -> Verdict | None:
    """A gate: maxDuration is over before evidence was enough, and onInconclusive says what becomes of it."""
    candidate = situation.candidate
    if candidate is None or situation.paused or candidate.record.promoting or situation.champion_down_since:
        return None
    record = candidate.record
    if not record.asked.awaited or not _over(situation, candidate, moment):
        return None
    decision = judged(situation, candidate, moment)
    if decision is not None and decision.call is Call.INCONCLUSIVE:
        why = decision.message.removeprefix("maxDuration is over: ")
    elif situation.exact or situation.spec.traffic.router != "None":
        return None  # figures that are missing, after a restart or an outage, may say something else once they come
    else:
        why = _passed_by(situation)
    limit = situation.spec.rollout.max_duration
    sentence = f"no decision within maxDuration {limit}: {why}"
    match situation.spec.rollout.on_inconclusive:
        case "Promote":
            waits = ended_lately(situation, candidate, moment)
            if waits is not None:
                return waits
            rule = Rule(Kind.MAX_DURATION)
            promoted = record.promoted(rule, moment.now, situation.operator)
            said = step_told(f"{sentence}; onInconclusive is Promote", rule, situation)
            return Mark(candidate.name, said, record=promoted, reason="Step")
        case "Pause":
            told_so = f"{named(candidate, situation)} waits for a person (onInconclusive is Pause): {sentence}"
            ways = [f"to {verb} it: {situation.how_to(verb, candidate)}" for verb in ("promote", "abort")]
            return Hold(Reason.INCONCLUSIVE, sentences(told_so, " or ".join(ways)))
    return Mark(candidate.name, sentence, Outcome.ROLLED_BACK, Rule(Kind.MAX_DURATION))


def _passed_by(situation: Situation) -> str:
    """Why nothing is counted where requests do not pass the routers."""
    if situation.spec.traffic.router == "None":
        return "spec.traffic.router is None now, and routers alone count the requests of this rollout"
    return "requests do not pass the routers, which alone count them"


def _over(situation: Situation, candidate: RevisionState, moment: Moment) -> bool:
    record = candidate.record
    lasted = record.lasted(moment.now)
    if lasted is None:
        return False
    left = timedelta(seconds=parse_duration(situation.spec.rollout.max_duration)) - lasted
    # While it is paused, or at a pause, nothing comes nearer, and nobody has to be woken for it.
    still = situation.paused or situation.returning or record.waits
    return left <= timedelta(0) if still else moment.reached(moment.now + left)


def ends_undecided(situation: Situation, candidate: RevisionState, moment: Moment) -> str:
    """When, and by what, a candidate that waits for a person is decided without one; empty where nothing does that."""
    decision = judged(situation, candidate, moment) if candidate.record.asked.awaited else None
    lasted = candidate.record.lasted(moment.now)
    if decision is None or lasted is None or decision.call is Call.PROMOTE:
        return ""
    limit = situation.spec.rollout.max_duration
    at = moment.now + timedelta(seconds=parse_duration(limit)) - lasted
    then = f"onInconclusive ({situation.spec.rollout.on_inconclusive}) decides"
    return f"if there is not enough evidence by {at:%Y-%m-%d %H:%M:%SZ}, when maxDuration ({limit}) is over, {then}"


def told(situation: Situation, candidate: RevisionState, decision: Decision) -> str:
    """Why it was rolled back, in one line."""
    found, champion = situation.findings, situation.champion
    if found is None or found.live is None or champion is None:
        return decision.message
    worst = decision.rule.removeprefix("harm: ")
    return rolled_back(found.live, decision, worst, champion=champion.version or champion.name)
