"""What the tests of the command line begin from: ModelDeployments as the operator writes them, and a played API."""

import copy
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from podium.cli.api import Listed, Object
from podium.cli.errors import CliError, Unreachable

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
    "weight": {"desired": 25, "applied": 25}, "metrics": [ERRORS, SHOWN],
}  # fmt: skip
AWAITS = "25 % since 4m; errors: evidence 8.1 of 20 for no harm; about 12 m to a decision at 40 requests/s"


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
    message = "fraud-6f9c4d2b7k (7) serves with 2 pods"
    return {
        "observedGeneration": 3, "phase": "Healthy", "message": message, "champion": CHAMPION,
        "conditions": conditions("True", "Serving", message),
    } | more  # fmt: skip


def analyzing(**more: Any) -> dict[str, Any]:
    return {
        "observedGeneration": 3, "phase": "Analyzing", "message": AWAITS,
        "champion": CHAMPION | {"weight": 75}, "candidate": CANDIDATE | {"weight": 25}, "rollout": CANARY,
        "conditions": conditions("False", "Canary", AWAITS, condition("Reconciling", "True", "Canary", AWAITS)),
    } | more  # fmt: skip


def rolled_back(**more: Any) -> dict[str, Any]:
    message = "fraud-b57wq4c9d2 (8) was rolled back (harm: errors); fraud-6f9c4d2b7k (7) serves"
    return {
        "observedGeneration": 3, "phase": "RolledBack", "message": message, "champion": CHAMPION,
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
        "conditions": conditions("False", "RolledBack", message, condition("Stalled", "True", "RolledBack", message)),
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
            raise CliError(f"there is no modeldeployment {name} in namespace {namespace}")
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
        raise CliError(f"there is no configmap {name} in namespace {namespace}")


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
