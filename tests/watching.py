"""A watcher that records the history of all ModelDeployments, and holds it to the rules of all worlds.

    with Watcher(Client(kubeconfig)) as watcher:
        ...
    assert not watcher.violations()

Others than Podium may take pods away, and Services. What changed while the API server could not be watched is known,
and not judged: nobody knows when.
"""

import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

import requests

from podium.watch.kinds import NamespacedName
from tests.client import Client, Object, Refused, condition
from tests.invariants import LISTED, LOST, Version, author, model_of, violations

GRACE = 4.0
"""Seconds by which the operator may be late to see ready endpoints, or a record that somebody else takes away."""
SLACK = 3.0
"""Seconds by which a pod may be available before it seems so here: the API server's times are whole seconds, those of
this process begin anywhere, and of two watches one may be read later than the other."""
WATCH = 3
"""Seconds of one watch request, and so what a watcher takes to end."""
KINDS = ("EndpointSlice", "ControllerRevision", "Deployment", "Service", "ConfigMap", "Pod", "ModelDeployment")


class Watcher:
    """A context manager. `namespace` None means all of them.

    `seen` counts the statuses that were written, `judged` those of them that said Ready=True.
    """

    def __init__(self, client: Client, namespace: str | None = None) -> None:
        self._client, self._namespace = client, namespace
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._history: list[Version] = []
        self._there: dict[str, dict[NamespacedName, Object]] = {kind: {} for kind in KINDS}
        self._gaps: list[tuple[int, int]] = []
        self.judged = 0
        self.seen = 0

    def __enter__(self) -> Self:
        for kind in KINDS:
            listed = threading.Event()
            thread = threading.Thread(target=self._follow, args=(kind, listed), daemon=True, name=f"watch {kind}")
            thread.start()
            self._threads.append(thread)
            if not listed.wait(30):
                raise TimeoutError(f"{kind} could not be listed within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def violations(self) -> list[str]:
        """How what was seen so far breaks the rules, a sentence each."""
        with self._lock:
            history, gaps = list(self._history), list(self._gaps)

        def told(version: Version) -> Version:
            unknown = any(begin < version.revision <= end for begin, end in gaps)
            return replace(version, event=LOST if version.gone else LISTED) if unknown else version

        return violations((told(version) for version in history), alone=False, late=GRACE, slack=SLACK)

    def _follow(self, kind: str, listed: threading.Event) -> None:
        version = last = ""
        while not self._stop.is_set():
            try:
                if not version:
                    version = self._list(kind, last)
                    listed.set()
                version = self._watch(kind, version)
                last = version or last
            except (requests.RequestException, Refused, ValueError):
                # The API server is away for a while, or the kinds are not there yet: tests do such things.
                version = ""
                self._stop.wait(0.5)

    def _list(self, kind: str, last: str) -> str:
        """All there is, as known; where a watch came before, what happened since `last` is not."""
        found = self._client.listed(kind, self._namespace)
        now = str(found["metadata"]["resourceVersion"])
        with self._lock:
            gone = dict(self._there[kind])
            for obj in found["items"]:
                self._take(LISTED, kind, obj)
                gone.pop(_name(obj), None)
            for obj in gone.values():
                self._take(LOST, kind, {**obj, "metadata": {**obj["metadata"], "resourceVersion": now}})
            if last:
                self._gaps.append((int(last), int(now)))
        return now

    def _watch(self, kind: str, version: str) -> str:
        """Takes in the events of some seconds; returns the version to go on from, empty for a new list."""
        for event in self._client.watch(kind, self._namespace, version, WATCH):
            if event["type"] == "ERROR":
                return ""
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                with self._lock:
                    self._take(event["type"], kind, event["object"])
        return version

    def _take(self, event: str, kind: str, obj: Object) -> None:
        before = self._there[kind].get(_name(obj))
        if not (model_of(kind, obj) or before):
            return  # what is nobody's is not kept
        version = Version(
            int(obj["metadata"]["resourceVersion"]), time.monotonic(), event, kind, obj, author(event, kind, obj)
        )
        self._history.append(version)
        if version.gone:
            self._there[kind].pop(_name(obj), None)
            return
        self._there[kind][_name(obj)] = obj
        new = obj.get("status") != (before or {}).get("status")
        if kind == "ModelDeployment" and event != LISTED and new:
            self.seen += 1
            self.judged += condition(obj, "Ready").get("status") == "True"


def _name(obj: Object) -> NamespacedName:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
