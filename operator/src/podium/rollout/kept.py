"""Why a candidate is kept although something speaks against it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podium.api.reasons import Reason
from podium.rollout.verdict import Hold
from podium.rollout.words import named, sentences

if TYPE_CHECKING:
    from podium.rollout.revision import RevisionState
    from podium.rollout.state import Situation


def no_way_back(situation: Situation, sentence: str) -> str:
    """Why a candidate is not rolled back although `sentence` speaks against it: nobody else could serve."""
    who = named(situation.champion, situation) if situation.champion else "the champion"
    return sentences(f"{who} has no available pod, so there is nothing to roll back to: {sentence}")


def stands(situation: Situation, candidate: RevisionState, sentence: str) -> Hold:
    """A person decided: what speaks against it is told, and the rest is theirs."""
    told_so = f"a person promoted {named(candidate, situation)}, so it is not rolled back automatically: {sentence}"
    way = f"to give it up: {situation.how_to('abort', candidate)}"
    return Hold(Reason.PROMOTION_STANDS, sentences(told_so, way))
