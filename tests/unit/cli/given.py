"""What the tests of the command line begin from: ModelDeployments as the operator writes them, and a played API."""

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from podium.cli.api import Listed, Object
from podium.cli.errors import Missing, Unreachable
from podium.cli.refusals import missing

NOW = datetime(2026, 11, 27, 12, 4, 0, tzinfo=UTC)
CHAMPION = {
    "revision": "fraud-6f9c4d2b7k", "version": "7", "desired": 2, "ready": 2, "available": 2,
    "since": "2026-11-26T12:00:00Z",
}  # fmt: skip
CANDIDATE = {
    "revision": "fraud-b57wq4c9d2", "version": "8", "desired": 1, "ready": 1, "available": 1,
    "since": "2026-11-27T12:00:00Z",
}  # fmt: skip
ERRORS = {
    "name": "errors", "type": "ErrorRate", "role": "Guardrail", "champion": {"n": 9012, "events": 91},
    "candidate": {"n": 3010, "events": 29}, "ratio": "0.95", "interval": ["0.70", "1.31"],
    "evidence": {"harm": "0.02", "noHarm": "8.1", "needed": "20"},
}  # fmt: skip
SHOWN = {
    "name": "latency", "type": "Latency", "role": "Guardrail", "champion": {"n": 9012, "events": 0},
    "candidate": {"n": 3010, "events": 0},
}  # fmt: skip
CANARY = {
    "id": "a", "strategy": "Canary", "startedAt": "2026-11-27T12:00:00Z", "step": 2, "steps": 4,
    "weight": {"desired": 25, "applied": 25, "routers": 2, "confirmed": 2}, "metrics": [ERRORS, SHOWN],
}  # fmt: skip
SERVES = "Version 7 serves with 2 pods."
AWAITS = (
    "Version 8 has 1 of 1 pod available. Step 2 of 4 until 12:10:00Z: 25 % of the requests asked for, 25 % in effect. "
    "Errors: evidence 8.1 of 20 for no harm; evidence of harm 0.02 of 20; about 12 min to a decision at 40 requests/s, "
    "of which it gets 10."
)
BACK = (
    "Version 8 was rolled back after 94 s: 3.1 % of its answers failed, 1 % of those of version 7; a version no worse "
    "would look like this in fewer than 1 of 20 rollouts; 94 of its answers failed. Version 7 serves. To end this, put "
    "spec back; to try it again: kubectl annotate mdep fraud -n ml --overwrite "
    'podium.dev/command="retry fraud-b57wq4c9d2 $(date +%s)"'
)
REFUSED = (
    '"promote fraud-x" was refused: there is no revision fraud-x; the champion is version 7 (fraud-6f9c4d2b7k), the '
    "candidate is version 8 (fraud-b57wq4c9d2)."
)
PREVIEW_TAKEN = (
    "Service fraud-preview exists in namespace ml and does not belong to this ModelDeployment. To go on: rename or "
    "delete it, or hand it over with the annotation podium.dev/adopt=5f0d."
)
OUTDATED = (
    "ModelRuntime onnxruntime or Podium's pod template has changed since version 7 was rolled out. To adopt the "
    'change: kubectl annotate mdep fraud -n ml --overwrite podium.dev/command="restart fraud-6f9c4d2b7k $(date +%s)"'
)
SAID = {
    "Ready: Serving": SERVES,
    "Ready: Canary, weighed by one metric": AWAITS,
    "Ready: RolledBack, harm": BACK,
    "Ready: NameConflict": PREVIEW_TAKEN,
    "RuntimeOutdated: RuntimeChanged": OUTDATED,
    "Event: CommandRefused": REFUSED,
}
"""What the operator says here, by the row of docs/messages.md: test_given.py holds them to it."""


def condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def conditions(ready: str, reason: str, message: str, *more: Object) -> list[Object]:
    return [condition("Available", "True", "Available", message), condition("Ready", ready, reason, message), *more]


def deployment(
    status: Mapping[str, Any] | None = None, *, name: str = "fraud", generation: int = 3, command: str = "", **meta: Any
) -> Object:
    metadata = {"name": name, "namespace": "ml", "generation": generation, "resourceVersion": "1"} | meta
    if command:
        metadata["annotations"] = {"podium.dev/command": command}
    return {"metadata": metadata, "spec": {}, **({} if status is None else {"status": dict(status)})}


def healthy(**more: Any) -> dict[str, Any]:
    return {
        "observedGeneration": 3, "phase": "Healthy", "message": SERVES, "champion": CHAMPION,
        "conditions": conditions("True", "Serving", SERVES),
    } | more  # fmt: skip


def analyzing(**more: Any) -> dict[str, Any]:
    return {
        "observedGeneration": 3, "phase": "Analyzing", "message": AWAITS,
        "champion": CHAMPION | {"weight": 75}, "candidate": CANDIDATE | {"weight": 25}, "rollout": CANARY,
        "conditions": conditions("False", "Canary", AWAITS, condition("Reconciling", "True", "Canary", AWAITS)),
    } | more  # fmt: skip


def rolled_back(**more: Any) -> dict[str, Any]:
    return {
        "observedGeneration": 3, "phase": "RolledBack", "message": BACK, "champion": CHAMPION,
        "rollout": {
            "id": "a", "strategy": "Canary",
            "decision": {
                "verdict": "RolledBack", "rule": "harm: errors", "by": "evidence", "at": "2026-11-27T12:01:34Z",
            },
        },
        "history": [
            {"revision": "fraud-b57wq4c9d2", "version": "8", "outcome": "RolledBack"},
            {"revision": "fraud-6f9c4d2b7k", "version": "7", "outcome": "Promoted"},
        ],
        "conditions": conditions("False", "RolledBack", BACK, condition("Stalled", "True", "RolledBack", BACK)),
    } | more  # fmt: skip


Step = Callable[[Object], None]
"""What the played operator makes of the object: it is changed in place."""


class Played:
    """The API in memory. Implements podium.cli.api.Api.

    At each watch it plays the next of `steps` on all objects and tells of the change; without one it tells nothing,
    and `clock` goes on by as many seconds as the watch was to last.
    """

    def __init__(self, *objects: Object, steps: tuple[Step | Exception, ...] = ()) -> None:
        self.objects = {obj["metadata"]["name"]: obj for obj in objects}
        self.config_maps: dict[str, Object] = {}
        self.revisions: dict[str, Object] = {}
        self.steps = list(steps)
        self.patches: list[tuple[str, str, dict[str, str]]] = []
        self.lists = 0
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def deployment(self, namespace: str, name: str) -> Object:
        if name not in self.objects:
            raise missing(namespace, name)
        return copy.deepcopy(self.objects[name])

    def deployments(self, namespace: str | None, name: str | None = None) -> Listed:
        self.lists += 1
        found = [copy.deepcopy(obj) for obj in self.objects.values() if name in (None, obj["metadata"]["name"])]
        return Listed(tuple(found), "1")

    def watch(self, namespace: str | None, name: str | None, version: str, seconds: int) -> Iterator[Object]:
        if not self.steps:
            self.now += seconds
            return
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        for obj in list(self.objects.values()):
            before = copy.deepcopy(obj)
            step(obj)
            if obj.get("gone"):
                del self.objects[obj["metadata"]["name"]]
                yield {"type": "DELETED", "object": copy.deepcopy(obj)}
            elif obj != before:
                yield {"type": "MODIFIED", "object": copy.deepcopy(obj)}

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> Object:
        self.patches.append((namespace, name, annotations))
        self.objects[name]["metadata"].setdefault("annotations", {}).update(annotations)
        return self.deployment(namespace, name)

    def config_map(self, namespace: str, name: str) -> Object:
        if name not in self.config_maps:
            raise Missing(f"there is no configmap {name} in namespace {namespace}")
        return copy.deepcopy(self.config_maps[name])

    def controller_revision(self, namespace: str, name: str) -> Object:
        if name not in self.revisions:
            raise Missing(f"there is no controllerrevision {name} in namespace {namespace}")
        return copy.deepcopy(self.revisions[name])


def lost() -> Unreachable:
    return Unreachable("no answer")


def becomes(status: Mapping[str, Any]) -> Step:
    """The operator writes that status."""

    def step(obj: Object) -> None:
        obj["status"] = dict(status)

    return step


def goes(obj: Object) -> None:
    """Somebody deletes it."""
    obj["gone"] = True


def acts(result: str, said: str = "", **status: Any) -> Step:
    """The operator acts on the command that stands in the annotation."""

    def step(obj: Object) -> None:
        value = obj["metadata"]["annotations"]["podium.dev/command"]
        last = {"value": value, "result": result, "message": said, "at": "2026-11-27T12:04:01Z"}
        obj["status"] = obj.get("status", {}) | {"lastCommand": last} | status

    return step
