"""Evidence that a candidate cannot come up, as opposed to not being up yet."""

from datetime import datetime, timedelta

from podium.api.reasons import Reason
from podium.rollout.moment import Moment
from podium.rollout.revision import Failure, RevisionState
from podium.rollout.state import Timings

CRASH_RESTARTS = 3
"""A container in CrashLoopBackOff after so many restarts is not going to come up by itself."""

ONE_FAULT = {
    Reason.CRASHED: Reason.CRASH_LOOP,
    Reason.FETCH_RETRYING: Reason.FETCH_FAILED,
    Reason.FETCH_BLOCKED_BY_MESH: Reason.FETCH_FAILED,
}
"""What one fault is called at another moment: between two restarts, or when the model store gives another excuse."""


def matures_at(failure: Failure, timings: Timings) -> datetime | None:
    """When this failure becomes evidence of a crash if it lasts; None when it never does."""
    match failure.reason:
        case Reason.CRASH_LOOP:
            return failure.since if failure.restarts >= CRASH_RESTARTS else None
        case Reason.INVALID_IMAGE_NAME:
            return failure.since
        case Reason.IMAGE_PULL | Reason.FETCH_FAILED:
            return failure.since + timings.crash_grace
        case _:
            return None


def evidence(revision: RevisionState, moment: Moment, timings: Timings) -> Failure | None:
    """The first of the revision's failures that is ripe; any one pod is enough."""
    return next((f for f in revision.failures if moment.reached(matures_at(f, timings))), None)


def environment_fails_likewise(
    failure: Failure, candidate: RevisionState, champion: RevisionState, window: timedelta
) -> bool:
    """Whether champion pods made at about the same time fail by the same fault: then the model is not to blame."""
    born = [pod.created for pod in candidate.pods if pod.failure == failure]
    return any(
        pod.failure is not None
        and not pod.stray
        and fault(pod.failure.reason) == fault(failure.reason)
        and abs(pod.created - at) <= window
        for pod in champion.pods
        for at in born
    )


def requests_end_it_likewise(
    failure: Failure, candidate: RevisionState, champion: RevisionState, window: timedelta
) -> bool:
    """Whether requests end the champion's servers, too, within the window: then it is not the candidate alone.

    Both get the same requests, so it does not matter when their pods were made.
    """
    if fault(failure.reason) is not Reason.CRASH_LOOP:
        return False
    deaths = [pod.died for pod in candidate.pods if pod.failure == failure and pod.died]
    return any(
        pod.died is not None and not pod.stray and abs(pod.died - at) <= window
        for pod in champion.pods
        for at in deaths
    )


def fault(reason: Reason) -> Reason:
    """What a pod's failure is called whatever the moment."""
    return ONE_FAULT.get(reason, reason)
