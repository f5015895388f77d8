"""Every reason that a condition of a ModelDeployment can have. docs/troubleshooting.md explains each; a test compares.

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
    NAME_CONFLICT = "NameConflict"
    FORBIDDEN = "Forbidden"
    REJECTED = "Rejected"
    INTERNAL_ERROR = "InternalError"

    # For information.
    RUNTIME_CHANGED = "RuntimeChanged"
    MODEL_BYTES_DIFFER = "ModelBytesDiffer"
    ANOTHER_WRITER = "AnotherWriter"
