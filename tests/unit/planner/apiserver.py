"""A simulated Kubernetes API server: objects as dicts, server-side apply, and a stream of events per kind.

It stands for Kubernetes, not for any part of Podium: resourceVersions and generations count up, stale writes get 409,
taken names AlreadyExists, two controllers or another selector 422. A uid is a precondition: Conflict where there is no
object, 422 where there is another. Server-side apply keeps the fields of each manager:
a field that its only owner no longer applies goes, and takes its default again. Lists are applied as a whole, but for
ownerReferences; that is coarser than the real thing. What it claims is held against a real one by
tests/integration/test_fake_apiserver.py, which plays the same calls on both.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from podium.api.status import ModelDeploymentStatus, pending
from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PDBS,
    SERVICES,
    Resource,
    resource_of,
)
from podium.packed import to_json
from podium.watch.kinds import KINDS

Place = tuple[Resource, str, str]
Path = tuple[str, ...]
OWNERS: Path = ("metadata", "ownerReferences")
ATOMIC: tuple[Path, ...] = (("spec", "selector"), ("data",))
"""Taken as a whole: selectors of Services, Deployments and PodDisruptionBudgets, and a ControllerRevision's data."""
GENERATED = (DEPLOYMENTS, PDBS, MODEL_DEPLOYMENTS, MODEL_RUNTIMES)
"""Kinds that have a metadata.generation."""
UPDATES = "podium (Update)"
"""Podium's POST and PATCH: to server-side apply another manager than Podium's applies."""
UNOWNED = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
FOREGROUND = "foregroundDeletion"


def clone(obj: Any) -> Any:
    """A deep copy, as a trip over the wire makes one."""
    return json.loads(to_json(obj))


def wire_time(at: datetime) -> str:
    """As the API server writes times: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Event:
    """One event of a watch."""

    at: datetime
    type: str
    obj: Object


@dataclass
class ApiServer:
    """`now` tells the time. `admit` hooks may refuse or change what is written."""

    now: Callable[[], datetime]
    objects: dict[Place, Object] = field(default_factory=dict)
    owners: dict[Place, dict[str, set[Path]]] = field(default_factory=dict)
    streams: dict[Resource, list[Event]] = field(
        default_factory=lambda: defaultdict(list, {resource: [] for resource in KINDS})
    )
    admit: list[Callable[[Resource, Object], None]] = field(default_factory=list)
    terminating: bool = False
    """Whether the namespace is being deleted: nothing new can be made in it."""
    _version: int = 1000
    _made: int = 0

    # --- reading

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        return self.objects.get((resource, namespace or "", name))

    def managed_fields(self, resource: Resource, namespace: str | None, name: str) -> list[Object]:
        """As in metadata.managedFields, without times."""
        found = []
        for manager, paths in self.owners[(resource, namespace or "", name)].items():
            tree: Object = {}
            for path in paths:
                branch = tree
                for key in path:
                    branch = branch.setdefault(f"f:{key}", {})
            found.append({"manager": manager, "fieldsV1": tree})
        return found

    def all(self, resource: Resource) -> list[Object]:
        return [obj for (kind, _, _), obj in self.objects.items() if kind is resource]

    # --- writing

    def create(self, obj: Object, manager: str) -> Object:
        """A POST: what is filled in belongs to its manager, too."""
        whole = clone(obj)
        _default(resource_of(obj), whole)
        return self._create(obj, manager, set(leaves(whole)))

    def _create(self, obj: Object, manager: str, owned: set[Path]) -> Object:
        place = _place(obj)
        if place in self.objects:
            _validate(place[0], None, clone(obj))
            raise ApiError(409, "AlreadyExists", f'{place[0].plural} "{place[2]}" already exists')
        if self.terminating and place[0].namespaced:
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {place[1]} is being terminated"}
            raise ApiError(403, "Forbidden", "because it is being terminated", causes=[cause])
        new = clone(obj)
        self._made += 1
        new["metadata"] |= {"uid": f"uid-{self._made:05}", "creationTimestamp": wire_time(self.now())}
        if place[0] in GENERATED:
            new["metadata"]["generation"] = 1
        if place[0] is MODEL_DEPLOYMENTS:
            new["status"] = pending()
        return self._store(place, None, new, {manager: owned})

    def apply(self, obj: Object, manager: str) -> Object:
        """Server-side apply with force; a uid is a precondition, and no field that is owned."""
        place = _place(obj)
        uid = obj["metadata"].pop("uid", None)
        live = self.objects.get(place)
        if live is None and uid is not None:
            message = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise ApiError(409, "Conflict", message)
        if live is None:
            return self._create(obj, manager, set(leaves(obj)))
        new, wanted = clone(live), leaves(obj)
        new["metadata"]["uid"] = uid or live["metadata"]["uid"]
        owners = {name: set(paths) for name, paths in self.owners[place].items()}
        for path, value in wanted.items():
            if lookup(new, path) != value:
                for others in owners.values():
                    others.discard(path)
                put(new, path, clone(value))
        for path in self.owners[place].get(manager, set()) - wanted.keys():
            shared = any(path in paths for name, paths in owners.items() if name != manager)
            if not shared and not any(other[: len(path)] == path for other in wanted):
                remove(new, path)
        owners[manager] = set(wanted)
        return self._store(place, live, new, owners)

    def update(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Object], Any], manager: str
    ) -> Object:
        """A PUT or PATCH by `manager`: what it changes belongs to it from then on."""
        place = (resource, namespace, name)
        live = self.objects.get(place)
        if live is None:
            raise ApiError(404, "NotFound", f'{resource.plural} "{name}" not found')
        new = clone(live)
        change(new)
        _tidy(new)
        before, after = leaves(live), leaves(new)
        touched = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p) and p[0] != "status"}
        owners = {who: paths - touched for who, paths in self.owners[place].items()}
        mine = owners.get(manager, set()) | (touched & after.keys())
        if mine:
            owners[manager] = mine
        return self._store(place, live, new, owners)

    def delete(self, resource: Resource, namespace: str, name: str, propagation: str = "Background") -> None:
        """Background and Orphan remove at once; Foreground waits for the garbage collector."""
        place = (resource, namespace, name)
        live = self.objects.get(place)
        if live is None:
            return
        if propagation == "Foreground":
            self.mark_deleted(place, [FOREGROUND])
            return
        if propagation == "Orphan":
            for (kind, _, child), obj in list(self.objects.items()):
                if any(r["uid"] == live["metadata"]["uid"] for r in obj["metadata"].get("ownerReferences") or []):
                    self.update(kind, namespace, child, lambda o: o["metadata"].pop("ownerReferences"), "gc")
        self.purge(place)

    def mark_deleted(self, place: Place, finalizers: list[str], grace: float = 0.0) -> None:
        """Set deletionTimestamp, once: `grace` seconds from now."""
        at = wire_time(self.now() + timedelta(seconds=grace))

        def change(obj: Object) -> None:
            obj["metadata"].setdefault("deletionTimestamp", at)
            obj["metadata"].setdefault("deletionGracePeriodSeconds", int(grace))
            obj["metadata"]["finalizers"] = finalizers

        self.update(*place, change, "apiserver")

    def purge(self, place: Place) -> None:
        """The object is gone."""
        gone = self.objects.pop(place)
        self.owners.pop(place)
        self._version += 1
        last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self._version)}}
        self.streams[place[0]].append(Event(self.now(), "DELETED", last))

    def _store(self, place: Place, live: Object | None, new: Object, owners: dict[str, set[Path]]) -> Object:
        resource = place[0]
        for hook in self.admit:
            hook(resource, new)
        _tidy(new)
        _default(resource, new)
        _validate(resource, live, new)
        if live is not None:
            if new == live and owners == self.owners[place]:
                return live
            if resource in GENERATED and _counts(resource, live, new):
                new["metadata"]["generation"] = live["metadata"]["generation"] + 1
        self._version += 1
        new["metadata"]["resourceVersion"] = str(self._version)
        self.objects[place], self.owners[place] = new, owners
        self.streams[resource].append(Event(self.now(), "MODIFIED" if live else "ADDED", new))
        return new


def leaves(obj: Object) -> dict[Path, Any]:
    """Every field by its path; lists are fields, but owner references stand by their uid."""
    found: dict[Path, Any] = {}

    def walk(value: Any, path: Path) -> None:
        if path == OWNERS:
            found.update({(*path, reference["uid"]): reference for reference in value})
        elif isinstance(value, dict) and value and not _is_whole(path, value):
            for key, inner in value.items():
                walk(inner, (*path, key))
        else:
            found[path] = value

    walk(obj, ())
    return {path: value for path, value in found.items() if path not in UNOWNED}


def _is_whole(path: Path, value: dict[str, Any]) -> bool:
    """Whether a map is one field: a ConfigMap's texts are fields of their own, a ControllerRevision's data are one."""
    texts = path == ("data",) and all(each is None or isinstance(each, str) for each in value.values())
    return path in ATOMIC and not texts


def lookup(obj: Object, path: Path) -> Any:
    """The value of a field; None without it."""
    if path[:2] == OWNERS:
        return next((r for r in obj["metadata"].get("ownerReferences") or [] if r["uid"] == path[2]), None)
    for key in path:
        obj = obj.get(key) if isinstance(obj, dict) else None  # type: ignore[assignment]
    return obj


def put(obj: Object, path: Path, value: Any) -> None:
    """Set a field, making what leads to it."""
    if path[:2] == OWNERS:
        others = [r for r in obj["metadata"].get("ownerReferences") or [] if r["uid"] != path[2]]
        obj["metadata"]["ownerReferences"] = [*others, value]
        return
    for key in path[:-1]:
        if not isinstance(obj.get(key), dict):
            obj[key] = {}
        obj = obj[key]
    obj[path[-1]] = value


def remove(obj: Object, path: Path) -> None:
    """Take a field away, and what becomes empty by that."""
    if path[:2] == OWNERS:
        obj["metadata"]["ownerReferences"] = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != path[2]]
        return
    parent = lookup(obj, path[:-1]) if len(path) > 1 else obj
    if isinstance(parent, dict):
        parent.pop(path[-1], None)
        if not parent and len(path) > 1:
            remove(obj, path[:-1])


def _tidy(obj: Object) -> None:
    """Empty maps and lists of metadata are not written."""
    for key in ("labels", "annotations", "ownerReferences"):
        if not obj["metadata"].get(key, True):
            del obj["metadata"][key]


def _default(resource: Resource, obj: Object) -> None:
    """Some of what the API server fills in, so that the live object is never quite the applied one."""
    spec = obj.get("spec")
    if resource is DEPLOYMENTS:
        spec.setdefault("replicas", 1)
        if "template" in spec:
            spec["template"]["spec"].setdefault("schedulerName", "default-scheduler")
    elif resource is SERVICES:
        spec.setdefault("clusterIP", "10.0.0.1")
        spec.setdefault("sessionAffinity", "None")
    elif resource is HPAS:
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
        spec.setdefault("metrics", [{"type": "Resource", "resource": cpu}])
        if "scaleDown" in spec.get("behavior", {}):
            spec["behavior"]["scaleDown"].setdefault("selectPolicy", "Max")


def _counts(resource: Resource, live: Object, new: Object) -> bool:
    """Whether a change counts the generation: of spec, of a Deployment's annotations, or the mark of a deletion."""
    noted = resource is DEPLOYMENTS and live["metadata"].get("annotations") != new["metadata"].get("annotations")
    marked = "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in live["metadata"]
    return bool(new.get("spec") != live.get("spec")) or noted or marked


def _validate(resource: Resource, live: Object | None, new: Object) -> None:
    if live is not None and live["metadata"]["uid"] != new["metadata"]["uid"]:
        cause = {"reason": "FieldValueInvalid", "message": "field is immutable", "field": "metadata.uid"}
        raise ApiError(422, "Invalid", "metadata.uid: field is immutable", causes=[cause])
    if resource is MODEL_DEPLOYMENTS:
        try:
            ModelDeploymentStatus.model_validate(new.get("status") or {})
        except ValueError as error:
            raise ApiError(422, "Invalid", f"status is none that the CRD takes: {error}") from error
    controllers = [r for r in new["metadata"].get("ownerReferences") or [] if r.get("controller")]
    if len(controllers) > 1:
        raise ApiError(422, "Invalid", "Only one reference can have Controller set to true")
    if resource is DEPLOYMENTS and not {"selector", "template"} <= new["spec"].keys():
        raise ApiError(422, "Invalid", "spec.selector, spec.template: Required value")
    if resource is HPAS and new["spec"].get("minReplicas", 1) > new["spec"]["maxReplicas"]:
        raise ApiError(422, "Invalid", "spec.maxReplicas: must be greater than or equal to minReplicas")
    if live is None:
        return
    if resource is DEPLOYMENTS and live["spec"]["selector"] != new["spec"]["selector"]:
        raise ApiError(422, "Invalid", "spec.selector: field is immutable")
    if resource is CONTROLLER_REVISIONS and live["data"] != new["data"]:
        raise ApiError(422, "Invalid", "data: field is immutable")


def _place(obj: Object) -> Place:
    return resource_of(obj), obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


@dataclass(frozen=True)
class Call:
    """One request of the operator."""

    verb: str
    resource: Resource
    name: str
    body: Any = None
    manager: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource.kind} {self.name}"


def merge_patch(obj: Object, patch: Object) -> None:
    """RFC 7386, in place."""
    for key, value in patch.items():
        if value is None:
            obj.pop(key, None)
        elif isinstance(value, dict):
            found = obj.get(key)
            obj[key] = found if isinstance(found, dict) else {}
            merge_patch(obj[key], value)
        else:
            obj[key] = clone(value) if isinstance(value, list) else value


class Killed(BaseException):
    """The operator's process ends here: no handler of its own may catch it."""


class Client:
    """The API server as one operator process sees it; implements podium.kube.client.KubeClient.

    `calls` are all requests; `before` and `after` watch each write; `faults` are raised, one at each write,
    before it is done; with `kill_after` = n the process ends once its n-th write from now on is done.
    """

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self.calls: list[Call] = []
        self.faults: list[ApiError | None] = []
        self.kill_after: int | None = None
        self.before: list[Callable[[Call], None]] = []
        self.after: list[Callable[[Call], None]] = []

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        self.calls.append(Call("get", resource, name))
        live = self._api.get(resource, namespace, name)
        if live is None:
            return None
        fields = self._api.managed_fields(resource, namespace, name)
        return {**live, "metadata": {**live["metadata"], "managedFields": fields}}

    async def create(self, obj: Object) -> Object:
        call = Call("create", resource_of(obj), obj["metadata"]["name"], obj)
        return self._write(call, lambda: self._api.create(clone(obj), UPDATES))

    async def apply(self, obj: Object, *, manager: str = "podium") -> Object:
        call = Call("apply", resource_of(obj), obj["metadata"]["name"], obj, manager)
        return self._write(call, lambda: self._api.apply(clone(obj), manager))

    async def annotate(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        annotations: dict[str, str | None],
        *,
        resource_version: str | None = None,
    ) -> Object:
        def change(obj: Object) -> None:
            found = {**(obj["metadata"].get("annotations") or {}), **annotations}
            obj["metadata"]["annotations"] = {key: value for key, value in found.items() if value is not None}

        def write() -> Object:
            self._check_version(resource, namespace, name, resource_version)
            return self._api.update(resource, namespace or "", name, change, UPDATES)

        return self._write(Call("annotate", resource, name, annotations), write)

    async def merge(self, resource: Resource, namespace: str | None, name: str, patch: Object) -> Object:
        def write() -> Object:
            return self._api.update(resource, namespace or "", name, lambda obj: merge_patch(obj, patch), UPDATES)

        return self._write(Call("merge", resource, name, patch), write)

    async def write_status(self, resource: Resource, obj: Object, status: Object) -> Object:
        meta = obj["metadata"]

        def write() -> Object:
            self._check_version(resource, meta["namespace"], meta["name"], meta["resourceVersion"])
            body = clone(status)
            return self._api.update(resource, meta["namespace"], meta["name"], lambda o: o.update(status=body), UPDATES)

        return self._write(Call("status", resource, meta["name"], status), write)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        def write() -> None:
            live = self._api.get(resource, namespace, name)
            if live is not None and uid in (None, live["metadata"]["uid"]):
                self._api.delete(resource, namespace or "", name, propagation)

        self._write(Call("delete", resource, name), write)

    def _check_version(self, resource: Resource, namespace: str | None, name: str, version: str | None) -> None:
        live = self._api.get(resource, namespace, name)
        if live is None:
            raise ApiError(404, "NotFound", f'{resource.plural} "{name}" not found')
        if version is not None and live["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", "the object has been modified; please apply your changes to the latest")

    def _write(self, call: Call, write: Callable[[], Any]) -> Any:
        self.calls.append(call)
        if self.faults and (fault := self.faults.pop(0)) is not None:
            raise fault
        for hook in self.before:
            hook(call)
        answer = write()
        for hook in self.after:
            hook(call)
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after <= 0:
                raise Killed(str(call))
        return answer
