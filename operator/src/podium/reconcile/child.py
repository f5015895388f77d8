"""Writes one child of a ModelDeployment, and only if that would change something: drift, adoption, conflicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from podium.api import names
from podium.api.reasons import Reason
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS, Resource, resource_of
from podium.manifests.canonical import digest
from podium.manifests.errors import MalformedRevision
from podium.manifests.owner import owner_reference
from podium.manifests.revision import revision_of
from podium.manifests.routing import told_in
from podium.reconcile.drift import Memory, conceded, differences, managers, project, sighting
from podium.reconcile.observed import Observed
from podium.reconcile.outcome import Fault, Outdated, Refused
from podium.reconcile.readings import controller_of, is_child, is_predecessors
from podium.reconcile.writes import Place
from podium.rollout.words import sentences, span
from podium.settings import Settings

NOTHING: Mapping[str, str] = {}


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


@dataclass
class Children:
    """The children of one ModelDeployment during one pass."""

    client: KubeClient
    cache: Store
    settings: Settings
    observed: Observed
    now: datetime
    memories: dict[Place, Memory]
    """What was last applied to each child; kept from pass to pass."""
    live: dict[Place, Object] = field(init=False)
    contested: list[str] = field(default_factory=list)
    """Sentences on fields that another writer keeps changing back."""
    again: bool = False
    """A child has gone, or was met with news: the next pass may have more to do."""
    may_adopt: bool = False
    """Whether the ModelDeployment was found to be there still."""

    def __post_init__(self) -> None:
        self.live = dict(self.observed.children)

    async def ensure(self, desired: Object, *, always: bool = False) -> None:
        """Apply the child unless the live one is what the last apply of the same made of it."""
        resource, name = resource_of(desired), desired["metadata"]["name"]
        place = (resource, name)
        stamp = digest(desired)
        live = self.live.get(place)
        unknown = live is None
        if live is None:
            live = await self.look(resource, name)
        elif "deletionTimestamp" in live["metadata"]:
            return  # it is made anew once it has gone
        memory = self.recall(place, live)
        found = unknown and live is not None
        stamped = _stamped(desired, stamp)
        due = stamped
        if live is not None and not always:
            differing = await self._due(place, live, stamped, stamp)
            if differing is None:
                self.again |= found and self.wrote(resource, live)
                return
            due = differing
        answer = await self.apply(due, live)
        if due is stamped:
            repairs = memory.repairs if memory else {}
            made = project(answer, stamped)
            self.memories[place] = Memory(stamp, None if made == stamped else made, sighting(answer), repairs)
        news = self.wrote(resource, answer)
        # What routers are told they have to confirm: it is looked at anew even if they stay silent. And where a Service
        # leads decides what of that counts.
        led = live is not None and _leads_to_routers(live) is not _leads_to_routers(answer)
        # A rollout waits for its ledger.
        tells = resource is CONFIG_MAPS and (live is None or bool(told_in(answer)))
        self.again |= news and (found or led or tells)

    def recall(self, place: Place, live: Object | None) -> Memory | None:
        """What was last applied to this very object; where there is none any more, to the last one."""
        memory = self.memories.get(place)
        if memory is not None and live is not None and not memory.is_of(live):
            del self.memories[place]
            return None
        return memory

    async def apply(self, obj: Object, live: Object | None, *, manager: str = names.FIELD_MANAGER) -> Object:
        """Server-side apply to this very object; one is made where there was none.

        A write that was planned with an object of an earlier life, or is under way when its name is given anew, lands
        nowhere. The uid is no part of the digest of what is applied. Raises Outdated.
        """
        if live is None:
            return await self.client.apply(obj, manager=manager)
        if controller_of(live) is None:
            await self.check_adoption()
        meant = {**obj, "metadata": {**obj["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            return await self.client.apply(meant, manager=manager)
        except ApiError as error:
            await self._check_identity(error, resource_of(obj), live)
            raise

    async def check_adoption(self) -> None:
        """Before an orphan is taken: the ModelDeployment must be there, and be the one that this pass is about.

        It is asked of the API server, as Kubernetes' own controllers do (RecheckDeletionTimestamp in
        controller_ref_manager.go): the garbage collector takes what has an owner of an earlier life. Raises Outdated.
        """
        if self.may_adopt:
            return
        known, owner = self.observed.obj, self.observed.owner
        live = await self.client.get(MODEL_DEPLOYMENTS, owner.namespace, owner.name)
        if live is None or live["metadata"]["uid"] != owner.uid:
            self.cache.drop(MODEL_DEPLOYMENTS, known)  # whoever has its name now comes by the watch
            raise Outdated
        if "deletionTimestamp" in live["metadata"]:
            self.cache.put(MODEL_DEPLOYMENTS, live)
            raise Outdated
        self.may_adopt = True

    async def _check_identity(self, error: ApiError, resource: Resource, known: Object) -> None:
        """Raises Outdated if a write was refused because the object that it was meant for is there no more.

        That is looked up: whatever refuses a write for a reason of its own would be asked again and again.
        """
        if not error.another:
            return
        name = known["metadata"]["name"]
        live = await self.client.get(resource, self.observed.owner.namespace, name)
        if live is None or live["metadata"]["uid"] != known["metadata"]["uid"]:
            self.memories.pop((resource, name), None)
            self.cache.drop(resource, known)
            raise Outdated from error

    def stands(self, desired: Object) -> bool:
        """Whether it is what was applied last, by this process or one before; others may have changed it since."""
        live = self.live.get((resource_of(desired), desired["metadata"]["name"])) or {"metadata": {}}
        applied = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_APPLIED)
        return bool(applied == digest(desired))

    async def remove(self, resource: Resource, name: str) -> None:
        """Delete the child if it is there and not going already."""
        live = self.live.get((resource, name))
        if live is None or "deletionTimestamp" in live["metadata"]:
            return
        await self.client.delete(resource, self.observed.owner.namespace, name, uid=live["metadata"]["uid"])
        self.again = True
        self.memories.pop((resource, name), None)
        self.cache.drop(resource, live)

    async def claim(
        self, resource: Resource, live: Object, labels: Mapping[str, str], annotations: Mapping[str, str] = NOTHING
    ) -> None:
        """Make the object this ModelDeployment's, whoever controlled it before.

        It gets the labels, and the annotations that it lacks. Raises Outdated.
        """
        await self.check_adoption()
        owner, name = self.observed.owner, live["metadata"]["name"]
        others = [r for r in live["metadata"].get("ownerReferences") or [] if not r.get("controller")]
        known = live["metadata"].get("annotations") or {}
        noted: dict[str, str | None] = {key: value for key, value in annotations.items() if key not in known}
        if self.adopted(live):
            noted[names.ANNOTATION_ADOPT] = None
        references = [*others, owner_reference(owner)]
        meta: Object = {"labels": dict(labels), "ownerReferences": references, "annotations": noted}
        meta["uid"] = live["metadata"]["uid"]
        try:
            # Merged, not applied: of two controllers in a list that is merged by uid the API server takes neither.
            answer = await self.client.merge(resource, owner.namespace, name, {"metadata": meta})
        except ApiError as error:
            await self._check_identity(error, resource, live)
            raise
        self.wrote(resource, answer)

    async def look(self, resource: Resource, name: str) -> Object | None:
        """The live object before the first write of a child that the cache does not know.

        None when there is none. Refused when it is somebody else's and was not given over to this ModelDeployment.
        """
        owner = self.observed.owner
        live = await self.client.get(resource, owner.namespace, name)
        if live is None or is_child(live, owner):
            return live
        if not self.adopted(live) or (resource is CONTROLLER_REVISIONS and not is_record(live)):
            raise self._conflict(resource, live)
        if controller_of(live) not in (None, owner.uid):
            await self.claim(resource, live, live["metadata"].get("labels") or {})
            return self.live[(resource, name)]
        return live

    def adopted(self, live: Object) -> bool:
        """Whether a person has given the object over to this ModelDeployment."""
        annotations = live["metadata"].get("annotations") or {}
        return annotations.get(names.ANNOTATION_ADOPT) == self.observed.owner.uid

    def wrote(self, resource: Resource, answer: Object) -> bool:
        """Take in the answer to a write; whether it tells more than its version."""
        meta = answer["metadata"]
        self.live[(resource, meta["name"])] = answer
        news = self.cache.put(resource, answer)
        planned_with = self.observed.child(resource, meta["name"])
        if news and planned_with is not None:
            # A status that its controller wrote meanwhile comes with our answer, and its own event is no news then.
            kept = self.cache.get(resource, meta.get("namespace"), meta["name"])
            self.again |= kept is not None and kept.get("status") != planned_with.get("status")
        return news

    async def _due(self, place: Place, live: Object, stamped: Object, stamp: str) -> Object | None:
        """What is to be applied to a live child; None when it is as it should be, or all that differs is contested."""
        memory = self.memories.get(place)
        if memory is None:
            # After a restart: what carries our stamp and still says what we say was left as we left it.
            if project(live, stamped) == stamped:
                self.memories[place] = Memory(stamp, None, sighting(live))
                return None
            return stamped
        if memory.applied != stamp:
            return stamped
        if memory.unchanged(live):
            return None
        before, current = memory.made or stamped, project(live, stamped)
        if current == before:
            memory.seen = sighting(live)
            return None
        fields = sorted(differences(before, current))
        window, limit, now = self.settings.drift_window, self.settings.drift_limit, self.now.timestamp()
        contested = memory.contested(fields, now, window, limit)
        mended = [name for name in fields if name not in contested]
        memory.repaired(mended, now, window)
        if not contested:
            return stamped
        memory.rivals = memory.rivals or await self._rivals(place, contested)
        resource, name = place
        self.contested.append(
            f"{resource.kind} {name}: {', '.join(contested[:3])} changed by {memory.rivals} after {limit} repairs in "
            f"{span(window)}. To end this: configure that writer to leave the field alone."
        )
        if not mended:
            return None
        # The rest is put back, and the other writer's values are applied along with it: the memory still holds ours.
        partial: Object = conceded(before, current, contested)
        return partial

    async def _rivals(self, place: Place, fields: list[str]) -> str:
        """The field managers that another writer goes by; the cache does not keep them."""
        resource, name = place
        live = await self.client.get(resource, self.observed.owner.namespace, name)
        ours = (names.FIELD_MANAGER, names.HANDOVER_MANAGER)
        return ", ".join(managers(live or {}, fields, ours)) or "a writer that took it away"

    def _conflict(self, resource: Resource, live: Object) -> Refused:
        owner, name = self.observed.owner, live["metadata"]["name"]
        if is_predecessors(live, owner):
            message = (
                f"Podium waits until the garbage collector has removed the {resource.kind} {name} of a deleted "
                "ModelDeployment of the same name."
            )
            return Refused(Reason.DRAINING, message, Fault.PASSING)
        way = f", or hand it over with the annotation {names.ANNOTATION_ADOPT}={owner.uid}"
        if resource is CONTROLLER_REVISIONS and not is_record(live):
            way = " (it holds no revision of Podium's, so it cannot be handed over)"
        return Refused(
            Reason.NAME_CONFLICT,
            sentences(
                f"{resource.kind} {name} exists in namespace {owner.namespace} and does not belong to this "
                "ModelDeployment",
                f"to go on: rename or delete it{way}",
            ),
            Fault.PERSON,
        )


def _stamped(desired: Object, stamp: str) -> Object:
    meta = desired["metadata"]
    annotations = {**(meta.get("annotations") or {}), names.ANNOTATION_APPLIED: stamp}
    return {**desired, "metadata": {**meta, "annotations": annotations}}


def _leads_to_routers(obj: Object) -> bool:
    selector = (obj.get("spec") or {}).get("selector")
    return isinstance(selector, dict) and names.LABEL_ROUTER in selector


def is_record(live: Object) -> bool:
    """Whether a ControllerRevision holds a revision that Podium wrote, whoever it belongs to."""
    try:
        revision_of(live)
    except MalformedRevision:
        return False
    return True
