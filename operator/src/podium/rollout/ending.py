"""Gates on containers of a candidate that end by themselves while it is analysed. Pure.

A server that ends takes what it was answering with it, and its pod is soon ready again: neither its errors nor a crash
loop may show it. So a second end rolls back, and the first holds the promotion for a while.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from podium.api import names
from podium.api.reasons import Reason
from podium.rollout.ends import HOLDS, Ends
from podium.rollout.kept import no_way_back, stands
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.rule import Kind, Rule
from podium.rollout.verdict import Hold, Mark, Verdict
from podium.rollout.words import lasted, named, times

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation

CONTAINER = f"container {names.MODEL_CONTAINER}"


def ends_counted(situation: Situation, moment: Moment) -> Verdict | None:
    """A gate: record what ended since the candidate's first weight, and tell of what is the candidate's."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or champion is None or not candidate.record.asked:
        return None
    record, before = candidate.record, candidate.record.ends
    if before is None:
        if not _has_weight(situation, candidate):
            return None
        return Mark(candidate.name, record=replace(record, ends=Ends.begun(candidate.pods, champion.pods)))
    ends = before.after(candidate.pods, champion.pods, moment.now)
    if ends is before:
        return None
    noted = replace(record, ends=ends)
    if ends.candidate == before.candidate or ends.are_evidence:
        return Mark(candidate.name, record=noted)
    message = f"its {CONTAINER} ended by itself under analysis ({ends.how}): it is not promoted for {lasted(HOLDS)}"
    if not ends.champion:
        message += "; a second end rolls it back"
    return Mark(candidate.name, message, record=noted, reason=Reason.CONTAINER_ENDED)


def _has_weight(situation: Situation, candidate: RevisionState) -> bool:
    record = candidate.record
    given = record.weighed_at is not None and (record.weight > 0 or bool(record.promoting))
    return given or situation.traffic.serves(candidate.name)


def ended_twice(situation: Situation, moment: Moment) -> Verdict | None:
    """A gate: a second end rolls the candidate back, unless the champion's containers ended, too."""
    candidate, champion = situation.candidate, situation.champion
    ends = candidate.record.ends if candidate is not None else None
    if candidate is None or champion is None or ends is None or not ends.are_evidence:
        return None
    times_ended, other = times(ends.candidate), named(champion, situation)
    message = f"its {CONTAINER} ended by itself {times_ended} under analysis ({ends.how}), that of {other} did not"
    if situation.champion_down_since is not None:
        return Hold(Reason.CHAMPION_UNAVAILABLE, no_way_back(situation, message))
    if candidate.promotion_stands:
        return stands(situation, candidate, message)
    return Mark(candidate.name, message, Outcome.ROLLED_BACK, Rule(Kind.CRASH, Reason.CONTAINER_ENDED))


def ended_lately(situation: Situation, candidate: RevisionState, moment: Moment) -> Hold | None:
    """Why nothing but a person promotes the candidate now: one of its containers ended a short while ago."""
    ends = candidate.record.ends
    if ends is None or ends.hold_until is None or moment.reached(ends.hold_until):
        return None
    until, who = ends.hold_until.strftime("%H:%M:%SZ"), f"{CONTAINER} of {named(candidate, situation)}"
    return Hold(
        Reason.CONTAINER_ENDED,
        f"{who} ended by itself under analysis ({ends.how}), and what it was answering is missing in the counts: it is "
        f"not promoted before {until}",
    )
