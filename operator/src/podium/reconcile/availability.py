"""Condition Available: who serves and with how many pods, whatever Ready is about. Pure."""

from podium.api.reasons import Reason
from podium.reconcile.conditions import Facts, Summary
from podium.rollout.words import available as pods_available
from podium.rollout.words import count, named, sentences


def availability(facts: Facts, summary: Summary) -> tuple[Reason, str]:
    """Reason and message. While it is suspended, or scaled to zero, they say so: that is why no pod serves."""
    if summary.available_as is not None:
        return summary.available_as
    s = facts.situation
    if summary.available:
        serving = [r for r in s.revisions if r.name in facts.serving and r.reported]
        serving = serving or [r for r in (s.champion,) if r is not None]  # routers that have not been told yet
        serving.sort(key=lambda revision: (revision is not s.champion, revision.number))
        return Reason.AVAILABLE, sentences(*(f"{named(r, s)} serves with {count(r.reported, 'pod')}" for r in serving))
    if s.champion is not None:
        has = pods_available(s.champion.reported, facts.wanted)
        return Reason.NO_AVAILABLE_POD, sentences(f"{named(s.champion, s)} has {has}")
    if s.candidate is not None:
        has = pods_available(s.candidate.reported, s.size)
        return Reason.NO_AVAILABLE_POD, sentences(f"no version serves yet: {named(s.candidate, s)} has {has}")
    return Reason.NO_AVAILABLE_POD, sentences("no version serves yet: none has been rolled out")
