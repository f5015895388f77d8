"""What is kept of an object, and what it belongs to: the functions that the table in `kinds.py` names. All pure."""

from collections.abc import Callable
from typing import Any, Final

from podium.api import names
from podium.kube.client import Object
from podium.kube.reading import LEFT_OUT, UNREADABLE
from podium.kube.resources import MODEL_DEPLOYMENTS
from podium.manifests.revision import FIELDS as REVISION_FIELDS
from podium.packed import pack, to_json

DEFAULT_RUNTIME: Final = "onnxruntime"
"""`spec.runtime.name` when it is left out, as the CRD defaults it."""

_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_ENDPOINT_FIELDS: Final = ("conditions", "targetRef")
_CONTAINER_FIELDS: Final = ("name", "image", "restartPolicy")
_DEPLOYMENT_COUNTS: Final = ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
_WORD: Final = 128
"""Characters of a text beyond which it is packed."""
_FEW: Final = 8
"""Numbers by name beyond which they are packed."""
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


def is_foreign(obj: Object) -> bool:
    """Whether an object of a kind that Podium makes is somebody else's although it has our label.

    It is ours under a ModelDeployment of the name in its label, and, without a controller, where it bears the marks
    of what Podium made: such an orphan is taken over.
    """
    meta = obj["metadata"]
    references = meta.get("ownerReferences")
    owners = [r for r in references if isinstance(r, dict)] if isinstance(references, list) else []
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller is not None:
        return (controller.get("kind"), controller.get("name")) != (MODEL_DEPLOYMENTS.kind, model_of(obj))
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    return labels.get(names.LABEL_MANAGED_BY) != names.MANAGED_BY or not any(mark in annotations for mark in _MARKS)


def bare(obj: Object, why: str = "") -> Object:
    """An object's kind and metadata, with the reason why no more of it can be read; without one, no more is needed."""
    meta = {key: value for key, value in obj["metadata"].items() if isinstance(value, _BARE.get(key, ()))}
    found: Object = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    found["metadata"] = meta
    if why:
        found[UNREADABLE] = why
    return found


def without_data(obj: Object) -> Object:
    """An object's kind and metadata: the rest can be had of the API server, should anybody need it again."""
    return {**bare(obj), LEFT_OUT: True}


def prune(obj: Object, keep: Callable[[Object], None] | None = None) -> Object:
    """The object without what nobody here reads, as new outer dicts; the inner ones are shared with `obj`.

    Field managers and kubectl's copy of the last manifest go from everything; `keep`, one of the functions below, then
    takes from the new outer dict what its kind does not need.
    """
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    annotations = meta.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        meta["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    pruned = {**obj, "metadata": meta}
    if keep is not None:
        keep(pruned)
    return pruned


def pod(pruned: Object) -> None:
    """Of the spec: its node, and its containers' names, images and restart policies."""
    if "spec" in pruned:
        pruned["spec"] = _pod_spec(pruned["spec"])


def deployment(pruned: Object) -> None:
    """The pod template packed; of the status its counts and why no pod could be made.

    Its reports of progress come at every step, and would wake somebody each time.
    """
    _pack_template(pruned, "spec")
    if "status" in pruned:
        pruned["status"] = _deployment_status(pruned["status"])


def controller_revision(pruned: Object) -> None:
    """Of the data what a revision is read from, packed unless it is small.

    Anybody may fill it with 100,000 values, which take 50 times their text as dicts. Raises where it cannot be written
    as JSON.
    """
    _pack_template(pruned, "data")  # before all else: the first text is what others are told apart from (packed.py)
    data = pruned.get("data")
    if isinstance(data, dict):
        pruned["data"] = {key: _small(data[key]) for key in REVISION_FIELDS if key in data}
        to_json({key: value for key, value in data.items() if key not in REVISION_FIELDS})


def _small(value: Any) -> Any:
    """The value if it is a word, or a few by name; else packed."""
    few = value.items() if isinstance(value, dict) and len(value) <= _FEW else ((value, None),)
    small = all(isinstance(key, str) and len(key) <= _WORD and isinstance(one, int | None) for key, one in few)
    return value if small else pack(value)


def endpoint_slice(pruned: Object) -> None:
    """Its endpoints' conditions and pods."""
    pruned.pop("ports", None)
    pruned["endpoints"] = [{k: e[k] for k in _ENDPOINT_FIELDS if k in e} for e in pruned.get("endpoints") or ()]


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
