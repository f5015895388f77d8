"""The cluster as last seen: watch events and the answers to our own writes, newest resourceVersion first.

Objects are shared, not copied: whoever reads one must not change it.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from podium import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import (
    CHILDREN,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    MODEL_DEPLOYMENTS,
    PODS,
    WATCHED,
    Resource,
)
from podium.packed import pack

TOMBSTONE_SECONDS: Final = 300.0
"""How long a deleted object's uid is remembered: far longer than the answer to any request may be late."""

DEFAULT_RUNTIME: Final = "onnxruntime"
"""`spec.runtime.name` when it is left out, as the CRD defaults it."""

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ENDPOINT_FIELDS: Final = ("conditions", "targetRef")
_CONTAINER_FIELDS: Final = ("name", "image", "restartPolicy")
_DEPLOYMENT_COUNTS: Final = ("observedGeneration", "replicas", "readyReplicas", "availableReplicas")

Place = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is empty."""


class Cache:
    """Every watched object by place, children by their model, ModelDeployments by their runtime."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._objects: dict[Resource, dict[Place, Object]] = {resource: {} for resource in WATCHED}
        self._owned: dict[Resource, dict[Place, dict[str, Object]]] = {resource: {} for resource in CHILDREN}
        self._users: dict[str, dict[Key, None]] = {}  # runtime -> ModelDeployments; a dict keeps their order
        # uid -> (resourceVersion of the deletion, when it may be forgotten), oldest first
        self._tombstones: dict[str, tuple[int, float]] = {}

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object, or None if there is none as far as is known."""
        return self._objects[resource].get((namespace or "", name))

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that carry the label of the ModelDeployment `model`; costs only what it returns."""
        return list(self._owned[resource].get((namespace, model), {}).values())

    def all(self, resource: Resource) -> list[Object]:
        """Every object of a kind."""
        return list(self._objects[resource].values())

    def buried(self, uid: str, version: int) -> bool:
        """Whether the object's deletion has been seen, and this version is from before it."""
        return version <= self._tombstones.get(uid, (-1, 0.0))[0]

    def keys(self) -> list[Key]:
        """Every ModelDeployment."""
        return [Key(*place) for place in self._objects[MODEL_DEPLOYMENTS]]

    def models_using(self, runtime: str) -> list[Key]:
        """The ModelDeployments whose spec names this ModelRuntime."""
        return list(self._users.get(runtime, ()))

    def put(self, resource: Resource, obj: Object) -> bool:
        """Take in an object as seen in a watch or answered to a write of ours.

        Answers whether anything but its resourceVersion is news: false for what is known already, for an older
        version, and for one from before the object's deletion.
        """
        meta = obj["metadata"]
        if self.buried(meta.get("uid", ""), version_of(obj)):
            return False
        place = (meta.get("namespace", ""), meta["name"])
        old = self._objects[resource].get(place)
        if old is not None and version_of(old) >= version_of(obj):
            return False
        new = prune(resource, obj)
        if resource is CONTROLLER_REVISIONS and old is not None and "data" in old and _uid(old) == _uid(obj):
            new["data"] = old["data"]  # immutable, and large: all versions share one
        self._store(resource, place, old, new)
        return old is None or not _same(old, new)

    def drop(self, resource: Resource, obj: Object, *, version: int | None = None) -> bool:
        """Take note of a deletion; answers false if the object was not known, or is a newer one of its name.

        What is older than the deletion never comes back: older than `version`, or else than `obj`, the last state
        of a DELETED event. A newer version does, for "deleted" is also what a watch by label says when an object
        loses the label, and that may be put right again.
        """
        meta = obj["metadata"]
        self._bury(meta.get("uid", ""), version_of(obj) if version is None else version)
        place = (meta.get("namespace", ""), meta["name"])
        old = self._objects[resource].get(place)
        if old is None or old["metadata"].get("uid") != meta.get("uid"):
            return False
        del self._objects[resource][place]
        self._unindex(resource, place, old)
        return True

    def _store(self, resource: Resource, place: Place, old: Object | None, new: Object) -> None:
        self._objects[resource][place] = new
        if resource is MODEL_DEPLOYMENTS or resource in self._owned:
            if old is not None:
                self._unindex(resource, place, old)
            self._index(resource, place, new)

    def _index(self, resource: Resource, place: Place, obj: Object) -> None:
        if resource is MODEL_DEPLOYMENTS:
            self._users.setdefault(runtime_of(obj), {})[Key(*place)] = None
        elif (model := model_of(obj)) is not None:
            self._owned[resource].setdefault((place[0], model), {})[place[1]] = obj

    def _unindex(self, resource: Resource, place: Place, obj: Object) -> None:
        if resource is MODEL_DEPLOYMENTS:
            runtime = runtime_of(obj)
            users = self._users.get(runtime, {})
            users.pop(Key(*place), None)
            if not users:
                self._users.pop(runtime, None)
        elif resource in self._owned and (model := model_of(obj)) is not None:
            siblings = self._owned[resource].get((place[0], model), {})
            siblings.pop(place[1], None)
            if not siblings:
                self._owned[resource].pop((place[0], model), None)

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


def model_of(obj: Object) -> str | None:
    """The ModelDeployment that an object belongs to by its label."""
    labels = obj["metadata"].get("labels")
    return labels.get(names.LABEL_MODEL) if labels else None


def runtime_of(model_deployment: Object) -> str:
    """The ModelRuntime that a ModelDeployment names."""
    runtime = (model_deployment.get("spec") or {}).get("runtime") or {}
    return str(runtime.get("name") or DEFAULT_RUNTIME)


def prune(resource: Resource, obj: Object) -> Object:
    """The object without what nobody here reads, as new outer dicts; the inner ones are shared with `obj`.

    Field managers and kubectl's copy of the last manifest go from everything; of a Pod's spec only its node
    and its containers' names, images and restart policies stay; of a Deployment's status its counts and why no pod
    could be made (its reports of progress come at every step, and would wake somebody each time). Pod templates are
    packed: they are most of what is kept. Of an EndpointSlice its endpoints' conditions and pods stay.
    """
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    pruned = {**obj, "metadata": meta}
    if resource is PODS and "spec" in obj:
        pruned["spec"] = _pod_spec(obj["spec"])
    if resource is DEPLOYMENTS:
        _pack_template(pruned, "spec")
        if "status" in obj:
            pruned["status"] = _deployment_status(obj["status"])
    if resource is CONTROLLER_REVISIONS:
        _pack_template(pruned, "data")
    if resource is ENDPOINT_SLICES:
        pruned.pop("ports", None)
        pruned["endpoints"] = [{k: e[k] for k in _ENDPOINT_FIELDS if k in e} for e in obj.get("endpoints") or ()]
    return pruned


def _pack_template(pruned: Object, field: str) -> None:
    holder = pruned.get(field)
    if isinstance(holder, dict) and "template" in holder:
        pruned[field] = {**holder, "template": pack(holder["template"])}


def _pod_spec(spec: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        field: [{k: c[k] for k in _CONTAINER_FIELDS if k in c} for c in spec[field]]
        for field in ("initContainers", "containers")
        if field in spec
    }
    if "nodeName" in spec:
        kept["nodeName"] = spec["nodeName"]
    return kept


def _deployment_status(status: dict[str, Any]) -> dict[str, Any]:
    kept = {field: status[field] for field in _DEPLOYMENT_COUNTS if field in status}
    failures = [c for c in status.get("conditions") or [] if c["type"] == "ReplicaFailure"]
    return kept | {"conditions": failures}


def version_of(obj: Object) -> int:
    """An object's resourceVersion."""
    # resourceVersions are integers that only grow, across all kinds of one API server.
    return int(obj["metadata"].get("resourceVersion") or 0)


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
