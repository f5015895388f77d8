"""What is kept of an object, and what it belongs to. Pure functions."""

from typing import Any, Final

from podium import names
from podium.kube.client import Object
from podium.kube.reading import UNREADABLE
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from podium.packed import pack, to_json

DEFAULT_RUNTIME: Final = "onnxruntime"
"""`spec.runtime.name` when it is left out, as the CRD defaults it."""

MADE: Final = frozenset({CONTROLLER_REVISIONS, DEPLOYMENTS, SERVICES, HPAS, PDBS})
"""Kinds of which only what Podium made, or may take over, is looked into. Pods and EndpointSlices are others' work in
any case, and count for what the stable Service does, whoever made them."""

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ENDPOINT_FIELDS: Final = ("conditions", "targetRef")
_CONTAINER_FIELDS: Final = ("name", "image", "restartPolicy")
_DEPLOYMENT_COUNTS: Final = ("observedGeneration", "replicas", "readyReplicas", "availableReplicas")
_BARE: Final[dict[str, type]] = {
    "name": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "labels": dict,
    "annotations": dict,
    "ownerReferences": list,
}
_MARKS: Final = (names.ANNOTATION_APPLIED, names.ANNOTATION_INPUTS)
"""Annotations of what Podium made: the first of all that it applies, the second of a ControllerRevision."""


def model_of(obj: Object) -> str | None:
    """The ModelDeployment that an object belongs to by its label."""
    labels = obj["metadata"].get("labels")
    model = labels.get(names.LABEL_MODEL) if isinstance(labels, dict) else None
    return model if isinstance(model, str) else None


def runtime_of(model_deployment: Object) -> str:
    """The ModelRuntime that a ModelDeployment names."""
    spec = model_deployment.get("spec")
    runtime = spec.get("runtime") if isinstance(spec, dict) else None
    return str((runtime.get("name") if isinstance(runtime, dict) else None) or DEFAULT_RUNTIME)


def is_foreign(resource: Resource, obj: Object) -> bool:
    """Whether an object of a kind that Podium makes has our label, and is somebody else's all the same.

    It is ours under a ModelDeployment of the name in its label, and, without a controller, where it bears the marks
    of what Podium made: such an orphan is taken over.
    """
    if resource not in MADE:
        return False
    meta = obj["metadata"]
    references = meta.get("ownerReferences")
    owners = [r for r in references if isinstance(r, dict)] if isinstance(references, list) else []
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller is not None:
        return (controller.get("kind"), controller.get("name")) != (MODEL_DEPLOYMENTS.kind, model_of(obj))
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY or not any(mark in annotations for mark in _MARKS)


def bare(obj: Object, why: str = "") -> Object:
    """An object's kind and metadata, with the reason why no more of it can be read; without one, nobody is to."""
    meta = {key: value for key, value in obj["metadata"].items() if isinstance(value, _BARE.get(key, ()))}
    found: Object = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    found["metadata"] = meta
    if why:
        found[UNREADABLE] = why
    return found


def prune(resource: Resource, obj: Object) -> Object:
    """The object without what nobody here reads, as new outer dicts; the inner ones are shared with `obj`.

    Field managers and kubectl's copy of the last manifest go from everything; of a Pod's spec only its node
    and its containers' names, images and restart policies stay; of a Deployment's status its counts and why no pod
    could be made (its reports of progress come at every step, and would wake somebody each time). Pod templates are
    packed: they are most of what is kept. Of an EndpointSlice its endpoints' conditions and pods stay.
    """
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    pruned = {**obj, "metadata": meta}
    if resource is PODS and "spec" in obj:
        pruned["spec"] = _pod_spec(obj["spec"])
    if resource is DEPLOYMENTS:
        _pack_template(pruned, "spec")
        if "status" in obj:
            pruned["status"] = _deployment_status(obj["status"])
    if resource is CONTROLLER_REVISIONS and isinstance(obj.get("data"), dict):
        _pack_template(pruned, "data")
        to_json({**obj["data"], "template": None})  # raises: what cannot be written cannot be compared either
    if resource is ENDPOINT_SLICES:
        pruned.pop("ports", None)
        pruned["endpoints"] = [{k: e[k] for k in _ENDPOINT_FIELDS if k in e} for e in obj.get("endpoints") or ()]
    return pruned


def _pack_template(pruned: Object, field: str) -> None:
    holder = pruned.get(field)
    if isinstance(holder, dict) and "template" in holder:
        pruned[field] = {**holder, "template": pack(holder["template"])}


def _pod_spec(spec: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {
        field: [{k: c[k] for k in _CONTAINER_FIELDS if k in c} for c in spec[field]]
        for field in ("initContainers", "containers")
        if field in spec
    }
    if "nodeName" in spec:
        kept["nodeName"] = spec["nodeName"]
    return kept


def _deployment_status(status: dict[str, Any]) -> dict[str, Any]:
    kept = {field: status[field] for field in _DEPLOYMENT_COUNTS if field in status}
    failures = [c for c in status.get("conditions") or [] if c["type"] == "ReplicaFailure"]
    return kept | {"conditions": failures}
