"""Reads out of a Pod's status why it does not serve, in words for a person, and who keeps pods from being made."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from podium.api import names
from podium.api.reasons import Reason
from podium.api.rules import VOLUME_PREFIX
from podium.kube.client import Object
from podium.reconcile.lastwords import plain_words, said_by
from podium.reconcile.mesh import mesh_in_the_way
from podium.reconcile.sightings import Sightings
from podium.rollout.revision import RevisionState
from podium.rollout.wire import others_time
from podium.rollout.words import times

NOBODY_ASKED = ("failed calling webhook", "internal error occurred", "deadline exceeded", "timed out")
"""Signs in a refusal that nobody has judged the pods: what should have cannot be called."""
JUDGED = "denied the request"
"""Whatever else a webhook's own sentence says, it was called."""
IMAGE_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError"})
DISK = re.compile(r"ephemeral[- ](local )?storage|EmptyDir volume")
"""In kubelet's sentences about a pod that it evicts for what it wrote, or because the node's disk is full."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MESSAGE_LENGTH = 400
"""Characters of a container's own last words that are passed on."""
EVICTION_TOLD = timedelta(minutes=10)
"""A pod made within so much of an eviction is the evicted one's successor; longer than clocks differ."""
LOST = frozenset({"Unknown", "ContainerStatusUnknown"})
"""Reasons of ends that are the node's doing (containerd's after a restart of the node, and the kubelet's)."""
SIGNALLED = 128
"""Exit codes above it are of containers that a signal ended."""
PREPARATION = timedelta(seconds=20)
"""How long a pod may wait for its volumes and its network: 1 to 3 s are usual, and causes are told within 30 s."""


def symptom(pod: Object, sightings: Sightings) -> tuple[Reason, str, int] | None:
    """(reason, message, restarts) of the first thing that keeps the pod from serving; None if nothing is known."""
    status = pod.get("status") or {}
    return next(_of_containers(pod), None) or _of_pod(pod, status) or _of_preparation(pod, sightings)


def _unprepared_since(pod: Object) -> datetime | None:
    """By its kubelet, since when a pod's node prepares it; None for one that is prepared, or on no node yet.

    Neither the pod nor its containers say what is missing (FailedMount is an Event alone), only that they do not start.
    """
    status = pod.get("status") or {}
    if status.get("phase") != "Pending":
        return None
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodReadyToStartContainers" and condition.get("status") == "False":
            return others_time(condition.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
    return None


def model_digest(pod: Object) -> str:
    """Digest of the model's bytes by the fetcher's last words (`sha256:...`); empty without any, or if they are odd."""
    for container in (pod.get("status") or {}).get("initContainerStatuses") or []:
        ended = _last_end(container) if container["name"] == names.FETCH_CONTAINER else None
        if ended is not None and ended.get("exitCode") == 0:
            said = said_by(ended)
            digest = said.get("digest")
            return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else ""
    return ""


def died_of_requests(pod: Object) -> str:
    """When a signal last ended the model's server while that ran requests, in its kubelet's words; "" if never.

    The server's last words say so, and name them.
    """
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = _last_end(container) if container["name"] == names.MODEL_CONTAINER else None
        if ended is None or ended.get("exitCode", 0) <= SIGNALLED or not ended.get("finishedAt"):
            continue
        said = said_by(ended)
        running = said.get("running")
        if said.get("reason") == "Died" and isinstance(running, list) and any(running):
            return str(ended["finishedAt"])
    return ""


def ended(pod: Object) -> tuple[int, str]:
    """How often the model's container ended, and how it did last, in its kubelet's words.

    Once for each restart, and once more while it is not running again. A pod that is being deleted ends it as well,
    which is no end of its own. A kill by the kubelet after its liveness probe failed is one: it did not answer. The
    words are empty without an end, and where the last is the node's doing.
    """
    for container in (pod.get("status") or {}).get("containerStatuses") or []:
        if container["name"] != names.MODEL_CONTAINER:
            continue
        last, going = _last_end(container), "deletionTimestamp" in pod["metadata"]
        count = int(container.get("restartCount", 0)) if last is None or going else _ends(container)
        if not count or last is None or last.get("reason") in LOST:
            return count, ""
        return count, f"exit code {last.get('exitCode')}, {last.get('reason', 'Error')}"
    return 0, ""


def eviction(predecessors: Iterable[Object], created: datetime) -> tuple[Reason, str, int] | None:
    """As `symptom`, of a pod made at `created`: the pod that its node ended, or did not take, for want of disk then.

    That one is over, and its successor only says that it starts: without this nobody would learn why.
    """
    found = [(at, pod) for pod in predecessors if (at := _evicted_at(pod)) and abs(created - at) <= EVICTION_TOLD]
    if not found:
        return None
    _, pod = max(found, key=lambda pair: (pair[0], pair[1]["metadata"]["name"]))
    said = " ".join(pod["status"]["message"].split())
    if pod["status"]["reason"] != "Evicted":
        return Reason.EVICTED, f"pod {pod['metadata']['name']} was refused by its node: {with_way_out(said)}", 0
    return Reason.EVICTED, f"pod {pod['metadata']['name']} was evicted: {said.rstrip('. ')}; {_more_room(said)}", 0


def _evicted_at(pod: Object) -> datetime | None:
    status = pod.get("status") or {}
    said = status.get("message") or ""
    by_its_node = str(status.get("reason", "")).startswith(("Evicted", "OutOf"))
    if status.get("phase") != "Failed" or not by_its_node or not DISK.search(said):
        return None
    times = [c["lastTransitionTime"] for c in status.get("conditions") or [] if c.get("lastTransitionTime")]
    return max(map(others_time, times or [pod["metadata"]["creationTimestamp"]]))


def _more_room(said: str) -> str:
    volume = re.search(r'EmptyDir volume "([^"]*)"', said)
    if volume and not volume[1].startswith(VOLUME_PREFIX):
        return f"raise the sizeLimit of volume {volume[1]} in spec.podTemplate.volumes"
    return (
        "raise spec.model.storage.sizeLimit, which the pod's share of the disk follows (or "
        "spec.runtime.resources.limits.ephemeral-storage, where that is set)"
    )


def with_way_out(said: str) -> str:
    """A refusal to take or make a pod; if it is about disk, with the fields that the pod's share of it follows."""
    if "ephemeral-storage" not in said:
        return said
    way = "raise" if "minimum ephemeral-storage" in said else "lower"
    return (
        f"{said.rstrip('. ')}; the pods ask for disk by spec.model.storage.sizeLimit: {way} it, or set "
        "ephemeral-storage in spec.runtime.resources"
    )


def _of_containers(pod: Object) -> Iterator[tuple[Reason, str, int]]:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    who = f"pod {pod['metadata']['name']}"
    sidecars = {c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    for container in status.get("initContainerStatuses") or []:
        yield from _waiting(who, container)
        if container["name"] == names.FETCH_CONTAINER:
            yield from _fetch(who, container, pod)
        else:
            yield from _crash(who, container, ordinary=container["name"] in sidecars)
    for container in status.get("containerStatuses") or []:
        yield from _waiting(who, container)
        yield from _crash(who, container, ordinary=True)


def _waiting(who: str, container: dict[str, Any]) -> Iterator[tuple[Reason, str, int]]:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    restarts, name = container.get("restartCount", 0), container["name"]
    if reason in IMAGE_PULL:
        image = container.get("image", "")
        what = f"the image {image} of container {name}" if image else f"the image of container {name}"
        yield Reason.IMAGE_PULL, f"{who} cannot pull {what}: {said or reason}", restarts
    elif reason == "InvalidImageName":
        image = container.get("image", "")
        yield (
            Reason.INVALID_IMAGE_NAME,
            f'{who} cannot start container {name}: "{image}" is not an image name ({said or reason})',
            restarts,
        )
    elif reason in CONFIG:
        yield Reason.CONFIG_ERROR, f"{who} cannot start container {name}: {said or reason}", restarts


def _fetch(who: str, container: dict[str, Any], pod: Object) -> Iterator[tuple[Reason, str, int]]:
    ended = _last_end(container)
    if ended is None or ended.get("exitCode") == 0:
        return
    said = said_by(ended)
    permanent, restarts = bool(said.get("permanent")), container.get("restartCount", 0)
    why = _words(ended) or f"exit code {ended.get('exitCode')}"
    cause = str(said.get("reason") or ended.get("reason") or "Error")
    if not permanent and (blocked := mesh_in_the_way(pod, cause, why)):
        yield Reason.FETCH_BLOCKED_BY_MESH, blocked, restarts
        return
    verb = "cannot fetch the model" if permanent else "has not fetched the model yet and tries again"
    yield (
        Reason.FETCH_FAILED if permanent else Reason.FETCH_RETRYING,
        f"{who} {verb} ({cause}): {why}",
        restarts,
    )


def _crash(who: str, container: dict[str, Any], *, ordinary: bool) -> Iterator[tuple[Reason, str, int]]:
    """Only an ordinary container loops: an init one that a webhook injects may wait so for what is not the model."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    restarts = container.get("restartCount", 0)
    ended = _last_end(container)
    backing_off = waiting.get("reason") == "CrashLoopBackOff"
    if backing_off or (ended and ended.get("exitCode") and not container.get("ready")):
        yield (
            Reason.CRASH_LOOP if backing_off and ordinary else Reason.CRASHED,
            _ended(who, container["name"], _ends(container), ended or {}),
            restarts,
        )


def _ended(who: str, name: str, ends: int, ended: dict[str, Any]) -> str:
    """What a container's server said of its end comes first; else how often it ended, and how."""
    how, cause = f"container {name} of {who} ended {times(ends)}", ended.get("reason", "")
    if cause == "OOMKilled":
        way = (
            "raise spec.runtime.resources.limits.memory" if name == names.MODEL_CONTAINER else "raise its memory limit"
        )
        return f"container {name} of {who} ran out of memory {times(ends)} (OOMKilled): {way}"
    if "exitCode" in ended:
        how += f" with exit code {ended['exitCode']}" + (f" ({cause})" if cause and cause != "Error" else "")
    words, told = _words(ended), said_by(ended).get("reason")
    if words and told:
        return f"{words} ({told}; {how})"
    return how + (f": {words}" if words else "")


def _of_pod(pod: Object, status: dict[str, Any]) -> tuple[Reason, str, int] | None:
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = condition.get("message") or "no node takes it"
            return Reason.UNSCHEDULABLE, f"pod {pod['metadata']['name']} cannot be scheduled: {with_way_out(said)}", 0
    return None


def _of_preparation(pod: Object, sightings: Sightings) -> tuple[Reason, str, int] | None:
    said, meta = _unprepared_since(pod), pod["metadata"]
    if said is None:
        return None
    if not sightings.moment.reached(sightings.first(meta["name"], "Unprepared", said=said) + PREPARATION):
        return None
    command = f"kubectl describe pod {meta['name']} -n {meta['namespace']}"
    message = f"pod {meta['name']} waits for its volumes or its network: {command} says what is missing"
    return Reason.CONFIG_ERROR, message, 0


def _ends(container: dict[str, Any]) -> int:
    """How often a container has ended. The kubelet counts a restart once it runs again, not while it waits for that."""
    return int(container.get("restartCount", 0)) + ("running" not in (container.get("state") or {}))


def _last_end(container: dict[str, Any]) -> dict[str, Any] | None:
    for state in ("state", "lastState"):
        ended = (container.get(state) or {}).get("terminated")
        if ended:
            return dict(ended)
    return None


def _words(ended: dict[str, Any]) -> str:
    """The last words of a container as a person reads them, one line."""
    text = plain_words(ended.get("message") or "")
    return text if len(text) <= MESSAGE_LENGTH else "… " + text[-MESSAGE_LENGTH:]


def kept_out(candidate: RevisionState) -> bool:
    """Whether its pods are refused because nobody could be asked to admit them; a policy that says no was."""
    sentence = candidate.workload.failure.lower() if candidate.workload else ""
    return JUDGED not in sentence and any(sign in sentence for sign in NOBODY_ASKED)
