"""Walks a plan: every write but status, each only if it would change something and nothing that it needs is refused."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from podium.api import names
from podium.api.reasons import Reason
from podium.keys import Key
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS
from podium.reconcile.child import Children, Store, is_record
from podium.reconcile.drift import Memory, sighting
from podium.reconcile.observed import Observed
from podium.reconcile.outcome import Fault, Outdated, Refusal, Refused, Report, refusal_of
from podium.reconcile.readings import is_child
from podium.reconcile.untold import Untold
from podium.reconcile.writes import DECIDED, Apply, Claim, Enter, Entry, Note, Place, Remove, Seek, Write
from podium.rollout.words import sentences
from podium.settings import Settings

Emit = Callable[[Note], None]
SLOW: Final = timedelta(seconds=5)
"""What a refusal may take before it is told of: the next write may take as long, as an admission webhook hangs."""
SLOW_BESIDE_A_CHAMPION: Final = timedelta(seconds=15)
"""The same where a champion serves, whose traffic and repair come first, for all refusals of the pass: so that status
tells of it within half a minute there, too."""


class Applier:
    """Writes children; remembers per child what it applied last, and per write since when it has been refused."""

    def __init__(self, client: KubeClient, cache: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._memories: dict[Key, dict[Place, Memory]] = {}
        self._refusals: dict[Key, dict[Place, Refusal]] = {}
        self._sought: dict[Key, dict[str, str]] = {}
        self._owed: dict[Key, dict[Place, Write]] = {}
        self._untold: dict[Key, Untold] = {}

    def forget(self, key: Key) -> None:
        """The ModelDeployment is gone."""
        for kept in (self._memories, self._refusals, self._sought, self._owed, self._untold):
            kept.pop(key, None)

    def step_down(self) -> None:
        """Forget all: another operator may have led meanwhile, so earlier refusals may be out of date."""
        self._refusals.clear()
        self._sought.clear()
        self._owed.clear()

    def untold(self, key: Key) -> Untold:
        """Events of writes that may have been made. An operator that leads later emits those of rollbacks alone."""
        return self._untold.setdefault(key, Untold())

    def refusals(self, key: Key) -> Mapping[Place, Refusal]:
        """What was refused at the last pass."""
        return self._refusals.get(key, {})

    def owed(self, key: Key) -> tuple[Write, ...]:
        """What has been refused, and is still to be made."""
        return tuple(self._owed.get(key, {}).values())

    def begin(self, observed: Observed, now: datetime, emit: Emit) -> "Walk":
        """A walk for one pass over the ModelDeployment."""
        key = MODEL_DEPLOYMENTS.key(observed.owner.namespace, observed.owner.name)
        memories = self._memories.setdefault(key, {})
        children = Children(self._client, self._cache, self._settings, observed, now, memories)
        refused, sought = self._refusals.get(key, {}), self._sought.setdefault(key, {})
        known = {names.ledger_name(revision) for revision in observed.revisions}
        owed = {place: write for place, write in self._owed.get(key, {}).items() if write.name in known}
        self._owed[key] = owed
        walk = Walk(children, refused, sought, owed, self.untold(key), emit, self._clock)
        walk.tell_of_what_stands()
        return walk

    def end(self, walk: "Walk") -> Report:
        """What came of the walk; what was refused is remembered until the next one ends."""
        report, owner = walk.report, walk.children.observed.owner
        report.again |= walk.children.again
        report.contested += walk.children.contested
        key = MODEL_DEPLOYMENTS.key(owner.namespace, owner.name)
        if report.outdated:
            return report  # it did not get to all that was refused before
        # Once a refusal has ended, plan again at once: other writes, and a candidate's deadline, waited for that.
        report.again |= any(place not in report.refusals for place in self.refusals(key))
        if report.refusals:
            self._refusals[key] = report.refusals
        else:
            self._refusals.pop(key, None)
        return report


class Walk:
    """One pass over a plan's writes, or, after a refused record, over a second plan's."""

    def __init__(
        self,
        children: Children,
        refused_before: Mapping[Place, Refusal],
        sought: dict[str, str],
        owed: dict[Place, Write],
        untold: Untold,
        emit: Emit,
        clock: Callable[[], datetime],
    ) -> None:
        self.children = children
        self.report = Report(children.now)
        self._before = refused_before
        # Status tells of it already, so that every write is tried. What only a person can end holds up nothing.
        self._held_up_before = any(refusal.fault.clears for refusal in refused_before.values())
        self._sought = sought
        self._owed = owed
        self._untold = untold
        self._emit = emit
        self._clock = clock
        self._waited = timedelta(0)

    def tell_of_what_stands(self) -> None:
        """The Events of decisions whose records got no answer, and are there."""
        for place, live in self.children.observed.children.items():
            if place[0] is CONTROLLER_REVISIONS:
                self._tell(self._untold.seen(place, live["metadata"].get("annotations") or {}))

    def _tell(self, notes: Iterable[Note]) -> None:
        for note in notes:
            if note.action in DECIDED:
                self.report.decided.add(note.revision)
            self._emit(note)

    async def go(self, writes: Iterable[Write]) -> None:
        """Make the writes in order, up to an entry of the record that is refused.

        Raises ApiError when the API server cannot be reached or does not know us, and NotLeader without the Lease.
        """
        todo = list(writes)
        for index, write in enumerate(todo):
            if self._over():
                return
            if self.report.unsure and not self.report.halted and not isinstance(write.action, Seek | Claim):
                self._halt(todo[index:])  # a record that nobody could look for may decide otherwise
                return
            if self.report.kept_back(write.needs):
                self.report.left_out.add(write.place)
                if isinstance(write.action, Enter):
                    self._halt(todo[index:])
                    return
                await self._meanwhile(write)
                continue
            begun = self._clock()
            done = await self._attempt(write, lambda write=write: self._act(write))  # type: ignore[misc]
            if self._over():
                return
            if not done and not self._held_up_before:
                self._waited += self._clock() - begun
                self.report.cut = self._waited >= (SLOW_BESIDE_A_CHAMPION if self._champion_serves() else SLOW)
                self.report.again |= self.report.cut
            if not done and isinstance(write.action, Enter):
                if write.action.entry.relied_on:
                    self._halt(todo[index:])
                    return
                self.report.unwritten += (write.action.entry,)
            if not done and isinstance(write.action, Seek):
                self.report.unsure.add(write.name)
            if not done and isinstance(write.action, Remove) and write.action.instead is not None:
                instead = write.action.instead
                await self._attempt(write, lambda instead=instead: self.children.ensure(instead))  # type: ignore[misc]
            if self.report.cut:
                self._halt(todo[index + 1 :])
                return

    def _champion_serves(self) -> bool:
        situation = self.children.observed.situation
        return situation is not None and situation.champion is not None

    def _over(self) -> bool:
        """Whether to stop writing: the namespace is terminating, or the plan is based on objects that are gone."""
        return self.report.terminating or self.report.outdated

    def _halt(self, left: Iterable[Write]) -> None:
        self.report.halted = True
        self.report.unwritten += tuple(write.action.entry for write in left if isinstance(write.action, Enter))

    async def _meanwhile(self, write: Write) -> None:
        if isinstance(write.action, Apply) and write.action.meanwhile is not None:
            obj = write.action.meanwhile
            await self._attempt(write, lambda: self.children.ensure(obj))

    async def _attempt(self, write: Write, act: Callable[[], Awaitable[None]]) -> bool:
        """Make the write; whether the object is now as wanted. A refusal is noted."""
        try:
            await act()
            self._owed.pop(write.place, None)
            return True
        except Outdated:
            self.report.outdated = True
            return False
        except Refused as error:
            refused = error
        except ApiError as error:
            if any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes):
                self.report.terminating = True
                return False
            if error.reason == "Unreachable" or error.status == 401:
                raise
            verb = "delete" if isinstance(write.action, Remove) else "write"
            refused = refusal_of(error, f"Podium cannot {verb} {write.resource.kind} {write.name}")
        if write.owed:
            self._owed[write.place] = write
        before = self._before.get(write.place) or self.report.refusals.get(write.place)
        self.report.refusals[write.place] = Refusal.of(write.told, refused, before, self.children.now)
        return False

    async def _act(self, write: Write) -> None:
        match write.action:
            case Enter(entry):
                await self._enter(entry, write.place)
                self.report.entered += entry.relied_on
                self._tell(entry.notes)
            case Claim():
                labels = names.revision_labels(self.children.observed.owner.name, write.name)
                await self.children.claim(write.resource, self.children.live[write.place], labels)
            case Seek():
                await self._seek(write.name)
            case Apply(obj, None):
                await self.children.ensure(obj)
            case Apply(obj, handover):
                await self._hand_over(obj, handover)
            case Remove():
                await self.children.remove(write.resource, write.name)

    async def _enter(self, entry: Entry, place: Place) -> None:
        try:
            self.children.wrote(CONTROLLER_REVISIONS, await self._entered(entry))
        except ApiError as error:
            if error.unsure:
                self._untold.keep(place, entry.annotations, entry.notes)
            raise
        self._untold.drop(place)

    async def _entered(self, entry: Entry) -> Object:
        children = self.children
        if entry.obj is not None:
            answer = await self._created(entry.obj)
            # Somebody deleted the record of a Deployment: the plan knew nothing of the pods that it has.
            children.again |= (DEPLOYMENTS, answer["metadata"]["name"]) in children.live
            return answer
        live = children.live[(CONTROLLER_REVISIONS, entry.revision)]
        annotations: dict[str, str | None] = dict(entry.annotations)
        return await children.client.annotate(
            CONTROLLER_REVISIONS,
            children.observed.owner.namespace,
            entry.revision,
            annotations,
            resource_version=live["metadata"]["resourceVersion"],
        )

    async def _created(self, obj: Object) -> Object:
        name = obj["metadata"]["name"]
        try:
            return await self.children.client.create(obj)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        if await self._found(name, obj["metadata"]["annotations"]):
            self.report.outdated = True
        raise ApiError(409, "Conflict", f"ControllerRevision {name} exists already and was not yet known")

    async def _seek(self, name: str) -> None:
        uid = self.children.live[(DEPLOYMENTS, name)]["metadata"]["uid"]
        if self._sought.get(name) == uid:
            return
        if await self._found(name):
            self.report.outdated = True
            return
        self._sought[name] = uid

    async def _found(self, name: str, annotations: Mapping[str, str] | None = None) -> bool:
        """Whether there is a record of that name that the cache did not know; it gets its labels back.

        `annotations` are written where it has none of the name: one that was given over may lack all of them.
        """
        children = self.children
        live = await children.look(CONTROLLER_REVISIONS, name)
        if live is None:
            return False
        if "deletionTimestamp" in live["metadata"]:
            raise ApiError(409, "Conflict", f"ControllerRevision {name} is being deleted")
        labels = names.revision_labels(children.observed.owner.name, name)
        ours = is_child(live, children.observed.owner)
        if labels.items() <= (live["metadata"].get("labels") or {}).items() and ours:
            # If the cache did not have it, the next pass will know it.
            useful = children.wrote(CONTROLLER_REVISIONS, live) and is_record(live)
        else:
            await children.claim(CONTROLLER_REVISIONS, live, labels, annotations or {})
            taken = children.live[(CONTROLLER_REVISIONS, name)]["metadata"].get("labels") or {}
            useful = is_record(live) and labels.items() <= taken.items()
        if not useful:
            raise Refused(
                Reason.RECORD_UNREADABLE,
                sentences(
                    f"ControllerRevision {name} cannot be used: it holds no revision that this Podium can read, or "
                    "somebody (an admission webhook?) takes its labels away again",
                    f"if it is not the champion's: kubectl delete controllerrevision {name} -n "
                    f"{children.observed.owner.namespace}",
                ),
                Fault.PERSON,
            )
        children.again = True
        return True

    async def _hand_over(self, obj: Object, replicas: int | None) -> None:
        """`replicas` changes hands: to a manager that holds it while Podium lets go, until the HPA takes it.

        Once: it is Podium's no more while the HPA is refused, and tried again.
        """
        if self.children.stands(obj):
            await self.children.ensure(obj)
            return
        meta = obj["metadata"]
        partial = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "spec": {"replicas": replicas},
        }
        place = (DEPLOYMENTS, meta["name"])
        live = self.children.live.get(place)
        memory = self.children.recall(place, live)
        if memory is None or memory.handed != replicas:
            answer = await self.children.apply(partial, live, manager=names.HANDOVER_MANAGER)
            self.children.wrote(DEPLOYMENTS, answer)
            self.children.memories.setdefault(place, Memory("", None, sighting(answer))).handed = replicas
        await self.children.ensure(obj, always=True)
