"""The children that a ModelDeployment should have now, and those that should go. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from podium import names
from podium.build.owner import Owner
from podium.build.revision import Revision
from podium.build.scaling import hpa, pdb
from podium.build.service import preview_service, stable_service
from podium.build.workload import deployment
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, PDBS, SERVICES, Resource
from podium.reconcile.observe import Observed
from podium.rollout.state import Situation
from podium.rollout.strategies import Sizes


@dataclass(frozen=True)
class Scale:
    """A Deployment, and the number of pods to hand over to an HPA just before it (None: no hand-over)."""

    obj: Object
    handover: int | None = None


def services(owner: Owner, situation: Situation, wanted: Sizes, revisions: dict[str, Revision]) -> tuple[Object, ...]:
    """The stable Service, and the preview Service where a strategy has one."""
    lead = situation.champion or situation.candidate
    if lead is None:
        return ()
    found = [stable_service(owner, revision=wanted.stable, ports=revisions[lead.name].ports)]
    if wanted.preview is not None:
        found.append(preview_service(owner, revision=wanted.preview, ports=revisions[wanted.preview].ports))
    return tuple(found)


def workloads(
    observed: Observed, situation: Situation, wanted: Sizes, revisions: dict[str, Revision]
) -> tuple[Scale, ...]:
    """The Deployments, in the order in which they are written: who gives before who takes."""
    steps = []
    for name, target in wanted.targets.items():
        state = next(r for r in situation.revisions if r.name == name)
        replicas: int | None = target.replicas
        handover = None
        if target.autoscaled and state.workload is not None:
            replicas = None
            handover = None if state.has_hpa else state.replicas
        obj = deployment(
            observed.owner,
            revisions[name],
            replicas=replicas,
            min_ready_seconds=situation.min_ready_seconds,
        )
        steps.append(Scale(obj, handover))
    return tuple(steps)


def policies(owner: Owner, situation: Situation, wanted: Sizes) -> tuple[Object, ...]:
    """The HPAs of those that an HPA sizes, and the PodDisruptionBudget."""
    spec = situation.spec
    found = []
    for name, target in wanted.targets.items():
        state = next(r for r in situation.revisions if r.name == name)
        if target.autoscaled and spec.autoscaling is not None and state.workload is not None:
            found.append(
                hpa(owner, name, spec.autoscaling, min_replicas=target.min_replicas, scale_down=target.scale_down)
            )
    if wanted.targets and _wants_pdb(situation):
        found.append(pdb(owner, spec.disruption))
    return tuple(found)


def _wants_pdb(situation: Situation) -> bool:
    autoscaling = situation.spec.autoscaling
    return (autoscaling.max_replicas if autoscaling else situation.spec.replicas) >= 2


def removals(observed: Observed, situation: Situation, wanted: Sizes) -> tuple[tuple[Resource, str], ...]:
    """What is no longer needed: traffic's first, then capacity, then records beyond the history limit."""
    live = observed.children
    gone: list[tuple[Resource, str]] = []
    preview = f"{observed.owner.name}{names.PREVIEW_SUFFIX}"
    if wanted.preview is None and (SERVICES, preview) in live:
        gone.append((SERVICES, preview))
    gone += [
        (resource, name)
        for (resource, name) in live
        if resource is DEPLOYMENTS and (name in wanted.removals or _unknown(situation, name))
    ]
    if not _wants_pdb(situation) and (PDBS, observed.owner.name) in live:
        gone.append((PDBS, observed.owner.name))
    gone += [(CONTROLLER_REVISIONS, name) for name in _forgotten(situation, wanted)]
    return tuple(gone)


def _unknown(situation: Situation, name: str) -> bool:
    """A Deployment whose ControllerRevision somebody deleted goes once the champion serves in full without it."""
    champion = situation.champion
    known = any(r.name == name for r in situation.revisions)
    serves = champion is not None and situation.candidate is None and champion.available >= situation.size
    return not known and serves and (situation.traffic_moved or situation.size == 0)


def _forgotten(situation: Situation, wanted: Sizes) -> Sequence[str]:
    """Decided revisions beyond the history limit, oldest decision first; those with pods or a role stay.

    So does one whose command still stands in the annotation: without its record it would be acted on again.
    """
    roles = {r.name for r in (situation.champion, situation.candidate, situation.rejected, situation.warm) if r}
    roles |= {r.name for r in situation.revisions if r.command and r.command.value == situation.command}
    roles |= {situation.paused_by.name} if situation.paused_by else set()
    old = [
        r
        for r in situation.revisions
        if r.decided_at
        and not r.unreadable
        and r.name not in roles
        and r.name not in wanted.targets
        and not r.workload
        and not r.pods
    ]
    old.sort(key=lambda r: (r.decided_at, r.number))
    return [r.name for r in old[: max(0, len(old) - situation.spec.rollout.revision_history_limit)]]
