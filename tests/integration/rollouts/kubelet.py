"""The kubelet and the scheduler of a cluster that has no nodes: it writes what they would write, by a script.

A script says how the pods of one version of one model behave; without one they run and are ready at once. Pods that
are being deleted go at once, unless they are held.
"""

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from tests.integration.rollouts.api import Api, Object, Refusal
from tests.integration.rollouts.world import World
from tests.invariants import Version

NODE: Final = "node"
FETCHED: Final = f"sha256:{'0' * 64}"
"""Digest of every model."""
VERSION: Final = "podium.dev/version"
MODEL: Final = "podium.dev/model"


class Script(Protocol):
    """How the pods of a version behave."""

    def status(self, pod: Object, position: int) -> Object:
        """A pod's status; `position` counts the version's living pods by age, from 0."""
        ...


@dataclass(frozen=True)
class Serves:
    """Containers run; the oldest `limit` pods are ready (None: all)."""

    limit: int | None = None

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        ready = self.limit is None or position < self.limit
        containers = [_container(one, ready=ready, state={"running": {}}) for one in pod["spec"]["containers"]]
        return _status("Running", ready, containers, _fetched(pod))


@dataclass(frozen=True)
class Crashes:
    """The model's container ends and is started again and again."""

    restarts: int = 3
    message: str = "ValueError: no such operator"

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": self.message}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
        containers = [
            _container(one, state=waiting, last=ended, restarts=self.restarts) for one in pod["spec"]["containers"]
        ]
        return _status("Running", False, containers, _fetched(pod))


@dataclass(frozen=True)
class CannotPull:
    """The image is not there."""

    message: str = "Back-off pulling image: not found"

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": self.message}}
        containers = [_container(one, state=waiting) for one in pod["spec"]["containers"]]
        return _status("Pending", False, containers, _fetched(pod))


@dataclass(frozen=True)
class FetchFails:
    """The init container ends with the fetcher's termination message."""

    permanent: bool = True
    reason: str = "ChecksumMismatch"
    message: str = "sha256 is 9f86d0, spec.model.sha256 is 60303a"
    restarts: int = 1

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        words = {"permanent": self.permanent, "reason": self.reason, "message": self.message}
        ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": json.dumps(words)}}
        init = [_container(one, state=ended, restarts=self.restarts) for one in pod["spec"].get("initContainers") or []]
        waiting = {"waiting": {"reason": "PodInitializing"}}
        containers = [_container(one, state=waiting) for one in pod["spec"]["containers"]]
        return _status("Pending", False, containers, init)


@dataclass(frozen=True)
class Misconfigured:
    """The kubelet cannot make the container: a Secret is missing, for instance."""

    message: str = 'secret "s3" not found'

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": self.message}}
        return _status("Pending", False, [_container(one, state=waiting) for one in pod["spec"]["containers"]], [])


@dataclass(frozen=True)
class Unschedulable:
    """No node takes the pod."""

    message: str = "0/3 nodes are available: 3 Insufficient memory."

    def status(self, pod: Object, position: int) -> Object:
        """See Script."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": self.message}
        return {"phase": "Pending", "conditions": [condition | {"lastTransitionTime": _now()}]}


SERVES: Final = Serves()


class Kubelet:
    """Writes the status of all pods of the cluster."""

    def __init__(self, api: Api, world: World) -> None:
        self._api = api
        self._world = world
        self._scripts: dict[tuple[str, str, str], Script] = {}
        self._ahead: dict[str, timedelta] = {}
        self._idle: set[str] = set()
        self._addresses = _addresses()
        self._address: dict[str, str] = {}
        self._fixed: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._busy: dict[tuple[str, str], bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._versions: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        self.failures: list[BaseException] = []
        world.listen("Pod", self._seen)

    async def register(self) -> None:
        """Make the one node, without which no EndpointSlice lists a pod."""
        await self._api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})

    async def close(self) -> None:
        """Do nothing more: a request on its way when the session's loop ends would leave its connection open."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def script(self, namespace: str, version: str, script: Script, *, model: str = "fraud") -> None:
        """From now on the pods of this version of the model behave like that, those that are there included."""
        self._scripts[namespace, model, version] = script
        self._look_again(namespace)

    def place(self, namespace: str, model: str, address: str, *version: str) -> None:
        """From now on pods of this model, or of this version of it alone, are given that address."""
        self._fixed[namespace, model, *version] = (address,)

    def place_each(self, namespace: str, model: str, addresses: Sequence[str]) -> None:
        """From now on each pod of this model is given one of these addresses that no pod has had yet."""
        self._fixed[namespace, model] = tuple(addresses)

    def set_clock(self, namespace: str, ahead: timedelta) -> None:
        """From now on the nodes that run the pods of this namespace have a clock that is so far ahead."""
        self._ahead[namespace] = ahead

    def stop(self, namespace: str) -> None:
        """Write nothing more in this namespace: whoever asked does it by hand."""
        self._idle.add(namespace)

    def _look_again(self, namespace: str) -> None:
        for pod in self._world.all("Pod", namespace):
            self._look((namespace, pod["metadata"]["name"]))

    def _seen(self, version: Version) -> None:
        meta = version.obj["metadata"]
        namespace = meta["namespace"]
        group = _group(version.obj)
        if version.event == "DELETED" or "deletionTimestamp" in meta:
            # Positions move up when an older pod goes.
            others = self._versions[group] - {meta["name"]}
            self._versions[group] = others
            if isinstance(self._script(group), Serves) and self._script(group) != SERVES:
                for name in others:
                    self._look((namespace, name))
        else:
            self._versions[group].add(meta["name"])
        if version.event != "DELETED":
            self._look((namespace, meta["name"]))

    def _script(self, group: tuple[str, str, str]) -> Script:
        return self._scripts.get(group, SERVES)

    def _look(self, key: tuple[str, str]) -> None:
        if key[0] in self._idle:
            return
        if key in self._busy:
            self._busy[key] = True  # once more when the present work is done
            return
        self._busy[key] = False
        task = asyncio.create_task(self._work(key))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    async def _work(self, key: tuple[str, str]) -> None:
        try:
            while True:
                self._busy[key] = False
                pod = self._world.get("Pod", *key)
                if pod is not None:
                    await self._step(pod)
                if not self._busy[key]:
                    return
        finally:
            del self._busy[key]

    async def _step(self, pod: Object) -> None:
        meta = pod["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        try:
            if "deletionTimestamp" in meta:
                await self._api.delete("Pod", namespace, name, grace=0)
                return
            group = _group(pod)
            wanted = self._script(group).status(pod, self._position(pod, group))
            if not isinstance(self._script(group), Unschedulable) and "nodeName" not in pod["spec"]:
                await self._bind(namespace, name)
            address = self._address.get(meta["uid"]) or self._next_address(group)
            self._address[meta["uid"]] = address
            wanted |= {"podIP": address, "podIPs": [{"ip": address}], "hostIP": "10.0.0.1"}
            if not _says(pod.get("status") or {}, wanted):
                _shift_times(wanted, self._ahead.get(namespace, timedelta(0)))
                _keep_times(pod, wanted)
                await self._api.merge(
                    "Pod", namespace, name, {"status": wanted}, subresource="status", manager="kubelet"
                )
        except (Refusal, OSError) as error:
            # Gone or changed meanwhile, which its next event tells; or the API server is away, by a test's doing.
            if isinstance(error, Refusal) and error.status in (404, 409):
                return
            await asyncio.sleep(0.2)
            self._busy[namespace, name] = True

    def _next_address(self, group: tuple[str, str, str]) -> str:
        """For a pod that has none yet: where a place is kept for such pods, the first that none has had."""
        fixed = self._fixed.get(group) or self._fixed.get(group[:2])
        if fixed is None:
            return next(self._addresses)
        return next((place for place in fixed if place not in self._address.values()), fixed[0])

    async def _bind(self, namespace: str, name: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        await self._api.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", body)

    def _position(self, pod: Object, group: tuple[str, str, str]) -> int:
        mine = [
            (one["metadata"]["creationTimestamp"], not _ready(one), one["metadata"]["name"])
            for one in self._world.all("Pod", group[0])
            if _group(one) == group and "deletionTimestamp" not in one["metadata"]
        ]
        mine.sort(key=lambda one: (one[1], one[0], one[2]))  # whoever is ready stays so
        return [name for *_, name in mine].index(pod["metadata"]["name"])


def _addresses() -> Iterator[str]:
    return (f"10.{a}.{b}.{c}" for a, b, c in itertools.product(range(64, 128), range(256), range(1, 255)))


def _group(pod: Object) -> tuple[str, str, str]:
    meta = pod["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return meta["namespace"], labels.get(MODEL, ""), annotations.get(VERSION, "")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _shift_times(wanted: Object, ahead: timedelta) -> None:
    for one in wanted["conditions"]:
        at = datetime.fromisoformat(one["lastTransitionTime"]) + ahead
        one["lastTransitionTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _keep_times(pod: Object, wanted: Object) -> None:
    """A condition that stays as it is has not changed now."""
    before = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or []}
    for one in wanted["conditions"]:
        if before.get(one["type"], {}).get("status") == one["status"]:
            one["lastTransitionTime"] = before[one["type"]]["lastTransitionTime"]


def _status(phase: str, ready: bool, containers: list[Object], init: list[Object]) -> Object:
    words = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    conditions = [
        {"type": kind, "status": "True" if value else "False", "lastTransitionTime": _now()}
        for kind, value in words.items()
    ]
    return {
        "phase": phase,
        "conditions": conditions,
        "containerStatuses": containers,
        "initContainerStatuses": init,
    }


def _fetched(pod: Object) -> list[Object]:
    said = {"result": "done", "digest": FETCHED, "bytes": 7, "files": 1, "seconds": 0.1, "attempts": 1, "reused": False}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": json.dumps(said)}}
    return [_container(one, ready=True, state=ended) for one in pod["spec"].get("initContainers") or []]


def _container(
    spec: Object, *, state: Object, ready: bool = False, last: Object | None = None, restarts: int = 0
) -> Object:
    return {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def _says(live: Any, wanted: Any) -> bool:
    """Whether the live status says all that is wanted; times do not count."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key == "lastTransitionTime" or _says(live.get(key), value)
            for key, value in wanted.items()
            if value not in ([], None)
        )
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(_says, live, wanted))
    return bool(live == wanted)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
