"""A watcher that holds every status that is written to the rule on Ready=True.

The rule: no status write sets Ready=True unless observedGeneration is the generation that it was computed from, spec's
revision is the champion, and a ready endpoint is behind the stable Service (replicas 0 aside). Endpoints are judged as
of any moment in the 2 s before the write, since the operator's own view lags the cluster's by a little.

    with Watcher(Client(kubeconfig)) as watcher:
        ...
    assert not watcher.violations

Only versions whose `.status` changed are judged: between a spec write and the next status write, the old status stands.
What changed while the API server could not be watched is not judged, as its moment is not known.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import requests

from podium.api import names
from podium.api.v1alpha1 import InvalidSpec, ModelDeploymentSpec
from podium.manifests.revision import inputs_digest
from tests.client import Client, Object, Refused, condition

GRACE = 2.0
"""Seconds before a write in which a ready endpoint must have been there."""
SETTLE = 1.0
"""Seconds that a status waits for the other watches, whose events may come a little later, before it is judged."""
WATCH = 3
"""Seconds of one watch request, and so what a watcher takes to end."""
SKEW = 0.5
"""Seconds by which one watch's events may come later than another's."""
Key = tuple[str, str]


class Watcher:
    """Watches ModelDeployments, EndpointSlices and ControllerRevisions. A context manager.

    `namespace` None means all of them. `violations` are sentences; `judged` counts the statuses that said Ready=True.
    """

    def __init__(self, client: Client, namespace: str | None = None) -> None:
        self._client, self._namespace = client, namespace
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._slices: dict[Key, dict[str, bool]] = defaultdict(dict)
        self._ready: dict[Key, list[tuple[float, bool]]] = defaultdict(list)
        self._revisions: dict[Key, dict[str, str]] = {}
        self._statuses: dict[str, Object] = {}
        self._pending: list[tuple[float, Object]] = []
        self.violations: list[str] = []
        self.judged = 0
        self.seen = 0

    def __enter__(self) -> Self:
        kinds: Sequence[tuple[str, Callable[[str, Object], None]]] = (
            ("EndpointSlice", self._endpoint_slice),
            ("ControllerRevision", self._controller_revision),
            ("ModelDeployment", self._model_deployment),
        )
        for kind, handle in kinds:
            listed = threading.Event()
            thread = threading.Thread(
                target=self._follow, args=(kind, handle, listed), daemon=True, name=f"watch {kind}"
            )
            thread.start()
            self._threads.append(thread)
            if not listed.wait(30):
                raise TimeoutError(f"{kind} could not be listed within 30 s")
        judge = threading.Thread(target=self._judge_all, daemon=True, name="watch judge")
        judge.start()
        self._threads.append(judge)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, kind: str, handle: Callable[[str, Object], None], listed: threading.Event) -> None:
        version = ""
        while not self._stop.is_set():
            try:
                if not version:
                    version = self._list(kind, handle)
                    listed.set()
                version = self._watch(kind, handle, version)
            except (requests.RequestException, Refused, ValueError):
                # The API server is away for a while, or the kinds are not there yet: tests do such things.
                version = ""
                self._stop.wait(0.5)

    def _list(self, kind: str, handle: Callable[[str, Object], None]) -> str:
        found = self._client.listed(kind, self._namespace)
        with self._lock:
            for obj in found["items"]:
                handle("LISTED", obj)
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, kind: str, handle: Callable[[str, Object], None], version: str) -> str:
        """Handles the events of some seconds; returns the version to go on from, empty for a new list."""
        for event in self._client.watch(kind, self._namespace, version, WATCH):
            if event["type"] == "ERROR":
                return ""
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                with self._lock:
                    handle(event["type"], event["object"])
        return version

    def _endpoint_slice(self, event: str, obj: Object) -> None:
        meta = obj["metadata"]
        service = (meta.get("labels") or {}).get("kubernetes.io/service-name")
        if service is None:
            return
        key = (meta["namespace"], service)
        if event == "DELETED":
            self._slices[key].pop(meta["name"], None)
        else:
            endpoints = obj.get("endpoints") or []
            self._slices[key][meta["name"]] = any((e.get("conditions") or {}).get("ready") for e in endpoints)
        self._ready[key].append((time.monotonic(), any(self._slices[key].values())))

    def _controller_revision(self, event: str, obj: Object) -> None:
        meta = obj["metadata"]
        if event != "DELETED":
            self._revisions[meta["namespace"], meta["name"]] = meta.get("annotations") or {}

    def _model_deployment(self, event: str, obj: Object) -> None:
        uid, status = obj["metadata"]["uid"], obj.get("status") or {}
        if event == "DELETED":
            self._statuses.pop(uid, None)
        elif self._statuses.get(uid) != status:
            self._statuses[uid] = status
            if event != "LISTED":
                self._pending.append((time.monotonic(), obj))

    def _judge_all(self) -> None:
        while True:
            stopping = self._stop.wait(0.2)
            with self._lock:
                limit = time.monotonic() - SETTLE
                due = [entry for entry in self._pending if stopping or entry[0] <= limit]
                self._pending = self._pending[len(due) :]
                for at, obj in due:
                    self.seen += 1
                    if condition(obj, "Ready").get("status") == "True":
                        self.judged += 1
                        self._judge(at, obj)
            if stopping:
                return

    def _judge(self, at: float, obj: Object) -> None:
        meta, status = obj["metadata"], obj["status"]
        who = f"{meta['namespace']}/{meta['name']} at resourceVersion {meta['resourceVersion']}"
        observed = {status.get("observedGeneration"), condition(obj, "Ready").get("observedGeneration")}
        if observed != {meta["generation"]}:
            self.violations.append(f"{who}: Ready for generation {observed}, but spec's is {meta['generation']}")
        champion = (status.get("champion") or {}).get("revision", "")
        record = self._revisions.get((meta["namespace"], champion), {})
        with suppress(InvalidSpec):
            digest = inputs_digest(ModelDeploymentSpec.parse(obj["spec"]).inputs())
            if record.get(names.ANNOTATION_INPUTS) != digest:
                self.violations.append(f"{who}: Ready, but the champion {champion} is not of spec's inputs {digest}")
        if record.get(names.ANNOTATION_OUTCOME) != "Promoted":
            self.violations.append(f"{who}: Ready, but the outcome of {champion} is {record or 'unknown'}")
        wanted = (status.get("champion") or {}).get("desired", 0)
        if wanted and not self._was_ready((meta["namespace"], meta["name"]), at):
            self.violations.append(f"{who}: Ready, but no ready endpoint in the {GRACE:g} s before")

    def _was_ready(self, key: Key, at: float) -> bool:
        """Whether an endpoint was ready at any moment from GRACE before `at` until the events on their way then."""
        ready = False
        for moment, state in self._ready[key]:
            if moment > at + SKEW:
                break
            if ready and moment >= at - GRACE:
                return True
            ready = state
            if ready and moment >= at - GRACE:
                return True
        return ready
