"""What holds at every moment, judged from all versions of all objects in the API server's own order.

Rules of api.md: the one on Ready=True, the floor of a RollingUpdate, one candidate and always a champion, two revisions
with pods, traffic before capacity; and what a user sees of them: the stable Service never runs out of ready endpoints.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.manifests.revision import inputs_digest
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Object
from tests.integration.rollouts.world import Version

GRACE: Final = 2.0
"""Seconds before a write of Ready=True within which a ready endpoint must have been there."""


@dataclass
class _State:
    """The objects of one namespace at one moment."""

    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    served_until: float = float("-inf")
    """When the stable Service last had a ready endpoint; infinite while it has one."""
    serving: bool = False
    """Whether a ready endpoint is due at every moment: from the first Ready=True on, unless scaled to zero."""
    decided: str = ""

    def of(self, kind: str) -> Iterable[Object]:
        return self.objects.get(kind, {}).values()

    def get(self, kind: str, name: str) -> Object | None:
        return self.objects.get(kind, {}).get(name)


def violations(history: Iterable[Version]) -> list[str]:
    """Every moment at which a rule does not hold, in one sentence each."""
    state = _State()
    found: list[str] = []
    for version in sorted(history, key=lambda one: one.revision):
        before = state.objects.setdefault(version.kind, {}).get(version.name)
        if version.event == "DELETED":
            state.objects[version.kind].pop(version.name, None)
        found += [f"at {version.revision}: {one}" for one in _broken(version, before, state)]
        if version.event != "DELETED":
            state.objects[version.kind][version.name] = version.obj
        found += [f"at {version.revision}: {one}" for one in _after(version, state)]
    return found


def _broken(version: Version, before: Object | None, state: _State) -> Iterator[str]:
    """Rules about a change: `state` is that from before it, but for a deleted object."""
    if version.kind == MODEL_DEPLOYMENT and version.event != "DELETED":
        status = version.obj.get("status") or {}
        if status != ((before or {}).get("status") or {}):
            yield from _ready_rule(version, status, state)
    elif version.kind == "ControllerRevision" and version.event != "DELETED":
        yield from _decisions(version.obj, before, state)
    elif not any("deletionTimestamp" not in one["metadata"] for one in state.of(MODEL_DEPLOYMENT)):
        return  # what is being deleted, or is, has no more claims
    elif version.kind == "Deployment" and before is not None:
        yield from _floor(version, before, state)
    elif version.kind == "Service" and version.event == "MODIFIED" and before is not None:
        yield from _capacity(version.obj, before, state)


def _after(version: Version, state: _State) -> Iterator[str]:
    """Rules about a moment."""
    for obj in state.of(MODEL_DEPLOYMENT):
        meta = obj["metadata"]
        if "deletionTimestamp" in meta or _wanted(obj) == 0:
            state.serving = False
    if not list(state.of(MODEL_DEPLOYMENT)):
        state.serving = False
        return
    if version.kind == "EndpointSlice":
        if _endpoints(state):
            state.served_until = float("inf")
        elif state.served_until == float("inf"):
            state.served_until = version.at
            if state.serving:
                yield "the stable Service has no ready endpoint left"
    if version.kind == "Pod":
        with_pods = {
            one["metadata"]["labels"]["podium.dev/revision"]
            for one in state.of("Pod")
            if "deletionTimestamp" not in one["metadata"]
        }
        if len(with_pods) > 2:
            yield f"{len(with_pods)} revisions have pods: {sorted(with_pods)}"


def _ready_rule(version: Version, status: Object, state: _State) -> Iterator[str]:
    ready: Object = next((one for one in status.get("conditions") or [] if one["type"] == "Ready"), {})
    if ready.get("status") != "True":
        return
    obj, generation = version.obj, version.obj["metadata"]["generation"]
    if not status.get("observedGeneration") == ready.get("observedGeneration") == generation:
        yield f"Ready=True of generation {status.get('observedGeneration')} was written to generation {generation}"
    champion = _champion(state)
    if champion is None:
        yield "Ready=True without a champion"
        return
    if (status.get("champion") or {}).get("revision") != champion["metadata"]["name"]:
        yield f"Ready=True names {status.get('champion')}, the champion is {champion['metadata']['name']}"
    if _annotations(champion).get("podium.dev/inputs") != inputs_digest(
        ModelDeploymentSpec.parse(obj["spec"]).inputs()
    ):
        yield f"Ready=True, and the champion {champion['metadata']['name']} is not what spec asks for"
    if _wanted(obj) == 0:
        return
    state.serving = True
    if state.served_until < version.at - GRACE:
        yield f"Ready=True without a ready endpoint behind the stable Service for {GRACE} s"


def _decisions(obj: Object, before: Object | None, state: _State) -> Iterator[str]:
    name = obj["metadata"]["name"]
    if not _annotations(obj).get("podium.dev/outcome"):
        others = [
            one["metadata"]["name"]
            for one in state.of("ControllerRevision")
            if one["metadata"]["name"] != name and not _annotations(one).get("podium.dev/outcome")
        ]
        if others:
            yield f"two candidates: {name} and {others}"
    decided = _annotations(obj).get("podium.dev/decided-at", "")
    if decided and decided != _annotations(before or {"metadata": {}}).get("podium.dev/decided-at"):
        if decided <= state.decided:
            yield f"{name} was decided at {decided}, not later than the last decision at {state.decided}"
        state.decided = max(decided, state.decided)
    if before is not None and _annotations(before).get("podium.dev/outcome") == "Promoted":
        others = [one for one in _promoted(state) if one["metadata"]["name"] != name]
        if _annotations(obj).get("podium.dev/outcome") != "Promoted" and not others:
            yield f"{name} was the only champion and is no longer one"


def _floor(version: Version, before: Object, state: _State) -> Iterator[str]:
    """A write takes available pods no lower than min(T - U, what it was before the write)."""
    old = before["spec"].get("replicas", 1)
    new = 0 if version.event == "DELETED" else version.obj["spec"].get("replicas", 1)
    if new >= old:
        return
    record = _rolling(state)
    if record is None:
        return
    floor = record["size"] - record["unavailable"]
    was = will_be = 0
    for name in {one["metadata"]["labels"]["podium.dev/revision"] for one in state.of("Pod")}:
        own = [
            one
            for one in state.of("Pod")
            if one["metadata"]["labels"]["podium.dev/revision"] == name and "deletionTimestamp" not in one["metadata"]
        ]
        available = sum(1 for one in own if _is_ready(one))
        deployment = state.get("Deployment", name)
        asked = new if name == version.name else deployment["spec"].get("replicas", 1) if deployment else 0
        # The ReplicaSet controller deletes pods that are not ready first.
        leaving = max(0, len(own) - asked - (len(own) - available))
        was += available
        will_be += available - leaving
    if will_be < min(floor, was):
        yield f"{version.name} from {old} to {new} takes available pods from {was} to {will_be}, the floor is {floor}"


def _capacity(obj: Object, before: Object, state: _State) -> Iterator[str]:
    """All traffic goes only to a revision with a ready pod."""
    revision = (obj["spec"].get("selector") or {}).get("podium.dev/revision")
    if revision in (None, (before["spec"].get("selector") or {}).get("podium.dev/revision")) or not state.serving:
        return
    if obj["metadata"]["name"].endswith("-preview"):
        return
    ready = [
        one
        for one in state.of("Pod")
        if one["metadata"]["labels"]["podium.dev/revision"] == revision and _is_ready(one)
    ]
    if not ready:
        yield f"the stable Service was pointed at {revision}, which has no ready pod"


def _rolling(state: _State) -> Object | None:
    """The record of the RollingUpdate under way, or on its way back."""
    under_way = [
        one
        for one in state.of("ControllerRevision")
        if _annotations(one).get("podium.dev/outcome") != "Promoted"
        and state.get("Deployment", one["metadata"]["name"]) is not None
        and "podium.dev/rollout" in _annotations(one)
    ]
    if not under_way or not _promoted(state):
        return None
    newest = max(under_way, key=lambda one: int(one["revision"]))
    record: Object = json.loads(_annotations(newest)["podium.dev/rollout"])
    return record if record["strategy"] == "RollingUpdate" else None


def _promoted(state: _State) -> list[Object]:
    return [one for one in state.of("ControllerRevision") if _annotations(one).get("podium.dev/outcome") == "Promoted"]


def _champion(state: _State) -> Object | None:
    return max(_promoted(state), key=lambda one: _annotations(one)["podium.dev/decided-at"], default=None)


def _endpoints(state: _State) -> bool:
    names = {one["metadata"]["name"] for one in state.of(MODEL_DEPLOYMENT)}
    return any(
        endpoint["conditions"].get("ready") is not False
        for piece in state.of("EndpointSlice")
        if piece["metadata"]["labels"].get("kubernetes.io/service-name") in names
        for endpoint in piece.get("endpoints") or []
    )


def _annotations(obj: Object) -> dict[str, str]:
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def _wanted(obj: Object) -> int:
    return 1 if obj["spec"].get("autoscaling") else int(obj["spec"].get("replicas", 1))


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
