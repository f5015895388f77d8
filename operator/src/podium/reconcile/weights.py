"""Which share of the requests each revision has, in whole percent, and what a rollout by steps waits for. Pure."""

from collections.abc import Mapping
from datetime import datetime

from podium.rollout.moment import Moment
from podium.rollout.record import RolloutRecord
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation
from podium.rollout.traffic import WHOLE, Applied, Split

ALL = 100
"""Percent."""


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
    said = "not confirmed yet" if has is None else f"{has} % applied"
    weight = f"{record.weight} % asked, {said}"
    if record.promoting:
        return f"promoted ({record.promoting}), {weight}; all requests move once it has {situation.target} pods"
    if situation.paused:
        return f"{_place(record)}: {weight}"
    return f"{_place(record)}: {weight}{_until(record, situation.deadline, moment)}"


def _place(record: RolloutRecord) -> str:
    return f"step {min(record.step + 1, len(record.steps))} of {len(record.steps)}"


def _until(record: RolloutRecord, deadline: datetime | None, moment: Moment) -> str:
    holds_until = record.holds_until
    if holds_until is not None and not moment.reached(holds_until):
        return f" until {holds_until:%H:%M:%SZ}"
    if record.step >= len(record.steps):
        return "; all steps are over"
    if record.available_at is None and deadline is not None:
        return f"; its pods are awaited until {deadline:%H:%M:%SZ}"
    return "; waits until that is applied"
