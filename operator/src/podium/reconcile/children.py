"""The children that a ModelDeployment should have now, and those that should go, as writes. Pure."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS, PDBS, SERVICES
from podium.manifests.owner import Owner
from podium.manifests.revision import Revision
from podium.manifests.scaling import hpa, pdb
from podium.manifests.workload import deployment
from podium.reconcile.ledgers import ledgers
from podium.reconcile.observed import Observed
from podium.reconcile.readings import controller_of, unowned
from podium.reconcile.routers import ROUTERS, Ask
from podium.reconcile.writes import Apply, Claim, Place, Remove, Seek, Stage, Told, Write
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation
from podium.rollout.strategies import Move, Target


@dataclass(frozen=True)
class Wanted:
    """What the children follow from."""

    observed: Observed
    situation: Situation
    move: Move
    revisions: Mapping[str, Revision]
    moment: Moment

    @property
    def owner(self) -> Owner:
        """The ModelDeployment."""
        return self.observed.owner

    @property
    def serving(self) -> frozenset[Place]:
        """What must stand before anything that serves may shrink or go: the stable Service, the champion's pods."""
        champion = self.situation.champion
        pods = {(DEPLOYMENTS, champion.name)} if champion else set()
        told = {(CONFIG_MAPS, names.routing_name(self.owner.name))} if self.situation.exact else set()
        return frozenset({(SERVICES, self.owner.name)} | told | pods)

    def state(self, name: str) -> RevisionState:
        """A revision by its name."""
        return next(r for r in self.situation.revisions if r.name == name)


def writes(wanted: Wanted) -> list[Write]:
    """All writes of children, in the order in which they are to be made."""
    found = [*_records(wanted.observed), *ledgers(wanted.observed, wanted.situation)]
    found += [*_traffic(wanted), *_released(wanted), *_workloads(wanted)]
    found += [*_policies(wanted), *_removals(wanted)]
    return sorted(found, key=lambda write: write.stage)


def _records(observed: Observed) -> Iterator[Write]:
    """ControllerRevisions that are orphans or lack a label, and those of which only the Deployment is known."""
    for (resource, name), live in observed.children.items():
        if resource is CONTROLLER_REVISIONS:
            wanted = names.revision_labels(observed.owner.name, name).items()
            if controller_of(live) is None or not wanted <= (live["metadata"].get("labels") or {}).items():
                yield Write(Stage.RECORD, resource, name, Claim())
        elif resource is DEPLOYMENTS and observed.child(CONTROLLER_REVISIONS, name) is None:
            yield Write(Stage.RECORD, CONTROLLER_REVISIONS, name, Seek())


def _traffic(wanted: Wanted) -> Iterator[Write]:
    """What the router needs."""
    observed, situation = wanted.observed, wanted.situation
    lead = situation.champion or situation.candidate
    if lead is None or observed.seen is None:
        return
    in_turn = sorted(situation.revisions, key=lambda r: -r.number)
    has_pods = {r.name for r in in_turn if r.workload is not None and r.name not in wanted.move.removals}
    ask = Ask(
        owner=wanted.owner,
        split=wanted.move.split,
        ports={name: revision.ports for name, revision in wanted.revisions.items()},
        lead=lead.name,
        settings=situation.spec.traffic,
        moment=wanted.moment,
        seen=observed.seen,
        traffic=situation.traffic,
        known=tuple(r.name for r in in_turn if r.name in has_pods | wanted.move.targets.keys()),
        capacity=situation.capacity,
        rejected=frozenset(r.name for r in in_turn if r.outcome is Outcome.ROLLED_BACK),
        port=observed.port,
        refused=observed.refused,
        unreachable=bool(observed.unreachable),
        live=observed.children,
        drain=situation.timings.router_drain,
    )
    yield from ROUTERS[situation.spec.traffic.router].writes(ask)


def _released(wanted: Wanted) -> Iterator[Write]:
    """HPAs that must let go before their Deployments are sized."""
    for resource, name in wanted.observed.children:
        target = wanted.move.targets.get(name)
        if resource is HPAS and (target is None or not target.autoscaled):
            yield Write(Stage.ROOM, HPAS, name, Remove(), Told.SCALING)


def _workloads(wanted: Wanted) -> Iterator[Write]:
    """The Deployments; a shrink makes room for what is named after it and grows."""
    targets = list(wanted.move.targets.items())
    given: set[Place] = set()
    for index, (name, target) in enumerate(targets):
        state = wanted.state(name)
        if not _shrinks(state, target):
            yield _grown(wanted, state, target, given)
            continue
        grow = any(_grows(wanted.state(other), size) for other, size in targets[index + 1 :])
        yield _shrunk(wanted, state, target, Stage.ROOM if grow else Stage.SHRINK)
        given.add((DEPLOYMENTS, name))


def _grown(wanted: Wanted, state: RevisionState, target: Target, given: Set[Place]) -> Write:
    """A Deployment that is made, repaired or enlarged: a candidate's only into the room that others have `given`."""
    handover = None if state.has_hpa else state.replicas
    scaled = target.autoscaled and state.workload is not None
    obj = _deployment(wanted, state, None if scaled else target.replicas)
    action, needs = Apply(obj, handover if scaled else None), frozenset[Place]()
    if state is wanted.situation.candidate and _grows(state, target):
        needs = frozenset(given)
        action = replace(action, meanwhile=_deployment(wanted, state, state.replicas) if state.workload else None)
    return Write(Stage.GROW, DEPLOYMENTS, state.name, action, needs=needs)


def _shrunk(wanted: Wanted, state: RevisionState, target: Target, stage: Stage) -> Write:
    needs = wanted.serving - {(DEPLOYMENTS, state.name)} | {(HPAS, state.name)}
    meanwhile = _deployment(wanted, state, state.replicas)
    action = Apply(_deployment(wanted, state, target.replicas), meanwhile=meanwhile)
    return Write(stage, DEPLOYMENTS, state.name, action, needs=needs)


def _shrinks(state: RevisionState, target: Target) -> bool:
    return state.workload is not None and not target.autoscaled and target.replicas < state.workload.live


def _grows(state: RevisionState, target: Target) -> bool:
    return not target.autoscaled and target.replicas > (state.workload.live if state.workload else 0)


def _deployment(wanted: Wanted, state: RevisionState, replicas: int | None) -> Object:
    return deployment(
        wanted.owner,
        wanted.revisions[state.name],
        replicas=replicas,
        min_ready_seconds=wanted.situation.min_ready_seconds(state),
    )


def _policies(wanted: Wanted) -> Iterator[Write]:
    """The HPAs of those that an HPA sizes, and the PodDisruptionBudget."""
    spec, owner = wanted.situation.spec, wanted.owner
    for name, target in wanted.move.targets.items():
        if target.autoscaled and spec.autoscaling is not None and wanted.state(name).workload is not None:
            obj = hpa(owner, name, spec.autoscaling, min_replicas=target.min_replicas, scale_down=target.scale_down)
            needs = frozenset({(DEPLOYMENTS, name)})
            yield Write(Stage.POLICY, HPAS, name, Apply(obj), Told.SCALING, needs)
    if wanted.move.targets and _wants_pdb(wanted.situation):
        yield Write(Stage.POLICY, PDBS, owner.name, Apply(pdb(owner, spec.disruption)), Told.DISRUPTION)


def _wants_pdb(situation: Situation) -> bool:
    autoscaling = situation.spec.autoscaling
    return (autoscaling.max_replicas if autoscaling else situation.spec.replicas) >= 2


def _removals(wanted: Wanted) -> Iterator[Write]:
    """What is no longer needed: traffic's first, then capacity, then records beyond the history limit."""
    live, situation, move = wanted.observed.children, wanted.situation, wanted.move
    preview = f"{wanted.owner.name}{names.PREVIEW_SUFFIX}"
    if move.split.preview is None and (SERVICES, preview) in live:
        yield Write(Stage.REMOVE, SERVICES, preview, Remove(), Told.MESSAGE)
    restored = unowned(live.values(), wanted.owner)
    for resource, name in live:
        gone = name in move.removals or (_unknown(situation, name) and name not in restored)
        if resource is DEPLOYMENTS and gone:
            needs = wanted.serving - {(DEPLOYMENTS, name)}
            yield Write(Stage.REMOVE, DEPLOYMENTS, name, Remove(_emptied(wanted, name)), Told.MESSAGE, needs)
    if not _wants_pdb(situation) and (PDBS, wanted.owner.name) in live:
        yield Write(Stage.REMOVE, PDBS, wanted.owner.name, Remove(), Told.MESSAGE)
    for name in _forgotten(situation, move):
        yield Write(Stage.REMOVE, CONTROLLER_REVISIONS, name, Remove(), Told.MESSAGE)


def _emptied(wanted: Wanted, name: str) -> Object | None:
    """The Deployment without pods; None for one whose record is gone, and its template with it."""
    if all(revision.name != name for revision in wanted.situation.revisions):
        return None
    return _deployment(wanted, wanted.state(name), 0)


def _unknown(situation: Situation, name: str) -> bool:
    """A Deployment whose ControllerRevision somebody deleted goes once the champion serves in full without it."""
    champion = situation.champion
    known = any(r.name == name for r in situation.revisions)
    serves = champion is not None and situation.candidate is None and champion.available >= situation.size
    return not known and serves and (situation.traffic_moved or situation.size == 0)


def _forgotten(situation: Situation, wanted: Move) -> Sequence[str]:
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
