"""A cluster in memory, on a virtual clock, on which the real Reconciler, Cache and Feed run.

What is simulated is Kubernetes (apiserver.py, controllers.py) and the process around the reconciler: watches that may
lag, a queue of one key with one timer, restarts. Nothing of Podium is replaced, but for the Recorder, which here
keeps what it is told. No sleeping and no event loop: a call of the simulated API server answers at once.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from podium.api import names
from podium.keys import Key
from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PODS,
    SERVICES,
    Resource,
)
from podium.reconcile.loop import Reconciler
from podium.reconcile.outcome import PassRefused
from podium.settings import Settings
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.kept import model_of
from podium.watch.kinds import KINDS, by_model
from tests.unit.planner.apiserver import ApiServer, Client, Killed, clone
from tests.unit.planner.controllers import Behaviour, Controllers, is_over, is_ready
from tests.unit.planner.measuring import Measuring
from tests.unit.planner.routers import Routers

NAME, NAMESPACE = "fraud", "ml"
KEY = MODEL_DEPLOYMENTS.key(NAMESPACE, NAME)
CHILDREN = tuple(resource for resource, kind in KINDS.items() if kind.index is by_model)
START = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
RETRY = 1.0
"""Seconds until a pass that failed is tried again."""
RUNTIMES: list[Object] = list(yaml.safe_load_all(Path("charts/podium/files/runtimes.yaml").read_text()))
MAX_PASSES = 12
"""Passes at one moment; more mean that the operator keeps itself awake."""


SENTENCES: set[tuple[str, str]] = set()
"""Reason and sentence of each Event, and of each condition that a pass leaves, in all worlds."""


@dataclass(frozen=True)
class Said:
    """An Event that was emitted."""

    type: str
    reason: str
    note: str
    fault: str = ""
    related: str = ""


@dataclass
class Heard:
    """A Recorder that keeps what it is told."""

    said: list[Said] = field(default_factory=list)

    def emit(
        self,
        regarding: Object,
        *,
        type: str,
        reason: str,
        note: str,
        action: str,
        related: Object | None = None,
        fault: str = "",
    ) -> None:
        self.said.append(Said(type, reason, note, fault, related["metadata"]["name"] if related else ""))
        SENTENCES.add((reason, note))


@dataclass
class Wakes:
    """The queue of one key: due now or at a time. As in the real one, taking the key clears its timer."""

    clock: Callable[[], datetime]
    at: datetime | None = None
    longest: float = RETRY
    """Seconds that tries are apart at the most: each failure in a row doubles them, as in the real one."""
    failures: int = 0
    """In a row."""
    retry_at: datetime | None = None
    """When the pass that failed last is tried again."""

    def add(self, key: Key) -> None:
        if key == KEY:
            self.at = self.clock()

    def after(self, seconds: float) -> None:
        due = self.clock() + timedelta(seconds=seconds)
        self.at = due if self.at is None else min(self.at, due)

    def retry(self) -> None:
        """The pass failed; one that something else woke before its time is no further failure in a row."""
        now = self.clock()
        if self.retry_at is None or self.retry_at <= now:
            self.retry_at = now + timedelta(seconds=min(self.longest, RETRY * 2 ** min(self.failures, 32)))
            self.failures += 1
        self.after((self.retry_at - now).total_seconds())

    def succeeded(self) -> None:
        """The next failure is the first one."""
        self.failures, self.retry_at = 0, None


class World:
    """One ModelDeployment, the cluster around it, and the operator."""

    def __init__(self, **settings: Any) -> None:
        self.now = START
        self.api = ApiServer(lambda: self.now)
        self.cluster = Controllers(self.api)
        self.routers = Routers(self.api, NAMESPACE)
        self.measuring: Any = Measuring(lambda: self.now)  # or what stands for it: counting.py, scraped.py
        self.settings = Settings(identity="podium-a", **settings)
        self.ahead = timedelta(0)
        """By how much the operator's clock is ahead of the API server's."""
        self.heard = Heard()
        self.lag: dict[Resource, float] = {}
        """Seconds by which a kind's watch is late."""
        self.client = Client(self.api)
        self.wakes = Wakes(lambda: self.now)
        self.after_pass: list[Callable[[], None]] = []
        self.failures: list[ApiError | PassRefused] = []
        """What passes were ended by."""
        for runtime in RUNTIMES:
            self.api.create(runtime, "chart")
        self.restart_operator()

    # --- what people do

    def create(self, **spec: Any) -> Object:
        """The ModelDeployment, of model version 1 unless said otherwise."""
        meta = {"name": NAME, "namespace": NAMESPACE}
        body = {"model": model("1"), **spec}
        return self.api.create(
            {"apiVersion": names.API_VERSION, "kind": "ModelDeployment", "metadata": meta, "spec": body}, "kubectl"
        )

    def edit(self, **fields: Any) -> None:
        """Set fields of spec; None removes one."""

        def change(obj: Object) -> None:
            obj["spec"] = {k: clone(v) for k, v in {**obj["spec"], **fields}.items() if v is not None}

        self.api.update(MODEL_DEPLOYMENTS, NAMESPACE, NAME, change, "kubectl")

    def rollout(self, **fields: Any) -> None:
        """Set fields of spec.rollout."""
        self.edit(rollout={**self.spec.get("rollout", {}), **fields})

    def command(self, verb: str, revision: str, token: str = "t1") -> str:
        """Write the annotation podium.dev/command."""
        value = f"{verb} {revision} {token}".strip()
        self.annotate(names.ANNOTATION_COMMAND, value)
        return value

    def annotate(self, annotation: str, value: str) -> None:
        """On the ModelDeployment."""

        def change(obj: Object) -> None:
            obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), annotation: value}

        self.api.update(MODEL_DEPLOYMENTS, NAMESPACE, NAME, change, "kubectl")

    def lose_status(self) -> None:
        """Somebody empties .status."""
        self.api.update(MODEL_DEPLOYMENTS, NAMESPACE, NAME, lambda obj: obj.update(status={}), "kubectl")

    def change(self, resource: Resource, name: str, change: Callable[[Object], Any], manager: str = "kubectl") -> None:
        """Another writer changes a child."""
        self.api.update(resource, NAMESPACE, name, change, manager)

    def behave(self, version: str, **behaviour: Any) -> None:
        """What pods of a model version (or one pod, by its name) do from now on."""
        self.cluster.behaviours[version] = Behaviour(**behaviour)

    # --- the operator's process

    def restart_operator(self) -> None:
        """A new process: an empty memory, and a cache from lists."""
        self.client = self._connect()
        self.wakes.at = None
        self.wakes.succeeded()
        self.cache = Cache(clock=lambda: self.now.timestamp())
        self.feed = Feed(self.cache, self.wakes)  # type: ignore[arg-type]
        self.seen = {resource: len(self.api.streams[resource]) for resource in KINDS}
        for resource in KINDS:
            for obj in self.api.all(resource):
                if resource not in CHILDREN or model_of(obj) is not None:
                    self.feed.seen(resource, None, obj)
        self.measuring.forget()
        self.reconciler = Reconciler(
            self.cache,
            self.client,
            self.heard,
            self.settings,
            lambda: self.operators_time,
            answers=self.routers,
            measures=self.measuring,
        )

    @property
    def operators_time(self) -> datetime:
        """By the clock of the operator that leads."""
        return self.now + self.ahead

    def hand_over(self, *, ahead: float = 0.0) -> None:
        """Another replica leads from now on, whose clock is so many seconds ahead."""
        self.settings = replace(self.settings, identity=f"{self.settings.identity}+")
        self.ahead = timedelta(seconds=ahead)
        self.restart_operator()

    def _connect(self) -> Client:
        client = Client(self.api)
        client.before, client.after = self.client.before, self.client.after
        return client

    def deliver(self, *resources: Resource) -> None:
        """The watches' events, as far as they are due by `lag`; those of the named kinds at once."""
        for resource in resources or KINDS:
            late = timedelta(seconds=0 if resources else self.lag.get(resource, 0))
            stream = self.api.streams[resource]
            while self.seen[resource] < len(stream) and stream[self.seen[resource]].at + late <= self.now:
                event = stream[self.seen[resource]]
                self.seen[resource] += 1
                # children are watched by label: one that loses it is deleted as far as its watch can tell
                gone = resource in CHILDREN and model_of(event.obj) is None
                self.feed.seen(resource, "DELETED" if gone else event.type, event.obj)

    def reconcile(self) -> float | None:
        """One pass, now; what it raises ends the process (Killed) or is tried again (ApiError)."""
        self.wakes.at = None
        try:
            seconds = finish(self.reconciler.reconcile(KEY))
        except PassRefused as refused:
            self.failures.append(refused)
            self.wakes.retry()
            if refused.wake_in is not None:
                self.wakes.after(refused.wake_in)
            return RETRY
        except ApiError as error:
            self.failures.append(error)
            self.wakes.retry()
            return RETRY
        except Killed:
            self.restart_operator()
            return 0.0
        self.wakes.succeeded()
        if seconds is not None:
            assert seconds >= 0, f"the operator asks to be woken {seconds} s from now"
            self.wakes.after(seconds)
        conditions = self.status.get("conditions", []) if self.live(MODEL_DEPLOYMENTS) else []
        SENTENCES.update((each["reason"], each["message"]) for each in conditions)
        for check in self.after_pass:
            check()
        return seconds

    # --- time

    def step(self) -> bool:
        """Controllers, watches, passes that are due; answers whether anything happened."""
        before = self._changes()
        self.cluster.act()
        if self.routers.act() | self.measuring.act():
            self.wakes.add(KEY)
        for _ in range(MAX_PASSES):
            self.deliver()
            if self.wakes.at is None or self.wakes.at > self.now:
                return self._changes() != before
            self.reconcile()
        raise AssertionError(f"{MAX_PASSES} passes at {self.now}: {[str(c) for c in self.client.calls[-8:]]}")

    def advance(self, seconds: float) -> None:
        """Let time pass; at most one second at a time while anything happens."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            busy = self.step()
            following = self.now + timedelta(seconds=1)
            if not busy and not any(self.seen[r] < len(self.api.streams[r]) for r in KINDS):
                comes = (self.cluster, self.routers, self.measuring)
                changes = (self.wakes.at, *(each.next_change() for each in comes))
                known = [at for at in changes if at is not None]
                following = max(following, min([*known, end]))
            self.now = min(following, end)
        self.step()

    def until(self, what: Callable[[], Any], within: float = 900) -> None:
        """Advance until something holds; AssertionError with the state after `within` seconds."""
        end = self.now + timedelta(seconds=within)
        while not what():
            assert self.now < end, f"not within {within} s: {self.describe()}"
            self.advance(1)

    def rest(self, within: float = 7200) -> None:
        """Advance until nothing happens any more and nothing is due."""
        end = self.now + timedelta(seconds=within)
        while True:
            before = self._changes()
            self.advance(60)
            if before == self._changes() and self.wakes.at is None and self._nothing_to_come():
                return
            assert self.now < end, f"no rest within {within} s: {self.describe()}"

    def _nothing_to_come(self) -> bool:
        return all(each.next_change() is None for each in (self.cluster, self.routers, self.measuring))

    def _changes(self) -> int:
        return sum(len(stream) for stream in self.api.streams.values())

    # --- what there is

    def live(self, resource: Resource, name: str = NAME) -> Object | None:
        """An object as it is."""
        return self.api.get(resource, None if resource is MODEL_RUNTIMES else NAMESPACE, name)

    def need(self, resource: Resource, name: str = NAME) -> Object:
        """An object that must be there."""
        found = self.live(resource, name)
        assert found is not None, f"there is no {resource.kind} {name}"
        return found

    @property
    def md(self) -> Object:
        return self.need(MODEL_DEPLOYMENTS)

    @property
    def spec(self) -> Object:
        found: Object = self.md["spec"]
        return found

    @property
    def status(self) -> Object:
        found: Object = self.md.get("status") or {}
        return found

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    def condition(self, kind: str) -> tuple[str, str] | None:
        """(status, reason) of a condition; None without it."""
        found = (c for c in self.status.get("conditions", []) if c["type"] == kind)
        return next(((c["status"], c["reason"]) for c in found), None)

    def message(self, kind: str = "Ready") -> str:
        """Of a condition."""
        return next((str(c["message"]) for c in self.status["conditions"] if c["type"] == kind), "")

    def revision(self, version: str) -> str:
        """The name of the newest revision of a model version."""
        found = [r for r in self.api.all(CONTROLLER_REVISIONS) if r["data"]["version"] == version]
        assert found, f"there is no revision of version {version}"
        return str(max(found, key=lambda r: r["revision"])["metadata"]["name"])

    def annotations(self, revision: str) -> dict[str, str]:
        """The durable record of a revision."""
        return self.need(CONTROLLER_REVISIONS, revision)["metadata"].get("annotations") or {}

    def outcome(self, revision: str) -> str:
        return self.annotations(revision).get(names.ANNOTATION_OUTCOME, "")

    def rule(self, revision: str) -> str:
        return self.annotations(revision).get(names.ANNOTATION_RULE, "")

    def replicas(self, revision: str) -> int | None:
        """What its Deployment asks for; None without one."""
        found = self.live(DEPLOYMENTS, revision)
        return None if found is None else int(found["spec"]["replicas"])

    def managers(self, revision: str) -> set[str]:
        """Who owns the replicas of its Deployment."""
        owners = self.api.owners[(DEPLOYMENTS, NAMESPACE, revision)]
        return {who for who, paths in owners.items() if ("spec", "replicas") in paths}

    def pods(self, revision: str | None = None, *, terminating: bool = True) -> list[Object]:
        """Those of models that run, or are to run: what is left of one that is over is no pod."""
        return [
            pod
            for pod in self.api.all(PODS)
            if not is_over(pod) and names.LABEL_ROUTER not in pod["metadata"]["labels"]
            if revision in (None, pod["metadata"]["labels"].get(names.LABEL_REVISION))
            if terminating or "deletionTimestamp" not in pod["metadata"]
        ]

    def ready_pods(self, revision: str | None = None) -> list[Object]:
        return [pod for pod in self.pods(revision, terminating=False) if is_ready(pod)]

    def selector(self, service: str = NAME) -> dict[str, str] | None:
        found = self.live(SERVICES, service)
        return None if found is None else dict(found["spec"]["selector"])

    def backends(self, service: str = NAME) -> set[str]:
        """Revisions with ready endpoints behind a Service."""
        piece = self.live(ENDPOINT_SLICES, f"{service}-slice")
        listed = {e["targetRef"]["name"] for e in (piece or {}).get("endpoints", []) if e["conditions"]["ready"]}
        return {p["metadata"]["labels"][names.LABEL_REVISION] for p in self.pods() if p["metadata"]["name"] in listed}

    def hpas(self) -> list[str]:
        return sorted(hpa["metadata"]["name"] for hpa in self.api.all(HPAS))

    def events(self, reason: str) -> list[str]:
        return [said.note for said in self.heard.said if said.reason == reason]

    def describe(self) -> str:
        lines = [f"{self.now:%H:%M:%S} phase={self.phase} {self.status.get('message')}"]
        for revision in self.api.all(CONTROLLER_REVISIONS):
            name = revision["metadata"]["name"]
            lines.append(
                f"  {name} v{revision['data']['version']} {self.outcome(name) or 'candidate'} {self.rule(name)}: "
                f"replicas={self.replicas(name)} pods={len(self.pods(name))} ready={len(self.ready_pods(name))}"
            )
        return "\n".join(lines)


def model(version: str) -> Object:
    """spec.model of a version."""
    return {"uri": f"s3://models/fraud/{version}", "format": "onnx"}


def finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("a pass waited for something that is not simulated")
