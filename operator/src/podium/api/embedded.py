"""Parts of the API that are Kubernetes' own types: plain dicts and lists in Python, typed in the CRD.

`Embedded` marks such a field with the name of the type in Kubernetes' OpenAPI document; the generator puts the pruned
schema of that type in its place.
"""

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Embedded:
    """The schema of a field is that of the Kubernetes type `type` (its short name, such as `core.v1.Toleration`)."""

    type: str


Object = dict[str, Any]

Affinity = Annotated[Object, Embedded("core.v1.Affinity")]
Behavior = Annotated[Object, Embedded("autoscaling.v2.HorizontalPodAutoscalerBehavior")]
EnvVar = Annotated[Object, Embedded("core.v1.EnvVar")]
LocalObjectReference = Annotated[Object, Embedded("core.v1.LocalObjectReference")]
MetricSpec = Annotated[Object, Embedded("autoscaling.v2.MetricSpec")]
PodSecurityContext = Annotated[Object, Embedded("core.v1.PodSecurityContext")]
Probe = Annotated[Object, Embedded("core.v1.Probe")]
ResourceRequirements = Annotated[Object, Embedded("core.v1.ResourceRequirements")]
SecurityContext = Annotated[Object, Embedded("core.v1.SecurityContext")]
SELinuxOptions = Annotated[Object, Embedded("core.v1.SELinuxOptions")]
Toleration = Annotated[Object, Embedded("core.v1.Toleration")]
TopologySpreadConstraint = Annotated[Object, Embedded("core.v1.TopologySpreadConstraint")]
Volume = Annotated[Object, Embedded("core.v1.Volume")]
VolumeMount = Annotated[Object, Embedded("core.v1.VolumeMount")]
