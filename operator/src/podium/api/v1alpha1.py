"""podium.dev/v1alpha1: what other packages import."""

from podium.api.base import InvalidSpec
from podium.api.deployment import (
    Autoscaling,
    Disruption,
    Model,
    ModelDeploymentSpec,
    PodSecurity,
    PodTemplate,
    RollingUpdate,
    Rollout,
    RuntimeRef,
    Storage,
    Traffic,
)
from podium.api.durations import parse_duration
from podium.api.runtime import Drain, File, ModelRuntimeSpec, Ports, Probes, RuntimeSecurity

__all__ = [
    "Autoscaling",
    "Disruption",
    "Drain",
    "File",
    "InvalidSpec",
    "Model",
    "ModelDeploymentSpec",
    "ModelRuntimeSpec",
    "PodSecurity",
    "PodTemplate",
    "Ports",
    "Probes",
    "RollingUpdate",
    "Rollout",
    "RuntimeRef",
    "RuntimeSecurity",
    "Storage",
    "Traffic",
    "parse_duration",
]
