"""Condition Available: who serves and with how many pods, whatever Ready is about. Pure."""

from collections.abc import Mapping

from podium.api.reasons import Reason
from podium.kube.client import Object
from podium.reconcile.conditions import Facts, Summary
from podium.rollout.words import available as pods_available
from podium.rollout.words import count, named, sentences


def availability(facts: Facts, summary: Summary) -> tuple[Reason, str]:
    """Reason and message. While it is suspended, or scaled to zero, they say so: that is why no pod serves."""
    if summary.available_as is not None:
        return summary.available_as
    s = facts.situation
    if facts.at_zero and s.champion is not None and not facts.champion_available:
        return Reason.SCALED_TO_ZERO, sentences(f"{named(s.champion, s)} is scaled to zero")
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


def as_counted(status: Object, deployments: Mapping[str, Object]) -> tuple[str, Reason, str] | None:
    """The condition where nothing can be planned: by what the Deployments report. None: it stays as it was.

    `status`: as it was. `deployments`: live ones by their names, which are those of the revisions.
    """
    champion, candidate = status.get("champion"), status.get("candidate") or {}
    live = deployments.get(champion["revision"]) if champion else None
    if champion is None or live is None or not live["spec"].get("replicas"):
        return None
    pods = {name: int((each.get("status") or {}).get("availableReplicas", 0)) for name, each in deployments.items()}
    who, has = f"version {champion['version']}", pods[champion["revision"]]
    if pods.get(candidate.get("revision", "")):
        return None  # it may serve, too
    if has:
        return "True", Reason.AVAILABLE, sentences(f"{who} serves with {count(has, 'pod')}")
    return "False", Reason.NO_AVAILABLE_POD, sentences(f"{who} has {pods_available(has, live['spec']['replicas'])}")
