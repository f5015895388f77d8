"""The state of one ModelDeployment and its children without what differs from run to run: times, uids, random ids."""

import json
import re
from typing import Any

from podium.api import names
from podium.manifests import ledger
from tests.integration.rollouts.api import Object
from tests.integration.rollouts.stage import MODEL, Stage

_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\b\d\d:\d\d:\d\dZ")
_LASTED = re.compile(r"\bafter \d+ (s|min|h)\b")
_POD = re.compile(rf"pod {MODEL}-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+")
_ROLLOUT_ID = re.compile(rf"({MODEL}-[a-z0-9]{{10}})-[0-9a-f]+")

_FIGURES = re.compile(r"\b\d[\d.]*\b")

VARYING = ("controller",)
OF_THE_OPERATOR = (names.ANNOTATION_APPLIED, names.ANNOTATION_INSTALLATION)
"""Annotations that tell of whoever wrote, and two runs have operators of their own."""
KINDS = (
    "ControllerRevision", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ConfigMap"
)  # fmt: skip


def dump(stage: Stage) -> Object:
    """Everything that a scenario leaves behind, with revisions called by their number."""
    found: Object = {"status": {}, "children": {}}
    try:
        found["status"] = {key: value for key, value in stage.status.items() if key not in VARYING}
    except KeyError:
        found["status"] = "none: it is deleted"
    for kind in KINDS:
        for obj in stage.all(kind):
            if obj["metadata"]["name"] == "kube-root-ca.crt":
                continue  # every namespace's
            found["children"][f"{kind} {obj['metadata']['name']}"] = _child(obj, stage.uid)
    for pod in stage.all("Pod"):
        name = f"Pods of {pod['metadata']['labels'].get('podium.dev/revision', 'the router')}"
        found["children"][name] = found["children"].get(name, 0) + 1
    return _plain(found, stage)


def _child(obj: Object, uid: str) -> Object:
    meta = obj["metadata"]
    annotations = {
        key: _parsed(value)
        for key, value in (meta.get("annotations") or {}).items()
        if key not in OF_THE_OPERATOR and not key.startswith("deployment.kubernetes.io/")
    }
    child: Object = {
        "labels": meta.get("labels"),
        "annotations": annotations,
        "owned": [one["uid"] == uid for one in meta.get("ownerReferences") or [] if one.get("controller")],
        "replicas-written-by": sorted(
            one["manager"]
            for one in meta.get("managedFields") or []
            if obj["kind"] == "Deployment" and "f:replicas" in (one.get("fieldsV1") or {}).get("f:spec", {})
        ),
    }
    for key in ("spec", "data", "revision"):
        if key in obj:
            child[key] = obj[key]
    if obj["kind"] == "Service":
        child["spec"] = {key: value for key, value in obj["spec"].items() if key not in ("clusterIP", "clusterIPs")}
    return child


def _parsed(text: str) -> Any:
    """An annotation that is JSON as what it says, without its times."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict):
        value.pop("held", None)  # seconds for which the environment held a candidate up,
        value.pop("heldSince", None)  # and what is left of it where the candidate was judged meanwhile
    return value


def _plain(found: Object, stage: Stage) -> Object:
    """The same with every time, revision and namespace replaced by what it stands for."""
    # First of all: a namespace's number is no figure.
    found = json.loads(json.dumps(found).replace(stage.namespace, "<namespace>"))
    if any(child.endswith(names.LEDGER_SUFFIX) for child in found["children"]):
        found = _without_figures(found)
    text = json.dumps(found, sort_keys=True)
    text = _TIMES.sub("<time>", text)
    text = _LASTED.sub("after <seconds>", text)
    text = _POD.sub("pod <pod>", text)
    text = _ROLLOUT_ID.sub(r"\1-<id>", text)
    for revision in stage.all("ControllerRevision"):
        name, number = revision["metadata"]["name"], revision["revision"]
        text = text.replace(name, f"<revision {number}>").replace(revision["data"]["hash"], f"<hash {number}>")
    plain: Object = json.loads(text)
    return plain


def _without_figures(value: Any, key: str = "") -> Any:
    """What was counted, and what it came to, is another in each run: what is said stays, without its numbers."""
    if isinstance(value, dict):
        # Harm may be found before or after the step's weight is told of as confirmed.
        return {name: _without_figures(each, name) for name, each in value.items() if name != "appliedAt"}
    if isinstance(value, list):
        return [_without_figures(each) for each in value]
    if key in (ledger.KEY, names.ANNOTATION_LEDGER):
        return "<ledger, or its digest>"
    return _FIGURES.sub("<figure>", value) if key in ("message", names.ANNOTATION_CAUSE) else value


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where two dumps differ, a line each."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines: list[str] = []
        for key in sorted(expected.keys() | found.keys()):
            lines += differences(expected.get(key, "(absent)"), found.get(key, "(absent)"), f"{path}/{key}")
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        lines = []
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            lines += differences(one, other, f"{path}/{index}")
        return lines
    return [] if expected == found else [f"{path}: expected {_short(expected)}, found {_short(found)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) < 300 else text[:300] + " …"
