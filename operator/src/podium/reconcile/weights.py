"""Which share of the requests each revision has, in whole percent, and what a rollout by steps waits for. Pure."""

from collections.abc import Mapping

from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.revision import RevisionState
from podium.rollout.rule import Kind, Rule
from podium.rollout.state import Situation
from podium.rollout.traffic import WHOLE, Applied, Split
from podium.rollout.words import count, sentences

ALL = 100
"""Percent."""
PROMOTED = {
    Kind.PERSON: "a person promoted it",
    Kind.STEPS_COMPLETE: "it was promoted after its last step",
    Kind.EVIDENCE: "it was promoted by evidence",
    Kind.MAX_DURATION: "it was promoted at the end of maxDuration (onInconclusive is Promote)",
}
"""How a candidate was promoted that has yet to grow before all requests move to it."""


def shares(situation: Situation, split: Split) -> Mapping[str, int]:
    """Percent by revision; who is not in it has none. Where pods make the shares, by those that are available."""
    weights = split.weights
    if not situation.exact and len(weights) > 1:
        weights = Split.by_pods({r.name: r.reported for r in situation.revisions if r.name in weights}).weights
    found = {name: round(ALL * weight / WHOLE) for name, weight in weights.items()}
    if found:
        largest = max(found, key=lambda name: found[name])
        found[largest] += ALL - sum(found.values())
    return found


def applied(situation: Situation, split: Split, revision: RevisionState) -> int | None:
    """Percent that the router confirms for the revision; None while it does not."""
    if situation.traffic.applied(Split(split.weights)) is not Applied.YES:
        return None
    return shares(situation, split).get(revision.name, 0)


def step_told(situation: Situation, split: Split, candidate: RevisionState, moment: Moment) -> str:
    """Where a rollout is in its steps, what share is asked for and applied, and what it waits for until when."""
    record, has = candidate.record, applied(situation, split, candidate)
    if record.promoting:
        return f"{_promoted(record)}; all requests move to it once it has {count(situation.target, 'pod')}"
    said = "not in effect yet" if has is None else f"{has} % in effect"
    told = f"{_place(record, situation, moment)}: {record.weight} % of the requests asked for, {said}"
    awaited = not situation.paused and record.applied_at is None and record.available_at is None
    if awaited and situation.deadline is not None and record.step < len(record.steps):
        return sentences(told, f"its pods have until {situation.deadline:%H:%M:%SZ}")
    return told


def _promoted(record: RolloutRecord) -> str:
    rule = Rule.parse(record.promoting)
    return PROMOTED.get(rule.kind, f"it was promoted (rule {rule})")


def _place(record: RolloutRecord, situation: Situation, moment: Moment) -> str:
    """Which step, and until when it lasts, as far as that is known: not while it is paused."""
    if record.step >= len(record.steps):
        return "its last step is over"
    place, until = f"step {record.step + 1} of {len(record.steps)}", record.holds_until
    if situation.paused:
        return place
    if until is not None and not moment.reached(until):
        return f"{place} until {until:%H:%M:%SZ}"
    return f"{place} waits for its share"
