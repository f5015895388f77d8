"""Parts of the API that are Kubernetes' own types: plain dicts and lists in Python, typed in the CRD.

kubernetes.json holds those types (extract.py makes it from Kubernetes' OpenAPI document). They are put into the CRDs
with an upper bound on everything, since the API server budgets CEL rules by what a field could hold at most.
"""

import copy
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import GetJsonSchemaHandler
from pydantic_core import core_schema

from podium.api import rules
from podium.api.schema import JsonSchema, add_rules

EXTRACT: Final = Path(__file__).with_name("kubernetes.json")
QUANTITY: Final = "api.resource.Quantity"
INT_OR_STRING: Final = "util.intstr.IntOrString"
MAX_TEXT: Final = 1024
MAX_TEMPLATE: Final = 4096
MAX_LIST: Final = 64
MAX_MAP: Final = 64

TEXT_BOUNDS: Final = {
    "EnvVar.name": 256,
    "EnvVar.value": 32768,
    "ExecAction.command": 16384,
    "HTTPHeader.value": 4096,
    "Volume.name": 63,
    "VolumeMount.mountPath": 512,
    "VolumeMount.name": 63,
}
"""Longest texts where MAX_TEXT does not fit, by type and field."""
LIST_BOUNDS: Final = {"NodeSelectorRequirement.values": 512, "VolumeProjection.items": 256}
MINIMA: Final = {
    "Probe.failureThreshold": 1,
    "Probe.initialDelaySeconds": 0,
    "Probe.periodSeconds": 1,
    "Probe.successThreshold": 1,
    "Probe.terminationGracePeriodSeconds": 1,
    "Probe.timeoutSeconds": 1,
    "Toleration.tolerationSeconds": 0,
    "TopologySpreadConstraint.maxSkew": 1,
    "TopologySpreadConstraint.minDomains": 1,
}
REQUIRED: Final = {"LocalObjectReference": ["name"]}
"""Fields that are keys of our lists, and so must be there."""


@dataclass(frozen=True)
class Embedded:
    """The schema of a field is that of the Kubernetes type `type`, its short name in kubernetes.json."""

    type: str
    templates: tuple[str, ...] = ()
    """Paths below it of strings that are templates of a ModelRuntime, such as `httpGet.path`, `exec.command[]`.

    They are at most MAX_TEMPLATE long, since the rule that reads them costs by their length.
    """

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = _bounded(self.type)
        for path in self.templates:
            text = _at(schema, path)
            text["maxLength"] = min(text["maxLength"], MAX_TEMPLATE)
            add_rules(text, (rules.TEMPLATE,))
        return schema


@functools.cache
def _extract() -> dict[str, JsonSchema]:
    loaded: dict[str, JsonSchema] = json.loads(EXTRACT.read_text())
    return loaded


def _bounded(name: str) -> JsonSchema:
    """The type's schema, inlined and with an upper bound on every text, list and map."""
    if name == QUANTITY:
        return {"x-kubernetes-int-or-string": True, "maxLength": 64, "pattern": rules.QUANTITY_PATTERN}
    if name == INT_OR_STRING:
        return {"x-kubernetes-int-or-string": True, "maxLength": 63}
    short = name.rpartition(".")[2]
    schema = _walk(copy.deepcopy(_extract()[name]), short, "")
    if short in REQUIRED:
        schema["required"] = sorted({*schema.get("required", []), *REQUIRED[short]})
    add_rules(schema, rules.OF_TYPES.get(short, ()))
    return schema


def _walk(schema: JsonSchema, owner: str, field: str) -> JsonSchema:
    if "$ref" in schema:
        return _bounded(schema["$ref"])
    path = f"{owner}.{field}"
    match schema.get("type"):
        case "string":
            schema["maxLength"] = TEXT_BOUNDS.get(path, MAX_TEXT)
        case "integer" if path in MINIMA:
            schema["minimum"] = MINIMA[path]
        case "array":
            schema["maxItems"] = LIST_BOUNDS.get(path, MAX_LIST)
            schema["items"] = _walk(schema["items"], owner, field)
        case "object" if "additionalProperties" in schema:
            schema["maxProperties"] = MAX_MAP
            schema["additionalProperties"] = _walk(schema["additionalProperties"], owner, field)
        case "object":
            schema["properties"] = {key: _walk(part, owner, key) for key, part in schema["properties"].items()}

    return schema


def _at(schema: JsonSchema, path: str) -> JsonSchema:
    for step in path.split("."):
        schema = schema["properties"][step.removesuffix("[]")]
        if step.endswith("[]"):
            schema = schema["items"]
    return schema


Object = dict[str, Any]

Affinity = Annotated[Object, Embedded("core.v1.Affinity")]
Behavior = Annotated[Object, Embedded("autoscaling.v2.HorizontalPodAutoscalerBehavior")]
EnvVar = Annotated[Object, Embedded("core.v1.EnvVar")]
LocalObjectReference = Annotated[Object, Embedded("core.v1.LocalObjectReference")]
MetricSpec = Annotated[Object, Embedded("autoscaling.v2.MetricSpec")]
PodSecurityContext = Annotated[Object, Embedded("core.v1.PodSecurityContext")]
ResourceRequirements = Annotated[Object, Embedded("core.v1.ResourceRequirements")]
SecurityContext = Annotated[Object, Embedded("core.v1.SecurityContext")]
Toleration = Annotated[Object, Embedded("core.v1.Toleration")]
TopologySpreadConstraint = Annotated[Object, Embedded("core.v1.TopologySpreadConstraint")]
Volume = Annotated[Object, Embedded("core.v1.Volume")]
VolumeMount = Annotated[Object, Embedded("core.v1.VolumeMount")]

# In a ModelRuntime, where strings are templates.
RuntimeEnvVar = Annotated[Object, Embedded("core.v1.EnvVar", templates=("value",))]
Probe = Annotated[
    Object,
    Embedded(
        "core.v1.Probe",
        templates=("exec.command[]", "grpc.service", "httpGet.host", "httpGet.path", "httpGet.httpHeaders[].value"),
    ),
]
