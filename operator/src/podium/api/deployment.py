"""The spec of a ModelDeployment: what is served, by how many pods; traffic.py and rollout.py have their parts.

Field by field what a person may write. Every description says the unit and the default: they are what
`kubectl explain modeldeployment.spec` shows.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field, model_validator

from podium.api import checks
from podium.api.base import MAX_REPLICAS, ApiModel, FieldError, IntOrPercent
from podium.api.defaults import said
from podium.api.embedded import Behavior, MetricSpec
from podium.api.model import Model, RuntimeRef
from podium.api.pod import PodTemplate
from podium.api.rollout import Rollout
from podium.api.schema import Rule
from podium.api.traffic import Traffic


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler of each revision (autoscaling/v2)."""

    cel = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas: must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field=".minReplicas",
        ),
    )

    min_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS, description="Lowest number of pods. Default: 1.")
    max_replicas: int = Field(
        ge=1, le=MAX_REPLICAS, description="Highest number of pods, at least minReplicas. No default."
    )
    metrics: list[MetricSpec] = Field(
        default=[],
        max_length=20,
        description="Metrics to scale on, as in autoscaling/v2. Default: 80 % of the requested CPU.",
    )
    behavior: Behavior = Field(
        default={}, description="How fast to scale up and down, as in autoscaling/v2. Default: Kubernetes' own."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise FieldError("minReplicas", self.min_replicas, f"must not exceed maxReplicas, {self.max_replicas}")
        return self


class Disruption(ApiModel):
    """The PodDisruptionBudget that a ModelDeployment of two or more replicas gets."""

    max_unavailable: IntOrPercent = Field(
        default=1,
        description=(
            "How many pods a node drain may evict at once: a number of pods, or a percentage such as 25%. Default: 1."
        ),
    )


class ModelDeploymentSpec(ApiModel):
    """What to serve, and how."""

    cel = (
        Rule(
            "!has(self.autoscaling) || self.replicas > 0",
            "replicas: must be at least 1 with autoscaling: remove autoscaling to scale to zero, or raise replicas",
            field=".replicas",
        ),
        Rule(
            "!has(self.rollout.analysis.metrics) || "
            "(self.rollout.strategy == 'Canary' && self.traffic.router == 'Envoy') || "
            "self.rollout.analysis.metrics.all(metric, metric.type == 'ErrorRate')",
            "rollout.analysis.metrics: all but ErrorRate need traffic.router: Envoy and rollout.strategy: Canary: set "
            "both, or leave ErrorRate alone",
            field=".rollout.analysis.metrics",
        ),
    )

    model: Model = Field(
        default=Model(), description="The model to serve. Default: none, the runtime's image contains it."
    )
    runtime: RuntimeRef = Field(
        default=RuntimeRef(),
        description="The ModelRuntime that serves the model. Default: onnxruntime.",
    )
    pod_template: PodTemplate = Field(
        default=PodTemplate(),
        description="Settings of the pods, such as labels, scheduling and volumes. Default: none.",
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=MAX_REPLICAS,
        description=("Number of pods. With autoscaling, the initial number of the first revision only. Default: 1."),
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description=("Scales the pods by a HorizontalPodAutoscaler. Default: none, replicas is the number of pods."),
    )
    disruption: Disruption = Field(
        default=Disruption(),
        description="The PodDisruptionBudget, which exists from two replicas on. Default: one pod at a time.",
    )
    traffic: Traffic = Field(
        default=Traffic(),
        description="How requests reach the pods. Default: through the Service, without routers.",
    )
    rollout: Rollout = Field(
        default=Rollout(),
        description=(
            "How a new revision (the candidate) replaces the one that serves (the champion). Default: a RollingUpdate."
        ),
    )
    paused: bool = Field(
        default=False,
        description=(
            "Pauses rollouts: none starts, goes on or is promoted. A candidate that crashes, does harm or "
            "misses its deadline is still rolled back. Default: false."
        ),
    )
    suspend: bool = Field(
        default=False,
        description="Removes all pods and keeps everything else; a rollout stops meanwhile. Default: false.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks.env("runtime.env", self.runtime.env)
        if self.autoscaling is not None and self.replicas == 0:
            raise FieldError("replicas", 0, "must be at least 1 with autoscaling: remove autoscaling to scale to zero")
        metrics, router, strategy = self.rollout.analysis.metrics, self.traffic.router, self.rollout.strategy
        others = [metric.name for metric in metrics or () if metric.type != "ErrorRate"]
        if others and (router, strategy) != ("Envoy", "Canary"):
            raise FieldError(
                "rollout.analysis.metrics",
                others,
                "all but ErrorRate need traffic.router: Envoy and rollout.strategy: Canary, not "
                f"{router} and {strategy}: set both, or leave ErrorRate alone",
            )
        return self

    def inputs(self) -> dict[str, Any]:
        """What makes a revision, as on the wire; see `inputs_of`."""
        return inputs_of(self.model_dump(by_alias=True, include=set(INPUTS)), type(self))


INPUTS: Final = {"model": "model", "runtime": "runtime", "pod_template": "podTemplate"}
"""The fields that make a revision, and their names on the wire."""


def inputs_of(source: Mapping[str, Any], model: type[ModelDeploymentSpec] = ModelDeploymentSpec) -> dict[str, Any]:
    """The part of a spec on the wire that makes a revision: model, runtime, podTemplate, as far as they say something.

    Neither a new field with a default nor another default of an old one changes it (podium/api/defaults.py). What a
    revision's record holds goes through it again before it is compared: an earlier version knew other defaults.
    """
    stated = said(model, source)
    return {key: stated[key] for key in INPUTS.values() if key in stated}
