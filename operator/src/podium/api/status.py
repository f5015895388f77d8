"""The status of a ModelDeployment, typed for the CRD's sake: the operator writes it, people and tools read it."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema

from podium.api.base import ApiModel
from podium.api.schema import ListKind

PENDING_SINCE: Final = "1970-01-01T00:00:00Z"
HISTORY_LENGTH: Final = 128
MESSAGE_LENGTH: Final = 32768
NAME_LENGTH: Final = 253
WORD_LENGTH: Final = 64

Word = Annotated[str, Field(max_length=WORD_LENGTH)]
Name = Annotated[str, Field(max_length=NAME_LENGTH)]
Text = Annotated[str, Field(max_length=MESSAGE_LENGTH)]
Version = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Percent = Annotated[int, Field(ge=0, le=100)]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40})]


class RevisionStatus(ApiModel):
    """A revision that has pods."""

    revision: Name | None = Field(default=None, description="Name of its ControllerRevision and Deployment.")
    version: Version | None = Field(
        default=None, description="spec.model.version or, if not set, the version in the URI."
    )
    desired: Count | None = Field(default=None, description="Number of pods that its Deployment should have.")
    ready: Count | None = Field(default=None, description="Number of pods that are ready.")
    available: Count | None = Field(
        default=None, description="Number of pods that have been ready for minReadySeconds."
    )
    weight: Percent | None = Field(
        default=None, description="Percent of the requests that go to it, while there is a candidate."
    )
    since: Time | None = Field(default=None, description="When it became what it is now, champion or candidate.")
    digest: Annotated[str, Field(max_length=80)] | None = Field(
        default=None,
        description="Digest of the model's bytes that its oldest pod fetched, sha256: and 64 hexadecimal digits.",
    )


class PreviousStatus(ApiModel):
    """The replaced revision of a BlueGreen or Canary, whose pods are kept so that `abort` can return to it."""

    revision: Name | None = Field(default=None, description="Name of its ControllerRevision and Deployment.")
    version: Version | None = Field(default=None, description="Its version.")
    until: Time | None = Field(default=None, description="When its pods are removed.")


class Decision(ApiModel):
    """How a rollout ended."""

    verdict: Word | None = Field(default=None, description="Promoted, RolledBack or Superseded.")
    rule: Version | None = Field(default=None, description="The rule that decided, such as rolling-complete or crash.")
    at: Time | None = Field(default=None, description="When it was decided.")
    by: Word | None = Field(default=None, description="What decided: deadline, crash, person, champion-down and so on.")


class WeightStatus(ApiModel):
    """Percent of the requests that a candidate gets by its rollout's steps."""

    desired: Percent | None = Field(default=None, description="Percent that the step asks for.")
    applied: Percent | None = Field(default=None, description="Percent in effect; absent while that is not confirmed.")
    routers: Count | None = Field(
        default=None, description="Number of router pods; absent while requests do not go through them."
    )
    confirmed: Count | None = Field(default=None, description="Number of those that have loaded the present weights.")


class CountedStatus(ApiModel):
    """Counts of one revision."""

    n: Count | None = Field(default=None, description="Number of requests or responses counted.")
    events: Count | None = Field(
        default=None, description="Number of those that failed, as the metric's type defines it."
    )


class EvidenceStatus(ApiModel):
    """How strong the evidence of one metric is; 1 says nothing. By chance it reaches 20 in at most 1 of 20 rollouts."""

    harm: Word | None = Field(
        default=None, description="Evidence that the candidate does harm. All metrics together decide on a rollback."
    )
    no_harm: Word | None = Field(
        default=None, description="Evidence that the candidate is no worse than maxRatio allows."
    )
    needed: Word | None = Field(
        default=None,
        description="Evidence of noHarm needed for a promotion. If errors are counted at the pods: evidence of harm "
        'needed for a rollback, marked "(approximate)".',
    )


class MetricStatus(ApiModel):
    """One metric of a rollout's analysis, at the last checkpoint."""

    name: Word = Field(description="Its name in rollout.analysis.metrics.")
    type: Word | None = Field(default=None, description="ErrorRate, Rejections, Abandoned, Latency or Prometheus.")
    role: Word | None = Field(default=None, description="Role of the metric: Guardrail.")
    threshold: Word | None = Field(
        default=None, description="Latency only: slower responses count as failures; fixed at the start."
    )
    champion: CountedStatus | None = Field(default=None, description="Counts of the champion.")
    candidate: CountedStatus | None = Field(default=None, description="Counts of the candidate.")
    ratio: Word | None = Field(default=None, description="The candidate's rate over the champion's.")
    interval: Annotated[list[Word], Field(max_length=2)] | None = Field(
        default=None, description="Confidence interval of the ratio, at analysis.confidence; valid at any time."
    )
    evidence: EvidenceStatus | None = Field(
        default=None, description="How strong the evidence is; absent for a metric that decides nothing."
    )


class RolloutStatus(ApiModel):
    """The rollout that is under way, or the last one."""

    id: Name | None = Field(default=None, description="ID of the rollout; a retry gets a new one.")
    strategy: Word | None = Field(default=None, description="The strategy it was started with.")
    started_at: Time | None = Field(default=None, description="When it started.")
    step: Count | None = Field(default=None, description="Which step it is at, from 1. Canary only.")
    steps: Count | None = Field(default=None, description="Number of its steps. Canary only.")
    weight: WeightStatus | None = Field(default=None, description="The candidate's share of the requests. Canary only.")
    metrics: Annotated[list[MetricStatus], Field(max_length=20), ListKind("map", ("name",))] | None = Field(
        default=None, description="What was counted, and how strong the evidence is."
    )
    deadline: Time | None = Field(default=None, description="When the candidate is rolled back unless it is available.")
    decision: Decision | None = Field(default=None, description="How it ended; absent while it is under way.")


class LastCommand(ApiModel):
    """The last command that was acted on or refused."""

    value: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="The annotation podium.dev/command as it was read."
    )
    at: Time | None = Field(default=None, description="When it was acted on.")
    result: Word | None = Field(
        default=None,
        description="Done, Refused, Accepted (its rollout has yet to start) or Pending (not recorded yet).",
    )
    message: Text | None = Field(default=None, description="What it did, or why it was refused.")


class HistoryEntry(ApiModel):
    """A revision and what became of it."""

    revision: Name | None = Field(default=None, description="Name of its ControllerRevision.")
    version: Version | None = Field(default=None, description="Its version.")
    outcome: Word | None = Field(default=None, description="Promoted, RolledBack or Superseded.")
    rule: Version | None = Field(default=None, description="The rule that decided.")
    at: Time | None = Field(default=None, description="When it was decided.")


class Condition(ApiModel):
    """One aspect of the state, as Kubernetes' own conditions."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(description="Name of the aspect, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        description="Why, in one word for programs; docs/troubleshooting.md explains each."
    )
    message: Text = Field(description="Why, for people.")
    last_transition_time: Time = Field(description="When status last changed.")
    observed_generation: Count | None = Field(
        default=None, description="The metadata.generation that the condition was computed from."
    )


class ModelDeploymentStatus(ApiModel):
    """The state that Podium reports. Only the operator writes it."""

    observed_generation: Count | None = Field(
        default=None, description="The metadata.generation that this status was computed from."
    )
    phase: Word | None = Field(
        default=None,
        description=(
            "Pending, Progressing, Analyzing, Promoting, RollingBack, Paused, Suspended, Healthy, RolledBack or Failed."
        ),
    )
    message: Text | None = Field(default=None, description="What it is doing or waiting for, and until when.")
    url: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Address of the model inside the cluster."
    )
    runtime: Name | None = Field(default=None, description="Name of the ModelRuntime of the champion.")
    champion: RevisionStatus | None = Field(default=None, description="The revision that serves.")
    candidate: RevisionStatus | None = Field(default=None, description="The revision that is to replace it.")
    previous: PreviousStatus | None = Field(
        default=None, description="The revision that was replaced and still has its pods."
    )
    rollout: RolloutStatus | None = Field(default=None, description="The rollout that is under way, or the last one.")
    last_command: LastCommand | None = Field(
        default=None,
        description="The last command that was acted on or refused; the same value is not acted on twice.",
    )
    history: Annotated[list[HistoryEntry], Field(max_length=HISTORY_LENGTH)] | None = Field(
        default=None, description="Revisions in the history, newest first."
    )
    replicas: Count | None = Field(
        default=None, description="Number of pods behind the stable Service; the scale subresource reads it."
    )
    selector: Version | None = Field(
        default=None, description="Label selector of those pods, as text; the scale subresource reads it."
    )
    controller: Version | None = Field(
        default=None, description="Installation that reconciles this object: namespace/name of its Lease."
    )
    conditions: Annotated[list[Condition], Field(max_length=32), ListKind("map", ("type",))] | None = Field(
        default=None,
        description="Ready, Available, Reconciling, Stalled, Paused and others, for kstatus and `kubectl wait`.",
    )


def pending() -> dict[str, Any]:
    """The status of an object that no operator has seen: a client that waits for Ready must wait, not fail."""
    return {
        "phase": "Pending",
        "conditions": [
            {
                "type": kind,
                "status": "Unknown",
                "reason": "Pending",
                "message": "Waiting for the Podium operator to see this object.",
                "lastTransitionTime": PENDING_SINCE,
            }
            for kind in ("Ready", "Available")
        ],
    }
