"""Where requests go, read from EndpointSlices and from what routers say. Pure."""

from collections.abc import Mapping
from typing import Any

from podium.api import names
from podium.kube.client import Object
from podium.kube.pods import is_ready
from podium.manifests.routing import read_routing, told_in
from podium.reconcile.routers.base import RouterPod, Seen
from podium.rollout.traffic import Endpoints, Weighted
from podium.router.said import Said

SERVICE_OF_SLICE = "kubernetes.io/service-name"


def is_routed(service: Object | None) -> bool:
    """Whether a stable Service leads to the routers."""
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return bool(selector) and selector == names.router_selector()


def is_past(service: Object | None) -> bool:
    """Whether it leads past them for a while, so that callers of the routers are still there."""
    annotations = ((service or {}).get("metadata") or {}).get("annotations") or {}
    return bool(annotations.get(names.ANNOTATION_PAST_ROUTER))


def lists_routers(seen: Seen) -> bool:
    """Whether its EndpointSlices list a router that is ready."""
    routers = {router.name for router in seen.routers}
    return any(found & routers for found in _listed(seen).values())


def endpoints(seen: Seen) -> Endpoints:
    """What the EndpointSlices of the stable Service list."""
    return Endpoints({revision: len(found) for revision, found in _listed(seen).items()})


def weighted(seen: Seen, *, asked_for: bool) -> Weighted:
    """The same, and what the routers say. `asked_for`: spec asks for them; else callers are on their way from them."""
    listed = _listed(seen)
    names_of_routers = {router.name for router in seen.routers}
    routed, callers = is_routed(seen.service), not asked_for or is_past(seen.service)
    direct = {revision: len(found - names_of_routers) for revision, found in listed.items()}
    if routed:
        direct.pop("", None)  # a Service that leads to routers lists those that have gone for a moment longer
    # The answer of a terminating router is used while there is one, but none is required.
    counted = [*_ready(seen), *_lingering(seen)]
    counted += [router for router in seen.routers if router.terminating and router.said is not None]
    said = tuple(_weights(router, names.routing_name(seen.name)) for router in counted) if routed or callers else ()
    return Weighted(
        weighted=routed and asked_for,
        direct={revision: count for revision, count in direct.items() if count},
        routers=sum(len(found & names_of_routers) for found in listed.values()),
        said=said,
        capacity=_capacity(seen.pods),
        reached=_reached(seen),
        doubt=doubt(seen) if asked_for else "",
        kept_out=kept_out(seen) if asked_for else "",
    )


def doubt(seen: Seen) -> str:
    """Why a stable Service cannot lead to the routers yet, or what is not known of it; empty when all is as told."""
    text, place = told_in(seen.config_map), names.routing_name(seen.name)
    told = read_routing(text)
    if seen.config_map is None:
        return f"ConfigMap {place}, which is to tell the routers where requests go, does not exist"
    if told is None:
        return f"Routers do not understand ConfigMap {place}, and go on with what they had loaded"
    ready = _ready(seen)
    if not seen.routers and seen.refused:
        return _no_pods(seen.refused)
    if not ready:
        namespace = seen.config_map["metadata"]["namespace"]
        command = f"kubectl get pods -n {namespace} -l {names.LABEL_ROUTER}={names.ROUTER}"
        return f"no pod of Deployment {names.ROUTER} is Ready: {command} shows what they wait for"
    capacity = _capacity(seen.pods)  # of whom no pod is ready, there is nobody to reach
    serving = [share.revision for share in told.split if share.weight and capacity.get(share.revision)]
    for router in [*ready, *_lingering(seen)]:
        if router.said is None:
            return (
                f"router pod {router.name} does not answer the operator at port 9903: if it stays so, look for a "
                "NetworkPolicy between them"
            )
        if place in router.said.refused:
            why = router.said.refused[place]
            return f"router pod {router.name} goes on with what it had loaded, and does not take {why}"
        if router.said.applied.get(place) != text:
            why = f": {router.said.problem}" if router.said.problem else ""
            return f"router pod {router.name} has not loaded ConfigMap {place} yet{why}"
        for revision in serving:
            if router.ready and revision not in router.said.reached:
                return _not_reached(router.name, router.said, revision)
    return ""


def kept_out(seen: Seen) -> str:
    """Why a revision with ready pods is to have no weight: one of the routers does not reach it. Empty for none."""
    told, capacity = read_routing(told_in(seen.config_map)), _capacity(seen.pods)
    waiting = (
        [share.revision for share in told.split if not share.weight and capacity.get(share.revision)] if told else []
    )
    for router in _ready(seen):
        for revision in waiting:
            if router.said is not None and revision not in router.said.reached:
                return _not_reached(router.name, router.said, revision)
    return ""


def _no_pods(refusal: str) -> str:
    """The sentence for routers of which there is no pod, with the way out if it is about what they ask for."""
    told = f"the cluster refuses the pods of Deployment {names.ROUTER}: {refusal.rstrip('. ')}"
    if not any(resource in refusal for resource in ("cpu", "memory", "ephemeral-storage")):
        return told
    return (
        f"{told}; set router.resources and router.agentResources in Podium's chart, or change the namespace's "
        "ResourceQuota or LimitRange"
    )


def _not_reached(router: str, said: Said, revision: str) -> str:
    why = said.unreached.get(revision) or said.problem or "no pod that is ready has been tried yet"
    return (
        f"router pod {router} does not reach any pod of revision {revision} ({why}): let pods labelled "
        f"{names.LABEL_ROUTER}={names.ROUTER} in by NetworkPolicies, and a mesh take plain text from them"
    )


def _ready(seen: Seen) -> list[RouterPod]:
    """Routers that requests are sent to."""
    return [router for router in seen.routers if router.ready and not router.terminating]


def _lingering(seen: Seen) -> list[RouterPod]:
    """Routers that are not Ready and go on with what they were told: connections that callers keep end only with them.

    One that has just started has not been told of this ModelDeployment, and one that is dead does not answer.
    """
    place = names.routing_name(seen.name)
    waiting = [router for router in seen.routers if not router.ready and not router.terminating]
    return [router for router in waiting if router.said is not None and place in router.said.applied]


def _listed(seen: Seen) -> dict[str, set[str]]:
    """Ready pods that the stable Service lists, by revision; routers are of none."""
    revisions = {p["metadata"]["name"]: p["metadata"]["labels"].get(names.LABEL_REVISION, "") for p in seen.pods}
    ready: dict[str, set[str]] = {}
    for piece in seen.slices:
        if piece["metadata"]["labels"].get(SERVICE_OF_SLICE) != seen.name:
            continue
        for endpoint in piece.get("endpoints") or []:
            pod = (endpoint.get("targetRef") or {}).get("name", "")
            # nil means ready (discovery/v1); one pod may stand in several slices
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                ready.setdefault(revisions.get(pod, ""), set()).add(pod)
    return ready


def _weights(router: RouterPod, place: str) -> Mapping[str, int] | None:
    if router.said is None:
        return None
    text = router.said.applied.get(place)
    told = read_routing(text) if text else None
    if told is None:
        return {} if text is None else None
    return {share.revision: share.weight for share in told.split}


def _reached(seen: Seen) -> frozenset[str]:
    """Revisions that every router has reached, and those that have a weight already, by what is told or was loaded."""
    place, ready = names.routing_name(seen.name), _ready(seen)
    said = [router.said for router in ready if router.said is not None]
    texts = [told_in(seen.config_map), *(each.applied.get(place, "") for each in said)]
    known = (told for text in texts if (told := read_routing(text)))
    weighed = frozenset(share.revision for told in known for share in told.split if share.weight)
    if not ready or len(said) < len(ready):
        return weighed
    return frozenset.intersection(*(each.reached for each in said)) | weighed


def _capacity(pods: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for pod in pods:
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
            revision = (pod["metadata"].get("labels") or {}).get(names.LABEL_REVISION, "")
            found[revision] = found.get(revision, 0) + 1
    return found
