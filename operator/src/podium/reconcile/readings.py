"""Objects of the API server, read into what the planner thinks in. Pure functions."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from podium.api import names
from podium.api.reasons import Reason
from podium.api.uris import shown_version
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.kube.client import Object
from podium.kube.pods import is_of
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, SERVICES
from podium.manifests.canonical import canonical, digest
from podium.manifests.errors import Unresolvable
from podium.manifests.fetch import Fetcher
from podium.manifests.owner import Owner
from podium.manifests.revision import Revision, inputs_digest, resolve
from podium.reconcile.sightings import FORGOTTEN, Sightings
from podium.reconcile.symptoms import died_of_requests, ended, eviction, model_digest, symptom, with_way_out
from podium.rollout.record import Outcome, Record, annotation_of
from podium.rollout.revision import Failure, Pod, RevisionState, Seasoned, Workload
from podium.rollout.state import Proposal
from podium.rollout.strategies import STRATEGIES, facts_of
from podium.rollout.wire import others_time
from podium.rollout.words import sentences

LONGEST_GRACE = 10**8
"""Three years, in seconds: the API server takes any 64 bits for a pod's grace."""
LAST_RITES = timedelta(seconds=30)
"""Time the kubelet gets after the grace period to kill the pod and report it."""
REPORTED = timedelta(seconds=3)
"""Time a ReplicaSet and its Deployment get to report a pod as available: after it they go by another clock."""
SHOWN = 100
"""Characters that are shown of an annotation that cannot be read."""
PLACING = ("nodeSelector", "affinity", "runtimeClassName")
"""Fields of a pod's spec that say on which nodes it may run; tolerations only allow more."""
GRACE = 30
"""Seconds: Kubernetes' default of a pod's terminationGracePeriodSeconds."""


def controller_of(obj: Object) -> str | None:
    """The uid of the object's controller; None for an orphan."""
    controller = _controller(obj)
    return None if controller is None else str(controller["uid"])


def _controller(obj: Object) -> Mapping[str, Any] | None:
    references = obj["metadata"].get("ownerReferences") or []
    return next((r for r in references if r.get("controller")), None)


def is_predecessors(obj: Object, owner: Owner) -> bool:
    """Whether its controller was a ModelDeployment of the same name, which is gone, and it is about to go."""
    controller = _controller(obj)
    return (
        controller is not None
        and (controller["kind"], controller["name"]) == (MODEL_DEPLOYMENTS.kind, owner.name)
        and controller["uid"] != owner.uid
    )


MADE_BY_PODIUM = frozenset({names.ANNOTATION_APPLIED, names.ANNOTATION_INPUTS})
"""Annotations of what Podium made: the first of all that it applies, the second of a ControllerRevision."""


def is_child(obj: Object, owner: Owner) -> bool:
    """Whether the ModelDeployment controls it, or it is an orphan that Podium made.

    The label podium.dev/model alone makes no child: anybody may write it on an object of their own.
    """
    controller = _controller(obj)
    if controller is not None:
        found = (controller["kind"], controller["name"], controller["uid"])
        return found == (MODEL_DEPLOYMENTS.kind, owner.name, owner.uid)
    labels, annotations = obj["metadata"].get("labels") or {}, obj["metadata"].get("annotations") or {}
    model, maker = labels.get(names.LABEL_MODEL), labels.get(names.LABEL_MANAGED_BY)
    return (model, maker) == (owner.name, names.MANAGED_BY) and not MADE_BY_PODIUM.isdisjoint(annotations)


def unrecorded(children: Collection[Object], command: str, owner: Owner) -> dict[str, str]:
    """Revisions that orphans of ours speak of and of which there is no ControllerRevision: name -> who speaks of it.

    So it is while a backup is restored whose ModelDeployment came before its records. Where it came before everything
    else, the command that was given last may tell: nobody names a revision before there is one. Empty as soon as the
    ModelDeployment controls one record: from then on a Deployment without one is somebody's deletion. An orphan that
    was given over by podium.dev/adopt is waited for no longer.
    """
    records = [child for child in children if child["kind"] == CONTROLLER_REVISIONS.kind]
    if any(controller_of(record) == owner.uid for record in records):
        return {}
    orphans = [child for child in children if controller_of(child) is None and not given_over(child, owner)]
    spoken = {revision_of(orphan): f"{orphan['kind']} {orphan['metadata']['name']}" for orphan in orphans}
    words = command.split()
    if len(words) == 3 and words[1].startswith(f"{owner.name}-") and (orphans or not children):
        spoken.setdefault(words[1], COMMAND)
    known = {"", *(record["metadata"]["name"] for record in records)}
    return {revision: who for revision, who in spoken.items() if revision not in known}


COMMAND = f"the annotation {names.ANNOTATION_COMMAND} of this ModelDeployment"


def missing(revisions: Mapping[str, str], owner: Owner) -> str:
    """The sentence for what `unrecorded` found."""
    revision, who = next(iter(sorted(revisions.items())))
    more = f" (and {len(revisions) - 1} more)" if len(revisions) > 1 else ""
    speakers = set(revisions.values())
    ways = [f"annotate the children {names.ANNOTATION_ADOPT}={owner.uid}"] if speakers - {COMMAND} else []
    ways += [f"remove {COMMAND}"] if COMMAND in speakers else []
    return sentences(
        f"{who} names revision {revision}, which has no ControllerRevision{more}: nothing is changed until it "
        "is restored",
        f"if it is lost for good: {' and '.join(ways)}; then spec is rolled out as for the first time",
    )


def unowned(children: Collection[Object], owner: Owner) -> list[str]:
    """Names of Deployments of ours that nobody controls and of which there is no ControllerRevision.

    After `unrecorded` is empty: a restore brought them although the ModelDeployment has begun without its records.
    """
    records = {child["metadata"]["name"] for child in children if child["kind"] == CONTROLLER_REVISIONS.kind}
    return [
        child["metadata"]["name"]
        for child in children
        if child["kind"] == DEPLOYMENTS.kind
        and child["metadata"]["name"] not in records
        and controller_of(child) is None
        and not given_over(child, owner)
    ]


def revision_of(child: Object) -> str:
    """The revision that a child is of, or that a Service selects; empty for what belongs to all."""
    labels = child["metadata"].get("labels") or {}
    if child["kind"] == SERVICES.kind:
        labels = (child.get("spec") or {}).get("selector") or {}
    return str(labels.get(names.LABEL_REVISION, ""))


def given_over(obj: Object, owner: Owner) -> bool:
    """Whether a person gave the object to this ModelDeployment, by the annotation podium.dev/adopt with its uid."""
    return (obj["metadata"].get("annotations") or {}).get(names.ANNOTATION_ADOPT) == owner.uid


def ready_since(pod: Object) -> datetime | None:
    """Since when the pod's Ready condition is True, by its kubelet; None when it is not."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    found = next((c for c in conditions if c["type"] == "Ready" and c["status"] == "True"), None)
    return others_time(found.get("lastTransitionTime") or pod["metadata"]["creationTimestamp"]) if found else None


def is_over(pod: Object) -> bool:
    """Whether its containers have ended for good: its node evicted it, or shut down.

    Its ReplicaSet makes another one, and the object stays until there are thousands: it is no pod any more.
    """
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def read_pod(pod: Object, sightings: Sightings, min_ready: timedelta, predecessors: Sequence[Object] = ()) -> Pod:
    """One pod, with what ails it, or ailed those of its revision that are over."""
    meta = pod["metadata"]
    ready, terminating = ready_since(pod), "deletionTimestamp" in meta
    ends, how = ended(pod)
    created = others_time(meta["creationTimestamp"])
    found = None if ready or terminating else symptom(pod, sightings) or eviction(predecessors, created)
    failure = None
    if found is not None:
        reason, message, restarts = found
        failure = Failure(reason, message, sightings.first(meta["name"], reason), restarts)
    return Pod(
        name=meta["name"],
        created=created,
        ready=ready is not None,
        seasoned=Seasoned.NO if terminating else _seasoned(pod, sightings, min_ready),
        terminating=terminating,
        failure=failure,
        stray=not is_of(pod, pod["metadata"]["labels"].get(names.LABEL_REVISION, "")),
        overdue=terminating and _overdue(meta, sightings),
        ready_since=ready,
        died=_died(pod, sightings),
        model_digest=model_digest(pod),
        ends=ends,
        ended=how,
    )


def _died(pod: Object, sightings: Sightings) -> datetime | None:
    said = died_of_requests(pod)
    return sightings.first(pod["metadata"]["name"], f"Died {said}", said=others_time(said)) if said else None


def _seasoned(pod: Object, sightings: Sightings, min_ready: timedelta) -> Seasoned:
    """By the operator's own clock, from when it saw the pod turn ready."""
    name, said, moment = pod["metadata"]["name"], ready_since(pod), sightings.moment
    if said is None:
        return Seasoned.NO
    long_ago = said + min_ready + FORGOTTEN
    if long_ago <= moment.now:
        return Seasoned.BEYOND_DOUBT
    # The kubelet's time is part of what is seen: another one means that it was not ready in between.
    what = f"Ready {said.isoformat()}"
    at = sightings.first(name, what, said=said) + min_ready
    if not min_ready or moment.reached(min(at + REPORTED, long_ago)):
        return Seasoned.BEYOND_DOUBT
    if moment.reached(at):
        return Seasoned.YES
    return Seasoned.PERHAPS if sightings.at_first_look(name, what) else Seasoned.NO


def _overdue(meta: Mapping[str, Any], sightings: Sightings) -> bool:
    """Whether a terminating pod should have gone long ago. deletionTimestamp is when its grace ends."""
    grace = timedelta(seconds=min(meta.get("deletionGracePeriodSeconds", GRACE), LONGEST_GRACE))
    began = sightings.first(meta["name"], "Terminating", said=others_time(meta["deletionTimestamp"]) - grace)
    return sightings.moment.reached(began + grace + LAST_RITES)


def refusal_of_pods(deployment: Object | None) -> str:
    """What the API server said when it last refused a pod of this Deployment; empty if it refuses none."""
    conditions = ((deployment or {}).get("status") or {}).get("conditions") or []
    failures = (c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True")
    return next((str(c.get("message", "")) for c in failures), "")


def read_workload(deployment: Object, pods: Sequence[Pod], *, has_hpa: bool = False) -> Workload:
    """A Deployment's counts.

    Its controller reports what its ReplicaSet reported some time ago, which during a scale-down, or when one pod turns
    ready as another turns unready, is too many. So no more pods count as available than are asked for, by Podium or
    by somebody else, nor than there are ones that stay and have been seen ready for minReadySeconds. And it counts by
    the kubelets' clocks, which may be ahead: what has been seen ready for longer counts without it.
    """
    spec, status = deployment["spec"], deployment.get("status") or {}
    asked = spec.get("replicas", 1) if has_hpa else _asked(deployment)
    wanted = min(spec.get("replicas", 1), asked)
    staying = [pod for pod in pods if pod.ready and not (pod.terminating or pod.stray)]
    failure = with_way_out(refusal_of_pods(deployment))
    ready = min(status.get("readyReplicas", 0), wanted, len(staying))
    count = Counter(pod.seasoned for pod in staying)
    sure = count[Seasoned.BEYOND_DOUBT]
    available = min(ready, max(sure, min(sure + count[Seasoned.YES], status.get("availableReplicas", 0))))
    return Workload(
        live=spec.get("replicas", 1),
        asked=asked,
        ready=ready,
        available=available,
        ripening=min(ready - available, count[Seasoned.PERHAPS]),
        pods=status.get("replicas", 0),
        settled=_settled(deployment),
        failure=failure,
    )


def _settled(deployment: Object) -> bool:
    """Whether the Deployment controller has seen the last write."""
    status = deployment.get("status") or {}
    return int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))


def _min_ready(deployment: Object | None) -> timedelta:
    """minReadySeconds as Podium wrote it: a pod that has just become Ready is not told to be available."""
    return timedelta(seconds=deployment["spec"].get("minReadySeconds", 0) if deployment else 0)


def _asked(deployment: Object) -> int:
    """How many pods Podium asked for last, where no HPA decides; what there is where it never said."""
    said = (deployment["metadata"].get("annotations") or {}).get(names.ANNOTATION_REPLICAS, "")
    return int(said) if said.isdecimal() and len(said) < 10 else int(deployment["spec"].get("replicas", 1))


def extended_resources(revision: Revision) -> frozenset[str]:
    """What its pods ask for beside CPU, memory and storage: names with a domain, such as those of accelerators."""
    asked = [(one.get("resources") or {}).get("limits") or {} for one in _pod_spec(revision).get("containers") or []]
    return frozenset(name for limits in asked for name in limits if "/" in name)


def same_nodes(one: Revision, other: Revision) -> bool:
    """Whether both ask for the same nodes, so that what pods of one give back may be had by pods of the other."""
    return all(_pod_spec(one).get(field) == _pod_spec(other).get(field) for field in PLACING)


def _pod_spec(revision: Revision) -> Object:
    spec: Object = revision.template.get("spec") or {}
    return spec


def read_revision(
    obj: Object,
    revision: Revision,
    template_digest: str,
    deployment: Object | None,
    pods: Sequence[Object],
    has_hpa: bool,
    sightings: Sightings,
) -> RevisionState:
    """One revision from its ControllerRevision and its children, pods that are over among them.

    What of its record cannot be read is set aside.
    """
    meta = obj["metadata"]
    record, broken = Record.from_annotations(meta.get("annotations") or {})
    broken |= _missing(record, broken, has_deployment=deployment is not None)
    min_ready = _min_ready(deployment)
    over = [pod for pod in pods if is_over(pod)]
    found = tuple(read_pod(pod, sightings, min_ready, over) for pod in pods if not is_over(pod))
    return RevisionState(
        name=revision.name,
        number=revision.number,
        inputs=revision.inputs,
        version=revision.version,
        created=others_time(meta["creationTimestamp"]),
        durable=record,
        broken=frozenset(broken),
        unreadable=tuple(_unreadable(meta, name, why) for name, why in sorted(broken.items())),
        template_digest=template_digest,
        runtime=revision.runtime,
        counting=revision.counting,
        workload=read_workload(deployment, found, has_hpa=has_hpa) if deployment else None,
        pods=found,
        has_hpa=has_hpa,
    )


def _missing(record: Record, broken: Mapping[str, str], *, has_deployment: bool) -> dict[str, str]:
    """What is as bad as unreadable: a default in its place would be a decision (to want no pods, for instance)."""
    found: dict[str, str] = {}
    decided = record.outcome is not None or "outcome" in broken
    promoted = record.outcome is Outcome.PROMOTED
    if not decided or (has_deployment and not promoted):
        if record.rollout is None and "rollout" not in broken:
            found["rollout"] = "it was taken away"
        elif record.rollout is not None and record.rollout.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            found["rollout"] = f'this Podium knows the strategies {known}, not "{record.rollout.strategy}"'
        elif record.rollout is not None and facts_of(record.rollout.strategy).stepwise and not record.rollout.steps:
            found["rollout"] = "its steps were taken away"
    if promoted and record.decided_at is None and "decided_at" not in broken:
        found["decided_at"] = "it was taken away"
    return found


def _unreadable(meta: Mapping[str, Any], name: str, why: str) -> str:
    ways = "put it back"
    if name == "rollout":
        ways += (
            ", or install the Podium that wrote it; or, to give this rollout up, after which what spec asks for starts "
            f"anew: kubectl delete controllerrevision {meta['name']} -n {meta['namespace']}"
        )
    text = (meta.get("annotations") or {}).get(annotation_of(name), "")
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    said = f" {shown!r}" if shown and not text.lstrip().startswith(("{", "[")) else ""  # no JSON inside a sentence
    about = f"ControllerRevision {meta['name']}: annotation {annotation_of(name)}{said}"
    return sentences(f"{about} cannot be read ({why[:SHOWN]})", f"to go on: {ways}")


def last_command_at(status: Mapping[str, Any]) -> datetime | None:
    """When the command in status was acted on; None where that says nothing that can be read."""
    try:
        return others_time((status.get("lastCommand") or {})["at"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def template_digest(revision: Revision) -> str:
    """Of the pod template without the revision's name and a restart's token: what the runtime makes of the inputs."""
    template = revision.template
    annotations = template.setdefault("metadata", {}).setdefault("annotations", {})
    annotations.pop(names.ANNOTATION_RESTART, None)
    return digest(canonical(template).replace(revision.name, "{{revision}}"))


def propose(
    owner: Owner,
    spec: ModelDeploymentSpec,
    runtime: Object | None,
    fetcher: Fetcher,
    parse: Callable[[Object], ModelRuntimeSpec] = lambda runtime: ModelRuntimeSpec.parse(runtime["spec"]),
) -> tuple[Proposal, Revision | None]:
    """What the present spec would roll out, or the condition reason and sentence why it cannot be.

    The revision is the one of a first rollout of it, not numbered yet. `parse` reads a ModelRuntime (InvalidSpec).
    """

    def refused(reason: Reason, message: str) -> tuple[Proposal, None]:
        version = shown_version(spec.model.version, spec.model.uri)
        return Proposal(inputs_digest(spec.inputs()), version, reason=reason, message=message), None

    if runtime is None:
        message = (
            f'spec.runtime.name: there is no ModelRuntime "{spec.runtime.name}". To see which there are: kubectl get '
            "modelruntimes. The built-in ones are in runtimes.yaml, which a cluster admin applies where Podium is "
            "namespaced."
        )
        return refused(Reason.RUNTIME_NOT_FOUND, message)
    try:
        resolved = resolve(owner, spec, parse(runtime), fetcher, number=0)
    except Unresolvable as error:
        return refused(Reason(error.reason), error.message)
    except ValueError as error:
        return refused(Reason.INVALID_RUNTIME, f"ModelRuntime {runtime['metadata']['name']}: {error}")
    return Proposal(resolved.inputs, resolved.version, template_digest(resolved)), resolved
