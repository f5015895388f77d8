"""Everything that happens in the cluster, in its order: the store that tests wait on and judge by."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Api, Object, Refusal
from tests.invariants import Version, author, violations

WATCHED: Final = (
    "Namespace",
    MODEL_DEPLOYMENT,
    "ControllerRevision",
    "Deployment",
    "Service",
    "ConfigMap",
    "EndpointSlice",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Pod",
    "ReplicaSet",
)
LATE: Final = 2.0
"""Seconds by which what the operator sees, and what is seen of it, may be late."""
PATIENCE: Final = 120.0
"""Seconds that a condition may take: plenty on a busy machine. What is awaited normally comes within one or two."""


Listener = Callable[[Version], None]


class World:
    """Watches the whole cluster; `run` for as long as it is used."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.history: dict[str, list[Version]] = defaultdict(list)
        """By namespace, in the order of arrival; sort by `revision` across kinds."""
        self._objects: dict[str, dict[str, dict[str, Object]]] = defaultdict(lambda: defaultdict(dict))
        self._listeners: list[tuple[str, Listener]] = []
        self._changed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._listed: set[str] = set()
        self.ready = asyncio.Event()

    def violations(self, namespace: str, *, alone: bool = True, deleted: Collection[str] = ()) -> list[str]:
        """Rules that were broken in a namespace.

        `alone`: nobody but Podium has taken anything away. Objects with the uids `deleted` are taken as if they had
        been there throughout.
        """
        history = self.history[namespace]
        kept = [one for one in history if not (_went(one) and one.obj["metadata"]["uid"] in deleted)]
        return violations(kept, alone=alone, slack=LATE)

    def listen(self, kind: str, listener: Listener) -> None:
        """Have `listener` called with every version of a kind from now on."""
        self._listeners.append((kind, listener))

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now; None if there is none."""
        return self._objects[namespace][kind].get(name)

    def status(self, namespace: str, model: str) -> Object:
        """Of a ModelDeployment; empty if there is none yet."""
        obj = self.get(MODEL_DEPLOYMENT, namespace, model) or {}
        return dict(obj.get("status") or {})

    def all(self, kind: str, namespace: str) -> list[Object]:
        """All objects of a kind in a namespace, by name."""
        found = self._objects[namespace][kind]
        return [found[name] for name in sorted(found)]

    async def until(
        self,
        namespace: str,
        condition: Callable[[], object],
        what: str,
        *,
        seconds: float = PATIENCE,
        explain: Callable[[], str] = str,
    ) -> None:
        """Return once `condition` holds, which is asked after every change in the namespace.

        A condition that meets a missing key is not true yet. AssertionError says `what` did not come, and `explain`.
        """
        changed = self._changed[namespace]
        end = time.monotonic() + seconds
        while True:
            changed.clear()
            if _holds(condition):
                return
            try:
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await changed.wait()
            except TimeoutError:
                raise AssertionError(f"{namespace}: after {seconds:g} s not there: {what}\n{explain()}") from None

    async def stays(
        self, namespace: str, condition: Callable[[], object], what: str, *, seconds: float, explain: Callable[[], str]
    ) -> None:
        """Return after so many seconds during which `condition` held after every change; else AssertionError."""
        changed = self._changed[namespace]
        end = time.monotonic() + seconds
        while True:
            changed.clear()
            if not _holds(condition):
                raise AssertionError(f"{namespace}: no longer so: {what}\n{explain()}")
            try:
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await changed.wait()
            except TimeoutError:
                return

    async def caught_up(self, namespace: str) -> None:
        """Return once the watches have told all that the API server held of a namespace when this was called."""
        for kind in WATCHED[1:]:
            items, _ = await self.api.list(kind, namespace)
            there = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in items}
            await self.until(
                namespace,
                lambda there=there, kind=kind: self._holds_all(namespace, kind, there),  # type: ignore[misc]
                f"the watch of {kind}",
            )

    def _holds_all(self, namespace: str, kind: str, there: dict[str, int]) -> bool:
        newest = max(there.values(), default=0)
        known = {name: int(obj["metadata"]["resourceVersion"]) for name, obj in self._objects[namespace][kind].items()}
        lacking = [name for name, version in there.items() if known.get(name, -1) < version]
        # What has gone since, or come, is no lack.
        gone = [one.name for one in self.history[namespace] if one.event == "DELETED" and one.revision > newest]
        stale = [name for name, version in known.items() if name not in there and version <= newest]
        return not stale and all(name in gone for name in lacking)

    async def run(self) -> None:
        """List and watch every kind until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in WATCHED:
                group.create_task(self._follow(kind))

    async def _follow(self, kind: str) -> None:
        while True:
            try:
                items, version = await self.api.list(kind)
                for item in items:
                    self._take("ADDED", kind, item)
                self._listed.add(kind)
                if len(self._listed) == len(WATCHED):
                    self.ready.set()
                while True:
                    async for event, obj in self.api.watch(kind, version):
                        if event == "ERROR":
                            raise Refusal(int(obj.get("code", 0)), str(obj.get("message")))
                        version = obj["metadata"]["resourceVersion"]
                        if event != "BOOKMARK":
                            self._take(event, kind, obj)
            except (Refusal, OSError):
                # The API server is away, by a test's doing: what was deleted meanwhile is told by a new list.
                await asyncio.sleep(0.1)

    def _take(self, event: str, kind: str, obj: Object) -> None:
        meta = obj["metadata"]
        namespace, name = meta.get("namespace", ""), meta["name"]
        seen = Version(int(meta["resourceVersion"]), time.monotonic(), event, kind, obj, author(event, kind, obj))
        self.history[namespace].append(seen)
        if event == "DELETED":
            self._objects[namespace][kind].pop(name, None)
        else:
            self._objects[namespace][kind][name] = obj
        for wanted, listener in self._listeners:
            if wanted == kind:
                listener(seen)
        self._changed[namespace].set()


def _went(version: Version) -> bool:
    """Whether the object has gone by this version, or was on its way: one with finalizers is marked first."""
    return version.gone or "deletionTimestamp" in version.obj["metadata"]


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except (KeyError, IndexError, TypeError):
        return False
