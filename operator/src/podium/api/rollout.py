"""spec.rollout: how a new revision replaces the one that serves."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from podium.api import checks, durations
from podium.api.analysis import Analysis
from podium.api.base import DURATION_FORMAT, ApiModel, Duration, FieldError, IntOrPercent, MinimalDuration, Span
from podium.api.schema import Rule

MaxDuration = Annotated[
    str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Span("1m", "720h", "write a duration such as 24h")
]
"""How long evidence is waited for, at most 30 days."""


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
            "How long the weight is kept at least, once it is in effect. A duration such as 10m. Default: none, the "
            "next step follows at once."
        ),
    )
    pause: bool = Field(
        default=False,
        description=("Keeps the weight of the step before until a person sends the command resume. Default: false."),
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
            "How many pods above replicas may exist during an update: a number of pods, or a percentage such as 25%, "
            "rounded up. Not 0 together with maxUnavailable. Default: 25%."
        ),
    )
    max_unavailable: IntOrPercent = Field(
        default=0,
        description=(
            "How many of the replicas may be unavailable during an update: a number of pods, or a percentage such as "
            "25%, rounded down. Default: 0."
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
            "RollingUpdate: replaces pods step by step. BlueGreen: starts all new pods, then moves all requests at "
            "once. Canary: moves requests in steps. Default: RollingUpdate."
        ),
    )
    rolling_update: RollingUpdate = Field(
        default=RollingUpdate(),
        description=(
            "Limits on pods during a RollingUpdate. A Canary's pods replace old ones if maxSurge is 0, else they are "
            "added. Default: maxSurge 25%, maxUnavailable 0."
        ),
    )
    steps: list[Step] = Field(
        default=[Step.parse({"weight": weight, "for": "1m"}) for weight in (5, 25, 50)],
        max_length=20,
        description=(
            "Steps of a Canary before all requests move. Without a router a weight is a share of the pods, at least "
            "one pod. Default: 5, 25 and 50 percent, for a minute each."
        ),
    )
    min_ready_seconds: int = Field(
        default=10,
        ge=0,
        le=3600,
        description=(
            "Seconds for which a pod must be ready to count as available. More of them than now count from the next "
            "rollout on. Default: 10."
        ),
    )
    progress_deadline: MinimalDuration = Field(
        default="10m",
        description=(
            "Time within which a new revision must become available; otherwise it is rolled back. In a Canary it "
            "begins again at each step. A duration such as 10m, more than minReadySeconds. Default: 10m."
        ),
    )
    max_duration: MaxDuration = Field(
        default="24h",
        description=(
            "How long to wait for enough evidence; then onInconclusive applies. Pauses do not count. A duration such "
            "as 24h, from 1m to 720h. Default: 24h."
        ),
    )
    on_inconclusive: Literal["Rollback", "Promote", "Pause"] = Field(
        default="Rollback",
        description=(
            "What happens if maxDuration ends undecided. Rollback: the old revision stays. Promote: the new one "
            "replaces it. Pause: a person decides. Default: Rollback."
        ),
    )
    analysis: Analysis = Field(
        default=Analysis(),
        description=(
            "Compares both revisions under live traffic and rolls the new one back if it does worse. A Canary with "
            "router Envoy is promoted only once it has shown that it does not. Default: on for a Canary."
        ),
    )
    promotion: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description=(
            "Who promotes a BlueGreen candidate once it is available, or a Canary after its last step. Automatic: "
            "Podium. Manual: a person, by the command promote. Default: Automatic."
        ),
    )
    scale_down_delay: Duration = Field(
        default="5m",
        description=(
            "How long the replaced revision of a BlueGreen or Canary keeps its pods, so that the command abort can "
            "return to it. A duration such as 5m. Default: 5m."
        ),
    )
    revision_history_limit: int = Field(
        default=5, ge=0, le=100, description="Number of old revisions to keep in the history. Default: 5."
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
