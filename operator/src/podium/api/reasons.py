"""Every reason that a condition or an Event of a ModelDeployment can have; docs/messages.md has the sentence of each.

docs/troubleshooting.md explains those of conditions; tests compare both.

Condition ScalingActive alone passes on the HorizontalPodAutoscaler's own reasons.
"""

from enum import StrEnum


class Reason(StrEnum):
    """One word for programs."""

    # All is well, or on its way.
    PENDING = "Pending"
    AVAILABLE = "Available"
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"
    PROGRESSING = "Progressing"
    ROLLING_UPDATE = "RollingUpdate"
    BLUE_GREEN = "BlueGreen"
    CANARY = "Canary"
    TRAFFIC_MOVING = "TrafficMoving"
    DRAINING = "Draining"
    PLAN_PENDING = "PlanPending"
    SUPERSEDED = "Superseded"

    # A person is waited for.
    SUSPENDED = "Suspended"
    PAUSED = "Paused"
    SPEC_PAUSED = "SpecPaused"
    PAUSED_BY_COMMAND = "PausedByCommand"
    WAITING_FOR_PROMOTION = "WaitingForPromotion"
    WAITING_FOR_RESUME = "WaitingForResume"
    INCONCLUSIVE = "Inconclusive"

    # Something is wrong and Podium copes.
    DEGRADED = "Degraded"
    NO_AVAILABLE_POD = "NoAvailablePod"
    CHAMPION_UNAVAILABLE = "ChampionUnavailable"
    ENVIRONMENT = "Environment"
    ROUTER_UNREACHABLE = "RouterUnreachable"
    NO_DATA = "NoData"
    SAMPLE_RATIO = "SampleRatio"
    METRICS_UNREACHABLE = "MetricsUnreachable"
    NO_TRAFFIC = "NoTraffic"
    LEDGER_CHANGED = "LedgerChanged"
    NOT_MEASURED = "NotMeasured"
    CONTAINER_ENDED = "ContainerEnded"
    PROMOTION_STANDS = "PromotionStands"
    ROLLED_BACK = "RolledBack"
    DEADLINE_EXCEEDED = "DeadlineExceeded"

    # What keeps a pod from serving.
    CRASH_LOOP = "CrashLoopBackOff"
    CRASHED = "Crashed"
    IMAGE_PULL = "ImagePull"
    INVALID_IMAGE_NAME = "InvalidImageName"
    FETCH_FAILED = "FetchFailed"
    FETCH_RETRYING = "FetchRetrying"
    FETCH_BLOCKED_BY_MESH = "FetchBlockedByMesh"
    CONFIG_ERROR = "ConfigError"
    UNSCHEDULABLE = "Unschedulable"
    EVICTED = "Evicted"
    FAILED_CREATE = "FailedCreate"

    # Only a person can mend it.
    RECORD_MISSING = "RecordMissing"
    INVALID_SPEC = "InvalidSpec"
    INVALID_RUNTIME = "InvalidRuntime"
    UNSUPPORTED_FORMAT = "UnsupportedFormat"
    WEIGHT_NOT_POSSIBLE = "WeightNotPossible"
    RUNTIME_NOT_FOUND = "RuntimeNotFound"
    RECORD_UNREADABLE = "RecordUnreadable"
    UNREADABLE = "Unreadable"
    NAME_CONFLICT = "NameConflict"
    FORBIDDEN = "Forbidden"
    REJECTED = "Rejected"
    INTERNAL_ERROR = "InternalError"

    # For information.
    RUNTIME_CHANGED = "RuntimeChanged"
    MODEL_BYTES_DIFFER = "ModelBytesDiffer"
    ANOTHER_WRITER = "AnotherWriter"


class EventReason(StrEnum):
    """Of Events that tell of a decision or a command; every other one has the reason of the condition that changed.

    abort, retry, and promote where it needs no more pods, are told by the outcome that they give.
    """

    ROLLOUT_STARTED = "RolloutStarted"
    STEP = "Step"
    TOO_LITTLE_TRAFFIC = "TooLittleTraffic"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"

    PROMOTE_ACCEPTED = "PromoteAccepted"
    RESTART_ACCEPTED = "RestartAccepted"
    PAUSE_ACCEPTED = "PauseAccepted"
    RESUME_ACCEPTED = "ResumeAccepted"
    COMMAND_REFUSED = "CommandRefused"

    REPLICAS_IGNORED = "ReplicasIgnored"
    REPLICAS_PENDING = "ReplicasPending"
