"""The spec of a ModelDeployment.

Field by field what a person may write. Every description says the unit and the default: they are what
`kubectl explain modeldeployment.spec` shows.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from podium.api import checks, durations
from podium.api.analysis import Analysis
from podium.api.base import (
    DURATION_FORMAT,
    LONG,
    MAX_REPLICAS,
    ApiModel,
    Duration,
    FieldError,
    IntOrPercent,
    MinimalDuration,
    Span,
)
from podium.api.defaults import said
from podium.api.embedded import Behavior, MetricSpec
from podium.api.model import Model, RuntimeRef
from podium.api.pod import PodTemplate
from podium.api.schema import Format, Rule, Rules

RequestTime = Annotated[
    str,
    Field(max_length=durations.MAX_LENGTH),
    DURATION_FORMAT,
    Rules(
        (
            LONG,
            Rule(
                rf"!self.matches(r'{durations.PATTERN}') || duration(self) <= duration('24h')",
                "must be at most 24h: shorten the duration",
            ),
        )
    ),
]
"""What a router waits for, at most a day."""

RequestSize = Annotated[
    str,
    Format(
        r"^([1-9][0-9]{0,11}|[1-9][0-9]{0,8}(k|Ki)|[1-9][0-9]{0,5}(M|Mi)|[1-9][0-9]{0,2}(G|Gi)|1(T|Ti))$",
        "must be a number of bytes from 1 to 1Ti, with a suffix such as Ki, Mi or Gi if need be: 64Mi, 1Gi",
    ),
]
"""Bytes of a request."""

MaxDuration = Annotated[
    str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Span("1m", "720h", "write a duration such as 24h")
]
"""How long evidence is waited for, at most 30 days."""


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler of each revision (autoscaling/v2)."""

    cel = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas: must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field=".minReplicas",
        ),
    )

    min_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS, description="Fewest pods. Default: 1.")
    max_replicas: int = Field(ge=1, le=MAX_REPLICAS, description="Most pods, at least minReplicas. No default.")
    metrics: list[MetricSpec] = Field(
        default=[],
        max_length=20,
        description="What the number of pods follows, as in autoscaling/v2. Default: 80 % of the requested CPU.",
    )
    behavior: Behavior = Field(
        default={}, description="How fast it scales up and down, as in autoscaling/v2. Default: Kubernetes' own."
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
            "How many pods a node drain may take away at once: a number of pods, or a share such as 25%. Default: 1."
        ),
    )


def _needs_router(field: str, default: str) -> Rule:
    return Rule(
        f"self.router != 'None' || self.{field} == '{default}'",
        f"{field}: has no effect without a router: set router to Envoy, or leave {field} out",
        field=f".{field}",
    )


class Traffic(ApiModel):
    """How requests reach the pods."""

    cel = (
        _needs_router("timeout", "60s"),
        _needs_router("idleTimeout", "5m"),
        _needs_router("maxRequestBytes", "64Mi"),
    )

    router: Literal["None", "Envoy"] = Field(
        default="None",
        description=(
            "What divides the requests between revisions. None: the Service alone, so that shares follow the numbers "
            "of pods. Envoy: routers of the namespace, which keep to weights exactly. Default: None."
        ),
    )
    timeout: RequestTime = Field(
        default="60s",
        description=(
            "Time for a whole answer through a router, after which the caller gets 504; a stream of gRPC has none. A "
            "duration such as 60s, at most 24h. Default: 60s."
        ),
    )
    idle_timeout: RequestTime = Field(
        default="5m",
        description=(
            "Time in which nothing moves, after which a router ends a request or a stream. A duration such as 5m, at "
            "most 24h. Default: 5m."
        ),
    )
    max_request_bytes: RequestSize = Field(
        default="64Mi",
        min_length=1,
        max_length=32,
        description=(
            "Largest request that a router lets through, in bytes with a suffix such as Mi or Gi, at most 1Ti; one "
            "that announces more is answered with 413. Default: 64Mi."
        ),
    )


class Step(ApiModel):
    """One step of a Canary: a weight, or a pause."""

    cel = (
        Rule(
            "has(self.weight) != self.pause",
            "steps: each is either a weight or a pause: set weight, such as 25, or pause to true, and not both",
            field=".weight",
        ),
        Rule(
            "!has(self.__for__) || !self.pause",
            "steps: for has no effect on a pause, which the command resume ends: remove for",
            field=".for",
        ),
    )

    weight: int | None = Field(
        default=None, ge=1, le=99, description="Percent of the requests that the new revision gets. No default."
    )
    holds: Duration | None = Field(
        default=None,
        alias="for",
        description=(
            "Time for which the weight is kept at least, from when it is applied. A duration such as 10m. Default: "
            "none, the next step begins as soon as it is applied."
        ),
    )
    pause: bool = Field(
        default=False,
        description="Waits, at the weight before it, until a person sends the command resume. Default: false.",
    )

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.weight is not None) == self.pause:
            raise FieldError("weight", self.weight, "set either weight, such as 25, or pause to true")
        if self.pause and self.holds is not None:
            raise FieldError("for", self.holds, "has no effect on a pause, which the command resume ends: remove it")
        return self


class RollingUpdate(ApiModel):
    """Sizes of a RollingUpdate."""

    cel = (
        Rule(
            "!(string(self.maxSurge).matches('^0+%?$') && string(self.maxUnavailable).matches('^0+%?$'))",
            "maxSurge: must not be 0 while maxUnavailable is 0, since no pod could be replaced: raise one of them",
            field=".maxSurge",
        ),
    )

    max_surge: IntOrPercent = Field(
        default="25%",
        description=(
            "How many pods above replicas may exist during an update: a number of pods, or a share such as 25%, "
            "rounded up. Not 0 together with maxUnavailable. Default: 25%."
        ),
    )
    max_unavailable: IntOrPercent = Field(
        default=0,
        description=(
            "How many of the replicas may be unavailable during an update: a number of pods, or a share such as 25%, "
            "rounded down. Default: 0."
        ),
    )

    @model_validator(mode="after")
    def _can_move(self) -> Self:
        if checks.is_zero(self.max_surge) and checks.is_zero(self.max_unavailable):
            raise FieldError(
                "maxSurge", self.max_surge, "must not be 0 while maxUnavailable is 0: no pod could be replaced"
            )
        return self


class Rollout(ApiModel):
    """How a new revision replaces the one that serves."""

    cel = (
        Rule(
            f"!self.progressDeadline.matches(r'{durations.PATTERN}') || "
            "duration(self.progressDeadline).getMilliseconds() > self.minReadySeconds * 1000",
            "progressDeadline: must be longer than minReadySeconds, or no pod could be available in time: raise "
            "progressDeadline or lower minReadySeconds",
            field=".progressDeadline",
            shown="self.progressDeadline",
        ),
        Rule(
            "self.promotion != 'Manual' || self.strategy != 'RollingUpdate'",
            "promotion: Manual has no effect on a RollingUpdate, which promotes itself: set strategy to BlueGreen or "
            "Canary, or leave promotion out",
            field=".promotion",
        ),
        Rule(
            "self.steps.size() > 0",
            "steps: must not be empty: set at least one, such as weight 50, or leave steps out",
            field=".steps",
        ),
        Rule(
            "self.steps.filter(step, has(step.weight)).map(step, step.weight).isSorted()",
            "steps: weights must not fall from one step to the next: put them in rising order, such as 5, 25, 50",
            field=".steps",
        ),
    )

    strategy: Literal["RollingUpdate", "BlueGreen", "Canary"] = Field(
        default="RollingUpdate",
        description=(
            "RollingUpdate: pod by pod. BlueGreen: the new revision comes up in full beside the old one, then all "
            "requests move at once. Canary: the new one gets a growing share of them, by steps. Default: "
            "RollingUpdate."
        ),
    )
    rolling_update: RollingUpdate = Field(
        default=RollingUpdate(),
        description=(
            "Sizes of a RollingUpdate. A Canary's pods replace old ones, one by one, where maxSurge is 0; else they "
            "come beside them. Default: maxSurge 25%, maxUnavailable 0."
        ),
    )
    steps: list[Step] = Field(
        default=[Step.parse({"weight": weight, "for": "1m"}) for weight in (5, 25, 50)],
        max_length=20,
        description=(
            "What a Canary does in turn before all requests move. Without a router a weight is a share of the pods, "
            "at least one. Default: 5, 25 and 50 percent, for a minute each."
        ),
    )
    min_ready_seconds: int = Field(
        default=10,
        ge=0,
        le=3600,
        description="Seconds for which a pod must be ready to count as available. Default: 10.",
    )
    progress_deadline: MinimalDuration = Field(
        default="10m",
        description=(
            "Time within which a new revision must become available, or it is rolled back. A duration "
            "such as 10m, more than minReadySeconds. Default: 10m."
        ),
    )
    max_duration: MaxDuration = Field(
        default="24h",
        description=(
            "Time for which evidence is waited for; then onInconclusive says what happens. Pauses do not count. A "
            "duration such as 24h, from 1m to 720h. Default: 24h."
        ),
    )
    on_inconclusive: Literal["Rollback", "Promote", "Pause"] = Field(
        default="Rollback",
        description=(
            "What happens when maxDuration ends undecided. Rollback: the old revision stays. Promote: the new one "
            "replaces it. Pause: a person decides. Default: Rollback."
        ),
    )
    analysis: Analysis = Field(
        default=Analysis(),
        description=(
            "What live traffic must show before a Canary is promoted. Default: no more errors, rejected, abandoned "
            "and slow requests than the old revision's."
        ),
    )
    promotion: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description=(
            "Who promotes an available BlueGreen candidate, and a Canary after its last step. Automatic: Podium. "
            "Manual: a person, by the command promote. Default: Automatic."
        ),
    )
    scale_down_delay: Duration = Field(
        default="5m",
        description=(
            "Time for which the replaced revision of a BlueGreen or Canary rollout stays warm, so that one command "
            "moves back to it. A duration such as 5m. Default: 5m."
        ),
    )
    revision_history_limit: int = Field(
        default=5, ge=0, le=100, description="Number of old revisions that are kept as a record. Default: 5."
    )

    @model_validator(mode="after")
    def _deadline_can_be_met(self) -> Self:
        if durations.parse_duration(self.progress_deadline) <= self.min_ready_seconds:
            raise FieldError(
                "progressDeadline",
                self.progress_deadline,
                f"must be longer than minReadySeconds, {self.min_ready_seconds} s: no pod could be available in time",
            )
        return self

    @model_validator(mode="after")
    def _steps_lead_on(self) -> Self:
        weights = [step.weight for step in self.steps if step.weight is not None]
        if not self.steps:
            raise FieldError("steps", [], "must not be empty: set at least one, or leave steps out")
        if weights != sorted(weights):
            raise FieldError("steps", weights, "weights must not fall from one step to the next: put them in order")
        return self


class ModelDeploymentSpec(ApiModel):
    """What a person wants served, and how."""

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

    model: Model = Field(default=Model(), description="The model. Default: none, the runtime's image brings its own.")
    runtime: RuntimeRef = Field(
        default=RuntimeRef(),
        description="What runs the model. Default: the ModelRuntime onnxruntime.",
    )
    pod_template: PodTemplate = Field(
        default=PodTemplate(), description="What the pods get beyond the model and its runtime. Default: nothing."
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=MAX_REPLICAS,
        description="Number of pods; with autoscaling the first revision's initial number only. Default: 1.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Lets the number of pods follow the load. Default: none, replicas says the number."
    )
    disruption: Disruption = Field(
        default=Disruption(),
        description="What node drains may take away, from two replicas on. Default: one pod at a time.",
    )
    traffic: Traffic = Field(
        default=Traffic(),
        description="How requests reach the pods. Default: through the Service alone.",
    )
    rollout: Rollout = Field(
        default=Rollout(), description="How a new revision replaces the one that serves. Default: a RollingUpdate."
    )
    paused: bool = Field(
        default=False,
        description=(
            "Holds rollouts: none starts, goes on or is promoted; what crashes is still rolled back. Default: false."
        ),
    )
    suspend: bool = Field(
        default=False,
        description=(
            "Takes all pods away and leaves everything else as it is; a rollout stands still until it is false again. "
            "Default: false."
        ),
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
