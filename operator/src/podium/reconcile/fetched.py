"""What the pods of a revision fetched: the champion's digest, and whether one path gave different bytes. Pure."""

from podium.api.reasons import Reason
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation
from podium.rollout.words import named, sentences

PODS_NAMED = 5
"""Of each digest; the message says how many more there are."""


def model_digest_of(revision: RevisionState) -> dict[str, str]:
    """`digest` of a revision in status: of the bytes that its oldest pod fetched; nothing while no pod has said."""
    told = [pod for pod in revision.pods if pod.model_digest and not pod.stray]
    oldest = min(told, key=lambda pod: (pod.terminating, pod.created, pod.name), default=None)
    return {"digest": oldest.model_digest} if oldest else {}


def bytes_differ(situation: Situation) -> dict[str, tuple[str, str, str]]:
    """The condition ModelBytesDiffer, (status, reason, message) by its type; nothing where the pods agree."""
    said = [_difference(r, situation, found) for r in situation.revisions if len(found := _by_model_digest(r)) > 1]
    if not said:
        return {}
    return {"ModelBytesDiffer": ("True", Reason.MODEL_BYTES_DIFFER, " ".join(said))}


def _by_model_digest(revision: RevisionState) -> dict[str, list[str]]:
    """Names of the pods that are to stay, by what they fetched, the oldest first."""
    found: dict[str, list[str]] = {}
    for pod in sorted(revision.pods, key=lambda pod: (pod.created, pod.name)):
        if pod.model_digest and not pod.terminating and not pod.stray:
            found.setdefault(pod.model_digest, []).append(pod.name)
    return found


def _difference(revision: RevisionState, situation: Situation, found: dict[str, list[str]]) -> str:
    parts = [f"{digest} ({_names(pods)})" for digest, pods in found.items()]
    return sentences(
        f"pods of {named(revision, situation)} fetched different bytes from spec.model.uri, where something was "
        f"overwritten: {' and '.join(parts)}",
        "give each version a path of its own, or pin spec.model.sha256",
        f"for pods that agree: {situation.how_to('restart', revision)}",
    )


def _names(pods: list[str]) -> str:
    more = f" and {len(pods) - PODS_NAMED} more" if len(pods) > PODS_NAMED else ""
    return ", ".join(pods[:PODS_NAMED]) + more
