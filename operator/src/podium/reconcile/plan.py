"""The planner: from what was observed and the time to everything that is to be written. Pure.

Decisions come first (outcomes, new revisions), then the Services, then the pods, then what is no longer needed:
traffic leaves before capacity does.
"""

from dataclasses import dataclass
from datetime import datetime

from podium.build.fetch import Fetcher
from podium.kube.client import Object
from podium.kube.resources import HPAS, Resource
from podium.reconcile import children
from podium.reconcile.children import Scale
from podium.reconcile.decide import Entry, Note, decide
from podium.reconcile.observe import Observed
from podium.rollout.moment import Moment
from podium.rollout.record import CommandRecord
from podium.rollout.sizing import sizes
from podium.rollout.state import Situation
from podium.rollout.strategies import Sizes
from podium.rollout.verdict import Hold, Refuse


@dataclass(frozen=True)
class Plan:
    """All writes of one pass but status, in their order."""

    situation: Situation
    """As it will be once the decisions are written."""
    sizes: Sizes
    entries: tuple[Entry, ...] = ()
    services: tuple[Object, ...] = ()
    released: tuple[tuple[Resource, str], ...] = ()
    """HPAs that must let go before their Deployments are sized."""
    workloads: tuple[Scale, ...] = ()
    policies: tuple[Object, ...] = ()
    """HPAs and the PodDisruptionBudget."""
    removals: tuple[tuple[Resource, str], ...] = ()
    notes: tuple[Note, ...] = ()
    """Events that no durable record stands behind."""
    hold: Hold | None = None
    refusal: Refuse | None = None
    wake_at: datetime | None = None


def plan(observed: Observed, moment: Moment, fetcher: Fetcher) -> Plan | None:
    """What to write now; None when nothing may be planned (deletion, an unreadable spec)."""
    if observed.deleting or observed.situation is None:
        return None
    decisions = decide(observed, observed.situation, moment, fetcher)
    situation, revisions = decisions.situation, decisions.revisions
    wanted = sizes(situation, moment)
    return Plan(
        situation=situation,
        sizes=wanted,
        entries=tuple(decisions.entries),
        services=children.services(observed.owner, situation, wanted, revisions),
        released=tuple(
            (HPAS, name)
            for (resource, name) in observed.children
            if resource is HPAS and (name not in wanted.targets or not wanted.targets[name].autoscaled)
        ),
        workloads=children.workloads(observed, situation, wanted, revisions),
        policies=children.policies(observed.owner, situation, wanted),
        removals=children.removals(observed, situation, wanted),
        notes=_refused(decisions.refusal) + _replicas_ignored(observed, situation),
        hold=decisions.hold,
        refusal=decisions.refusal,
        wake_at=moment.wake_at,
    )


def _refused(refusal: Refuse | None) -> tuple[Note, ...]:
    return (Note("CommandRefused", refusal.message, "Command", warning=True),) if refusal else ()


def _replicas_ignored(observed: Observed, situation: Situation) -> tuple[Note, ...]:
    before = observed.replicas_before
    champion = situation.champion
    if situation.spec.autoscaling is None or champion is None or before in (None, situation.spec.replicas):
        return ()
    text = f"spec.replicas {situation.spec.replicas} is ignored: HorizontalPodAutoscaler {champion.name} decides"
    return (Note("ReplicasIgnored", text, "Scale", champion.name, warning=True),)


def command_of(situation: Situation) -> CommandRecord | None:
    """The newest command that any revision recorded."""
    return max((r.command for r in situation.revisions if r.command), key=lambda c: c.at, default=None)
