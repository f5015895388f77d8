"""What the rules ask of a state. Pure."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from podium.api import names
from podium.manifests.routing import read_routing, told_in
from podium.rollout.record import Outcome
from tests.invariants.history import MODEL_DEPLOYMENT, SERVICE_OF_SLICE, Object, State

MOST: Final = 3
"""Revisions that may have pods, terminating ones included."""
MOST_STAYING: Final = 2
"""Revisions that may have pods that are to stay."""
FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Podium takes no time beyond it for one."""


def annotations(obj: Object) -> dict[str, str]:
    """Of an object; empty without any."""
    found: dict[str, str] = obj["metadata"].get("annotations") or {}
    return found


def condition(obj: Object, kind: str) -> Object:
    """A condition of its status; empty without it."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind), {})


def is_leaving(obj: Object) -> bool:
    """Whether somebody has marked the object for deletion."""
    return "deletionTimestamp" in obj["metadata"]


def is_ready(pod: Object) -> bool:
    """Whether a pod is Ready, and is to stay."""
    return condition(pod, "Ready").get("status") == "True" and not is_leaving(pod)


def is_over(pod: Object) -> bool:
    """Whether its containers have ended for good: what is left is no pod any more."""
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def revision_of(pod: Object) -> str:
    """The revision whose label a pod has."""
    return str((pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION, ""))


def wanted(model: Object) -> int:
    """Pods that a ModelDeployment asks for; with autoscaling at least one, suspended none."""
    if model["spec"].get("suspend"):
        return 0
    return 1 if model["spec"].get("autoscaling") else int(model["spec"].get("replicas", 1))


def records(state: State) -> list[Object]:
    """The ModelDeployment's own ControllerRevisions, as far as Podium made them."""
    owner = next(iter(state.of(MODEL_DEPLOYMENT)), None)
    uid = owner["metadata"]["uid"] if owner else ""
    return [
        one
        for one in state.of("ControllerRevision")
        if annotations(one).get(names.ANNOTATION_INPUTS)
        and isinstance(one.get("data"), dict)
        and {"inputs", "template"} <= one["data"].keys()
        and all(reference["uid"] == uid for reference in one["metadata"].get("ownerReferences") or [])
    ]


def outcome(record: Object | None) -> str:
    """Of a revision; empty for a candidate."""
    return annotations(record).get(names.ANNOTATION_OUTCOME, "") if record else ""


def told(record: Object | None) -> str:
    """The outcome as status.history tells it: what was rolled back, of which its cause stays, is never Superseded."""
    written = outcome(record)
    rolled_back = written == Outcome.SUPERSEDED and names.ANNOTATION_CAUSE in annotations(record or {})
    return str(Outcome.ROLLED_BACK) if rolled_back else written


def is_legible(text: str) -> bool:
    """Whether it is an outcome, or none: somebody may have written anything."""
    return text in ("", *Outcome)


def decided_at(record: Object) -> datetime | None:
    """When the outcome was decided; None where that is not to be read."""
    try:
        found = datetime.fromisoformat(annotations(record).get(names.ANNOTATION_DECIDED_AT, ""))
    except ValueError:
        return None
    return found if found.tzinfo is not None and FIRST_YEAR <= found.year <= LAST_YEAR else None


def promoted(state: State) -> list[Object]:
    """All that were promoted, champions of the past among them."""
    return [one for one in records(state) if outcome(one) == Outcome.PROMOTED]


def champion(state: State) -> Object | None:
    """The Promoted revision with the latest decision."""
    found = promoted(state)
    stamps = {one["metadata"]["name"]: decided_at(one) for one in found}
    if None in stamps.values():
        return max(found, key=lambda one: int(one["revision"]))
    return max(found, key=lambda one: stamps[one["metadata"]["name"]], default=None)  # type: ignore[arg-type,return-value]


def champion_of(records: Iterable[Object]) -> str:
    """The revision that ControllerRevisions call champion; empty without one. Their stamps are those of Podium."""
    marks = {one["metadata"]["name"]: annotations(one) for one in records}
    found = [name for name, marked in marks.items() if marked.get(names.ANNOTATION_OUTCOME) == "Promoted"]
    return max(found, key=lambda name: marks[name][names.ANNOTATION_DECIDED_AT], default="")


def command(record: Object) -> tuple[str, str] | None:
    """(value, result) of the command that a record holds."""
    try:
        found = json.loads(annotations(record).get(names.ANNOTATION_COMMAND, ""))
        return str(found["value"]), str(found["result"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def rollout(record: Object) -> Object:
    """What was frozen when its rollout began; empty where it cannot be read."""
    try:
        found: Object = json.loads(annotations(record).get(names.ANNOTATION_ROLLOUT, ""))
        numbers = (found["size"], found.get("unavailable", 0))
        return found if all(isinstance(one, int) for one in numbers) and isinstance(found["strategy"], str) else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def has_endpoint(state: State) -> bool:
    """Whether the stable Service has a ready endpoint."""
    return any(
        (endpoint.get("conditions") or {}).get("ready") is not False
        for piece in _slices(state)
        for endpoint in piece.get("endpoints") or []
    )


def listed(state: State) -> set[str]:
    """Names of the pods that stand behind the stable Service as ready endpoints."""
    return {
        (endpoint.get("targetRef") or {}).get("name", "")
        for piece in _slices(state)
        for endpoint in piece.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }


def _slices(state: State) -> list[Object]:
    name = next(iter(state.objects.get(MODEL_DEPLOYMENT, {})), "")
    return [one for one in state.of("EndpointSlice") if one["metadata"]["labels"].get(SERVICE_OF_SLICE) == name]


def selected(service: Object | None, pod: Object) -> bool:
    """Whether a Service selects a pod; one without a selector selects none."""
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def is_routed(service: Object) -> bool:
    """Whether a Service leads to the routers."""
    return bool(((service.get("spec") or {}).get("selector") or {}) == names.router_selector())


def is_router(pod: Object) -> bool:
    """Whether a pod is a router's."""
    return (pod["metadata"].get("labels") or {}).get(names.LABEL_ROUTER) == names.ROUTER


def asked(state: State, service: Object | None, pod: Object) -> bool:
    """Whether requests to a Service may reach a pod: by its selector, or by weights where that is the routers'."""
    if not service or not is_routed(service):
        return selected(service, pod)
    told = state.get("ConfigMap", names.routing_name(service["metadata"]["name"]))
    known = read_routing(told_in(told))
    return known is not None and any(one.weight and one.revision == revision_of(pod) for one in known.split)


def stable(state: State) -> Object | None:
    """The Service that callers use."""
    return state.get("Service", next(iter(state.objects.get(MODEL_DEPLOYMENT, {})), ""))


def pods(state: State, revision: str) -> list[Object]:
    """Of a revision's Deployment: those that are to stay. A stray one, which nobody controls, is none."""
    return [
        one
        for one in state.of("Pod")
        if revision_of(one) == revision
        if not is_leaving(one) and not is_over(one)
        if any(reference.get("controller") for reference in one["metadata"].get("ownerReferences") or [])
    ]


def with_pods(state: State, *, terminating: bool = True) -> set[str]:
    """Revisions with a record that have pods, or are to have some."""
    found = {revision_of(one) for one in state.of("Pod") if not is_over(one) and (terminating or not is_leaving(one))}
    found |= {
        one["metadata"]["name"]
        for one in state.of("Deployment")
        if one["spec"].get("replicas", 1) > 0 and not is_leaving(one)
    }
    return found & {one["metadata"]["name"] for one in records(state)}


def crowd(state: State) -> set[str]:
    """The revisions that have pods, if they are too many; else empty."""
    found, staying = with_pods(state), with_pods(state, terminating=False)
    return found if len(found) > MOST or len(staying) > MOST_STAYING else set()


def is_down(state: State) -> bool:
    """Whether no pod of the champion is ready."""
    found = champion(state)
    return found is None or not any(is_ready(one) for one in pods(state, found["metadata"]["name"]))
