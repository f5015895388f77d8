"""The cluster as last seen: watch events and the answers to our own writes, newest resourceVersion first.

Objects are shared, not copied: whoever reads one must not change it.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.reading import LEFT_OUT, number, unreadable
from podium.kube.resources import MODEL_DEPLOYMENTS, Resource
from podium.watch.kept import bare, is_foreign, prune, without_data
from podium.watch.kinds import KINDS, Kind, NamespacedName

log = logging.getLogger(__name__)

TOMBSTONE_SECONDS: Final = 300.0
"""How long a deleted object's uid is remembered: far longer than the answer to any request may be late."""


class Cache:
    """Every watched object by namespace and name, and by what the table of kinds says that it is found by."""

    def __init__(
        self,
        *,
        kinds: Mapping[Resource, Kind] = KINDS,
        clock: Callable[[], float] = time.monotonic,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_unreadable` is told the kind of each object that cannot be read, once for each."""
        self.kinds = kinds
        self._clock = clock
        self._on_unreadable = on_unreadable
        self._objects: dict[Resource, dict[NamespacedName, Object]] = {resource: {} for resource in kinds}
        # By what they are found by (Kind.index), in the order in which they came to it.
        self._found: dict[Resource, dict[NamespacedName, dict[NamespacedName, Object]]] = {
            resource: {} for resource in kinds
        }
        self._changes = dict.fromkeys(kinds, 0)
        # uid -> (resourceVersion of the deletion, when it may be forgotten), oldest first
        self._tombstones: dict[str, tuple[int, float]] = {}
        # What is kept from before the API server went back to an older state, until it is seen again.
        self._outdated: dict[Resource, set[NamespacedName]] = {resource: set() for resource in kinds}

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None if there is none as far as is known."""
        return self._objects[resource].get((namespace or "", name))

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that carry the label of the ModelDeployment `model`; costs only what it returns."""
        return list(self._found[resource].get((namespace, model), {}).values())

    def all(self, resource: Resource) -> list[Object]:
        """Every object of a kind."""
        return list(self._objects[resource].values())

    def changes(self, resource: Resource) -> int:
        """How often a kind's objects have changed: as long as it stays the same, so does what follows from them."""
        return self._changes[resource]

    def known(self, resource: Resource) -> dict[NamespacedName, int]:
        """The resourceVersion of every object of a kind, but of those from before a `rewind`."""
        outdated = self._outdated[resource]
        return {name: version_of(obj) for name, obj in self._objects[resource].items() if name not in outdated}

    def version(self, resource: Resource, name: NamespacedName) -> int | None:
        """The resourceVersion of one object, as in `known`; None if it is not among them."""
        obj = self._objects[resource].get(name)
        return None if obj is None or name in self._outdated[resource] else version_of(obj)

    def rewind(self) -> None:
        """The API server has gone back to an older state: whatever is seen from now on is newer than what is kept."""
        for resource, objects in self._objects.items():
            self._outdated[resource] = set(objects)
        self._tombstones.clear()

    def buried(self, uid: str, version: int) -> bool:
        """Whether the object's deletion has been seen, and this version is from before it."""
        return version <= self._tombstones.get(uid, (-1, 0.0))[0]

    def keys(self) -> list[Key]:
        """Every ModelDeployment."""
        return [MODEL_DEPLOYMENTS.key(*name) for name in self._objects[MODEL_DEPLOYMENTS]]

    def models_using(self, runtime: str) -> list[Key]:
        """The ModelDeployments whose spec names this ModelRuntime."""
        return [MODEL_DEPLOYMENTS.key(*name) for name in self._found[MODEL_DEPLOYMENTS].get(("", runtime), ())]

    def put(self, resource: Resource, obj: Object) -> bool:
        """Take in an object as seen in a watch or answered to a write of ours.

        Answers whether anything but its resourceVersion is news: false for what is known already, for an older
        version, and for one from before the object's deletion. What cannot be read is kept as its metadata alone:
        `podium.kube.reading.unreadable` says why.
        """
        meta = obj["metadata"]
        if self.buried(meta.get("uid", ""), version_of(obj)):
            return False
        name = (meta.get("namespace", ""), meta["name"])
        old = self._objects[resource].get(name)
        known = old is not None and name not in self._outdated[resource] and not _newer(old, obj)
        if known and not _readable_at_last(old, obj):
            return False
        new = self._kept(resource, name, old, obj)
        self._store(resource, name, old, new)
        if (spends := self.kinds[resource].spends) is not None:
            self._leave_out(*spends(new), name[0])
        return old is None or not _same(old, new)

    def fill(self, resource: Resource, obj: Object) -> None:
        """Take in an object that was asked for because more than its metadata is needed again, unless it is older."""
        meta = obj["metadata"]
        name = (meta.get("namespace", ""), meta["name"])
        old = self._objects[resource].get(name)
        if old is not None and _uid(old) == _uid(obj) and version_of(old) <= version_of(obj):
            self._store(resource, name, old, self._kept(resource, name, old, obj))

    def _leave_out(self, resource: Resource, name: str, namespace: str) -> None:
        """Of what has become spent the metadata alone is kept on."""
        known = self._objects[resource].get((namespace, name))
        if known is not None and LEFT_OUT not in known and self.kinds[resource].spent(known, self):
            self._store(resource, (namespace, name), known, without_data(known))

    def drop(self, resource: Resource, obj: Object, *, version: int | None = None) -> bool:
        """Take note of a deletion; answers false if the object was not known, or is a newer one of its name.

        What is older than the deletion never comes back: older than `version`, or else than `obj`, the last state
        of a DELETED event. A newer version does, for "deleted" is also what a watch by label says when an object
        loses the label, and that may be put right again.
        """
        meta = obj["metadata"]
        self._bury(meta.get("uid", ""), version_of(obj) if version is None else version)
        name = (meta.get("namespace", ""), meta["name"])
        old = self._objects[resource].get(name)
        if old is None or old["metadata"].get("uid") != meta.get("uid"):
            return False
        del self._objects[resource][name]
        self._changes[resource] += 1
        self._outdated[resource].discard(name)
        index = self.kinds[resource].index
        if index is not None and (by := index(old)) is not None:
            self._unindex(resource, by, name)
        return True

    def _kept(self, resource: Resource, name: NamespacedName, old: Object | None, obj: Object) -> Object:
        """What is kept of an object: of one that is not ours, or cannot be read, its metadata."""
        if self.kinds[resource].made and is_foreign(obj):
            new = bare(obj, unreadable(obj))
        elif why := unreadable(obj):
            new = bare(obj, why)
        else:
            try:
                new = _pruned(self.kinds[resource], old, obj)
            except Exception as error:
                log.debug("%s %s/%s cannot be read", resource.kind, *name, exc_info=True)
                new = bare(obj, f"it cannot be read: {type(error).__name__}: {error}")
            else:
                new = without_data(new) if self.kinds[resource].spent(new, self) else new
        why = unreadable(new)
        if why and (old is None or _uid(old) != _uid(new) or not unreadable(old)):
            self._on_unreadable(resource.kind)
            log.warning("of %s %s/%s the metadata alone is kept: %s", resource.kind, *name, why)
        return new

    def _store(self, resource: Resource, name: NamespacedName, old: Object | None, new: Object) -> None:
        self._objects[resource][name] = new
        self._changes[resource] += 1
        self._outdated[resource].discard(name)
        index = self.kinds[resource].index
        if index is None:
            return
        by = index(new)
        if old is not None and (before := index(old)) != by and before is not None:
            self._unindex(resource, before, name)
        if by is not None:
            self._found[resource].setdefault(by, {})[name] = new

    def _unindex(self, resource: Resource, by: NamespacedName, name: NamespacedName) -> None:
        siblings = self._found[resource].get(by, {})
        siblings.pop(name, None)
        if not siblings:
            self._found[resource].pop(by, None)

    def _bury(self, uid: str, version: int) -> None:
        now = self._clock()
        while self._tombstones:
            oldest = next(iter(self._tombstones))
            if self._tombstones[oldest][1] > now:
                break
            del self._tombstones[oldest]
        if uid:
            self._tombstones.pop(uid, None)
            self._tombstones[uid] = (version, now + TOMBSTONE_SECONDS)


def _pruned(kind: Kind, old: Object | None, obj: Object) -> Object:
    constant = kind.constant
    if not constant or old is None or constant not in old or _uid(old) != _uid(obj):
        return prune(obj, kind.keep)
    return {**prune({**obj, constant: None}, kind.keep), constant: old[constant]}


def version_of(obj: Object) -> int:
    """An object's resourceVersion as a number; 0 for one that is none."""
    # resourceVersions are integers that only grow, across all kinds of one API server.
    return number(obj["metadata"].get("resourceVersion"))


def _newer(old: Object, new: Object) -> bool:
    before, after = version_of(old), version_of(new)
    if before and after:
        return after > before
    # Where one is no number, what comes later counts as newer.
    return bool(old["metadata"].get("resourceVersion") != new["metadata"].get("resourceVersion"))


def _readable_at_last(old: Object | None, new: Object) -> bool:
    """Whether this is what of the same version was refused before: a resync may have been told less than a watch is."""
    return old is not None and version_of(old) == version_of(new) and bool(unreadable(old)) and not unreadable(new)


def _uid(obj: Object) -> Any:
    return obj["metadata"].get("uid")


def _same(old: Object, new: Object) -> bool:
    """Whether two pruned versions differ in nothing but their resourceVersion."""
    if old.keys() != new.keys():
        return False
    before, after = old["metadata"], new["metadata"]
    if len(before) != len(after):
        return False
    return all(before.get(key) == value for key, value in after.items() if key != "resourceVersion") and all(
        old[key] == value for key, value in new.items() if key != "metadata"
    )
