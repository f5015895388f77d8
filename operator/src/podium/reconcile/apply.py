"""Carries out a plan: every write but status, each only if it would change something."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from podium import names
from podium.build.canonical import digest
from podium.build.owner import owner_reference
from podium.keys import Key
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, Resource, resource_of
from podium.reasons import Reason
from podium.reconcile.children import Scale
from podium.reconcile.decide import Entry, Note
from podium.reconcile.drift import Memory, conceded, differences, managers, project, sighting
from podium.reconcile.observe import Observed
from podium.reconcile.plan import Plan
from podium.reconcile.readings import controller_of, is_child, is_predecessors
from podium.settings import Settings

Place = tuple[Resource, str]


class Store(Protocol):
    """The part of the cache that is written here: read your writes."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """An object as it is kept."""
        ...

    def put(self, resource: Resource, obj: Object) -> bool:
        """Take in the answer to a write."""
        ...

    def drop(self, resource: Resource, obj: Object) -> bool:
        """Take note of a deletion."""
        ...


class Refused(Exception):
    """A child that cannot be written as things are: a condition, and nothing after it in the plan is done.

    `passing`: it will be possible soon, though nobody does anything.
    """

    def __init__(self, reason: Reason, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.passing = passing


@dataclass
class Report:
    """What came of a plan."""

    refused: Refused | None = None
    contested: list[str] = field(default_factory=list)
    """Sentences on fields that another writer keeps changing back."""
    terminating: bool = False
    """The namespace is going: nothing more is to be done, nor to be said."""
    again: bool = False
    """Look again at once: a child has gone and made room, or one was there that the plan knew nothing of."""


Emit = Callable[[Note], None]


class Applier:
    """Writes children; remembers per child what it applied last."""

    def __init__(self, client: KubeClient, cache: Store, settings: Settings) -> None:
        self._client = client
        self._cache = cache
        self._settings = settings
        self._memories: dict[Key, dict[Place, Memory]] = {}

    def forget(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        self._memories.pop(key, None)

    async def carry_out(self, plan: Plan, observed: Observed, now: datetime, emit: Emit) -> Report:
        """All writes of the plan in order. Raises ApiError for what passes by itself, NotLeader without the Lease."""
        writer = _Pass(self, observed, now)
        report = writer.report
        try:
            await writer.adopt_revisions()
            for entry in plan.entries:
                await writer.enter(entry)
                for note in entry.notes:
                    emit(note)
            for note in plan.notes:
                emit(note)
            for service in plan.services:
                await writer.ensure(service)
            for resource, name in plan.released:
                await writer.remove(resource, name)
            for scale in plan.workloads:
                await writer.scale(scale)
            for policy in plan.policies:
                await writer.ensure(policy)
            for resource, name in plan.removals:
                await writer.remove(resource, name)
        except Refused as refused:
            report.refused = refused
        except ApiError as error:
            if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
                report.terminating = True
                return report
            if error.passing:
                raise
            report.refused = _refused(error)
        return report

    def memories(self, observed: Observed) -> dict[Place, Memory]:
        """Of one ModelDeployment's children."""
        return self._memories.setdefault(Key(observed.owner.namespace, observed.owner.name), {})


class _Pass:
    def __init__(self, applier: Applier, observed: Observed, now: datetime) -> None:
        self._client = applier._client
        self._cache = applier._cache
        self._settings = applier._settings
        self._memories = applier.memories(observed)
        self._observed = observed
        self._live: dict[Place, Object] = dict(observed.children)
        self._now = now.timestamp()
        self.report = Report()

    async def adopt_revisions(self) -> None:
        """Orphaned revisions become this ModelDeployment's; other orphans do when they are next applied."""
        owner = self._observed.owner
        for (resource, name), live in self._observed.children.items():
            if resource is CONTROLLER_REVISIONS and controller_of(live) is None:
                meta = {"name": name, "namespace": owner.namespace, "ownerReferences": [owner_reference(owner)]}
                partial = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
                self._wrote(resource, await self._client.apply(partial))

    async def enter(self, entry: Entry) -> None:
        """Write one entry of the durable record."""
        namespace = self._observed.owner.namespace
        if entry.obj is not None:
            answer = await self._created(entry.obj)
            # Somebody deleted the record of a Deployment: the plan knew nothing of the pods that it has.
            self.report.again |= (DEPLOYMENTS, answer["metadata"]["name"]) in self._live
        else:
            live = self._live[(CONTROLLER_REVISIONS, entry.revision)]
            annotations: dict[str, str | None] = dict(entry.annotations)
            answer = await self._client.annotate(
                CONTROLLER_REVISIONS,
                namespace,
                entry.revision,
                annotations,
                resource_version=live["metadata"]["resourceVersion"],
            )
        self._wrote(CONTROLLER_REVISIONS, answer)

    async def _created(self, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        try:
            return await self._client.create(obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        owner = self._observed.owner
        live = await self._client.get(CONTROLLER_REVISIONS, owner.namespace, name)
        if live is not None and not is_child(live, owner):
            raise self._conflict(CONTROLLER_REVISIONS, live)
        if live is not None:
            self._wrote(CONTROLLER_REVISIONS, live)  # ours, and the cache had not seen it: the next pass knows it
        raise ApiError(409, "Conflict", f"ControllerRevision {name} exists already and was not yet known")

    async def scale(self, step: Scale) -> None:
        if step.handover is not None:
            meta = step.obj["metadata"]
            partial = {
                "apiVersion": step.obj["apiVersion"],
                "kind": step.obj["kind"],
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
                "spec": {"replicas": step.handover},
            }
            self._wrote(DEPLOYMENTS, await self._client.apply(partial, manager=names.HANDOVER_MANAGER))
            await self.ensure(step.obj, always=True)
            return
        await self.ensure(step.obj)

    async def ensure(self, desired: Object, *, always: bool = False) -> None:
        """Apply the child unless the live one is what the last apply of the same made of it."""
        resource, name = resource_of(desired), desired["metadata"]["name"]
        place = (resource, name)
        memory = self._memories.get(place)
        stamp = digest(desired)
        live = self._live.get(place)
        unknown = live is None
        if live is None:
            live = await self._look(resource, name)
        elif "deletionTimestamp" in live["metadata"]:
            return  # it is made anew once it has gone
        found = unknown and live is not None
        stamped = _stamped(desired, stamp)
        due = stamped
        if live is not None and not always:
            differing = await self._due(place, live, stamped, stamp)
            if differing is None:
                self.report.again |= found and self._wrote(resource, live)
                return
            due = differing
        answer = await self._client.apply(due)
        if due is stamped:
            repairs = memory.repairs if memory else {}
            made = project(answer, stamped)
            self._memories[place] = Memory(stamp, None if made == stamped else made, sighting(answer), repairs)
        news = self._wrote(resource, answer)
        self.report.again |= found and news

    async def _due(self, place: Place, live: Object, stamped: Object, stamp: str) -> Object | None:
        """What is to be applied to a live child; None when it is as it should be, or all that differs is contested."""
        memory = self._memories.get(place)
        if memory is None:
            # After a restart: what carries our stamp and still says what we say was left as we left it.
            if project(live, stamped) == stamped:
                self._memories[place] = Memory(stamp, None, sighting(live))
                return None
            return stamped
        if memory.digest != stamp:
            return stamped
        if memory.unchanged(live):
            return None
        before, current = memory.made or stamped, project(live, stamped)
        if current == before:
            memory.seen = sighting(live)
            return None
        fields = sorted(differences(before, current))
        window, limit = self._settings.drift_window, self._settings.drift_limit
        contested = memory.contested(fields, self._now, window, limit)
        mended = [name for name in fields if name not in contested]
        memory.repaired(mended, self._now, window)
        if not contested:
            return stamped
        memory.rivals = memory.rivals or await self._rivals(place, contested)
        resource, name = place
        self.report.contested.append(
            f"{resource.kind} {name}: {', '.join(contested[:3])} changed by {memory.rivals} after {limit} repairs in "
            f"{window:.0f} s: let that writer leave the field alone"
        )
        if not mended:
            return None
        # The rest is put back, and the other writer's values are applied along with it: the memory still holds ours.
        partial: Object = conceded(before, current, contested)
        return partial

    async def _rivals(self, place: Place, fields: list[str]) -> str:
        """The field managers that another writer goes by; the cache does not keep them."""
        resource, name = place
        live = await self._client.get(resource, self._observed.owner.namespace, name)
        ours = (names.FIELD_MANAGER, names.HANDOVER_MANAGER)
        return ", ".join(managers(live or {}, fields, ours)) or "a writer that took it away"

    async def _look(self, resource: Resource, name: str) -> Object | None:
        """The live object before the first apply of a child that the cache does not know."""
        owner = self._observed.owner
        live = await self._client.get(resource, owner.namespace, name)
        if live is None:
            return None
        adopted = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_ADOPT) == owner.uid
        if is_child(live, owner) or adopted:
            return live
        raise self._conflict(resource, live)

    async def remove(self, resource: Resource, name: str) -> None:
        live = self._live.get((resource, name))
        if live is None or "deletionTimestamp" in live["metadata"]:
            return
        await self._client.delete(resource, self._observed.owner.namespace, name, uid=live["metadata"]["uid"])
        self.report.again = True
        self._memories.pop((resource, name), None)
        self._cache.drop(resource, live)

    def _conflict(self, resource: Resource, live: Object) -> Refused:
        owner, name = self._observed.owner, live["metadata"]["name"]
        if is_predecessors(live, owner):
            message = f"waits until the garbage collector has taken its predecessor's {resource.kind} {name} away"
            return Refused(Reason.DRAINING, message, passing=True)
        return Refused(
            Reason.NAME_CONFLICT,
            f"{resource.kind} {name} exists in {owner.namespace} and is not this ModelDeployment's: rename or delete "
            f"it, or give it over by the annotation {names.ANNOTATION_ADOPT}={owner.uid}",
        )

    def _wrote(self, resource: Resource, answer: Object) -> bool:
        meta = answer["metadata"]
        self._live[(resource, meta["name"])] = answer
        news = self._cache.put(resource, answer)
        planned_with = self._observed.child(resource, meta["name"])
        if news and planned_with is not None:
            # A status that its controller wrote meanwhile comes with our answer, and its own event is no news then.
            kept = self._cache.get(resource, meta.get("namespace"), meta["name"])
            self.report.again |= kept is not None and kept.get("status") != planned_with.get("status")
        return news


def _stamped(desired: Object, stamp: str) -> Object:
    meta = desired["metadata"]
    annotations = {**(meta.get("annotations") or {}), names.ANNOTATION_APPLIED: stamp}
    return {**desired, "metadata": {**meta, "annotations": annotations}}


def _refused(error: ApiError) -> Refused:
    """A write that the API server refuses until a person changes something; or, in one case, for a while."""
    if error.status == 403 and "cannot find RESTMapping" in error.message:
        # OwnerReferencesPermissionEnforcement learns of a CRD by up to half a minute later than everybody else.
        message = f"waits until the API server's admission knows the CRDs, too, which are new: {error.message}"
        return Refused(Reason.PENDING, message, passing=True)
    return Refused(Reason.FORBIDDEN if error.status == 403 else Reason.REJECTED, error.message)
