"""A resource of which a cluster has no spare piece: the candidate waits for what the champion's pods hold. Pure."""

import re

from podium.api.reasons import Reason
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation

INSUFFICIENT = re.compile(r"Insufficient ([a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?)")
"""How the scheduler names an extended resource (`example.com/device`) that no node has left."""


def awaited(revision: RevisionState) -> frozenset[str]:
    """Extended resources that pods of the revision wait for, by the scheduler's own words."""
    said = (failure.message for failure in revision.failures if failure.reason is Reason.UNSCHEDULABLE)
    return frozenset(found[0] for message in said for found in INSUFFICIENT.findall(message))


def scarcity(situation: Situation) -> str:
    """The sentence, if only pods of the champion's that give way let the candidate's be scheduled; else nothing."""
    champion, candidate = situation.champion, situation.candidate
    if champion is None or candidate is None or not situation.scarce:
        return ""
    facts = candidate.facts
    if facts.shares_traffic and candidate.record.surge == 0:
        return ""  # they do give way, one by one
    rolling = situation.spec.rollout.rolling_update
    way = "spec.rollout.rollingUpdate.maxSurge: 0"
    # Both 0 is refused: then no pod could ever be exchanged.
    way += " and maxUnavailable: 1" if rolling.max_unavailable in (0, "0%") else ""
    # Of one pod no part can be given away: neither for a BlueGreen nor for a canary's first step.
    if not facts.shares_traffic or (facts.preview and situation.target == 1):
        way = f"spec.rollout.strategy: RollingUpdate and {way}"
    holder = f"version {champion.version}" if champion.version else champion.name
    return f"waits for {situation.scarce}, which only {holder}'s pods hold; set {way}"
