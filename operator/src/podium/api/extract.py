"""Makes kubernetes.json, the part of Kubernetes' OpenAPI document that the CRDs embed.

    go mod download -json k8s.io/kubernetes@v1.36.3     # prints Dir
    python -m podium.api.extract DIR/api/openapi-spec/swagger.json

Descriptions are left out, and so is what a field of ours cannot use: the reasons stand beside each entry of PRUNED.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from podium.api.embedded import EXTRACT
from podium.api.rules import VOLUME_KINDS

ROOTS: Final = (
    "autoscaling.v2.HorizontalPodAutoscalerBehavior",
    "autoscaling.v2.MetricSpec",
    "core.v1.Affinity",
    "core.v1.EnvVar",
    "core.v1.LocalObjectReference",
    "core.v1.PodSecurityContext",
    "core.v1.Probe",
    "core.v1.ResourceRequirements",
    "core.v1.SecurityContext",
    "core.v1.Toleration",
    "core.v1.TopologySpreadConstraint",
    "core.v1.Volume",
    "core.v1.VolumeMount",
)
PRUNED: Final[dict[str, tuple[str, ...]]] = {
    # Alpha or off by default in a supported version, where the API server would drop it without a word.
    "autoscaling.v2.HPAScalingRules": ("tolerance",),
    "core.v1.EnvVarSource": ("fileKeyRef",),
    "core.v1.VolumeProjection": ("clusterTrustBundle", "podCertificate"),
    # Names claims of the pod (dynamic resource allocation), which the podTemplate cannot hold.
    "core.v1.ResourceRequirements": ("claims",),
    # Of use with hostPath alone, or refused in containers that are not privileged.
    "core.v1.VolumeMount": ("mountPropagation",),
    # The pods run on Linux.
    "core.v1.PodSecurityContext": ("windowsOptions",),
    "core.v1.SecurityContext": ("windowsOptions",),
}
KEPT: Final[dict[str, tuple[str, ...]]] = {"core.v1.Volume": ("name", *VOLUME_KINDS)}
KEYWORDS: Final = (
    "type",
    "format",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
)
PREFIXES: Final = ("#/definitions/io.k8s.api.", "#/definitions/io.k8s.apimachinery.pkg.")


def extract(document: dict[str, Any]) -> dict[str, Any]:
    """The definitions that ROOTS reach, by short name such as `core.v1.Volume`, sorted."""
    definitions = {_short(f"#/definitions/{name}"): schema for name, schema in document["definitions"].items()}
    found: dict[str, Any] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _prune(name, definitions[name], waiting)
    return dict(sorted(found.items()))


def _prune(name: str, schema: dict[str, Any], waiting: list[str]) -> dict[str, Any]:
    if "$ref" in schema:
        target = _short(schema["$ref"])
        waiting.append(target)
        return {"$ref": target}
    out: dict[str, Any] = {key: schema[key] for key in KEYWORDS if key in schema}
    for key in ("items", "additionalProperties"):
        if key in schema:
            out[key] = _prune("", schema[key], waiting)
    if "properties" in schema:
        out["properties"] = {
            field: _prune("", part, waiting)
            for field, part in schema["properties"].items()
            if field not in PRUNED.get(name, ()) and field in KEPT.get(name, (field,))
        }
    return out


def _short(reference: str) -> str:
    for prefix in PREFIXES:
        reference = reference.removeprefix(prefix)
    return reference


def main(arguments: list[str]) -> int:
    """Write kubernetes.json beside this file; one argument, the path of swagger.json."""
    if len(arguments) != 1:
        print("usage: python -m podium.api.extract PATH_OF_swagger.json", file=sys.stderr)
        return 2
    found = extract(json.loads(Path(arguments[0]).read_text()))
    EXTRACT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{EXTRACT}: {len(found)} types, {EXTRACT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
