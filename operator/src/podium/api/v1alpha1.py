"""podium.dev/v1alpha1: what other packages import."""

from podium.api.analysis import Analysis, Metric
from podium.api.base import InvalidSpec
from podium.api.deployment import Autoscaling, Disruption, ModelDeploymentSpec, inputs_of
from podium.api.durations import parse_duration
from podium.api.model import Model, RuntimeRef, Storage
from podium.api.pod import PodSecurity, PodTemplate, SELinux
from podium.api.rollout import RollingUpdate, Rollout
from podium.api.runtime import Drain, File, ModelRuntimeSpec, Ports, Probes, RuntimeSecurity
from podium.api.traffic import Traffic

__all__ = [
    "Analysis",
    "Autoscaling",
    "Disruption",
    "Drain",
    "File",
    "InvalidSpec",
    "Metric",
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
    "SELinux",
    "Storage",
    "Traffic",
    "inputs_of",
    "parse_duration",
]
