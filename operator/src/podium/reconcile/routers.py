"""Who moves the traffic: what a Split needs to be written, and what tells whether it is applied. One class a router.

A new router (Envoy, an HTTPRoute) is one more class and one line in ROUTERS: its `writes` are a ConfigMap or a route of
the stage TRAFFIC, its `traffic` reads what its replicas confirm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import SERVICES
from podium.manifests.owner import Owner
from podium.manifests.service import preview_service, stable_service
from podium.reconcile.writes import Apply, Stage, Told, Write
from podium.rollout.traffic import Endpoints, Split, Traffic

SERVICE_OF_SLICE = "kubernetes.io/service-name"


@dataclass(frozen=True)
class Seen:
    """What a router's answer is read from."""

    name: str
    """Of the ModelDeployment, and of its stable Service."""
    slices: Sequence[Object]
    """EndpointSlices with its label."""
    pods: Sequence[Object]


class Router(Protocol):
    """Moves requests between the revisions of a ModelDeployment."""

    exact: bool
    """Whether it keeps the weights of a Split as they are; else the numbers of pods make the shares."""

    def writes(self, owner: Owner, split: Split, ports: Mapping[str, Mapping[str, int]], lead: str) -> Iterator[Write]:
        """The objects that the split needs, `ports` by revision and name; callers see those of the revision `lead`."""
        ...

    def traffic(self, seen: Seen) -> Traffic:
        """Where requests go now."""
        ...


class ServiceSelector:
    """`router: None`: the stable Service selects one revision's pods, or all of the ModelDeployment's."""

    exact = False

    def writes(self, owner: Owner, split: Split, ports: Mapping[str, Mapping[str, int]], lead: str) -> Iterator[Write]:
        """See Router."""
        stable = stable_service(owner, revision=split.sole, ports=dict(ports[lead]))
        yield Write(Stage.TRAFFIC, SERVICES, owner.name, Apply(stable))
        if split.preview is not None:
            obj = preview_service(owner, revision=split.preview, ports=dict(ports[split.preview]))
            yield Write(Stage.TRAFFIC, SERVICES, obj["metadata"]["name"], Apply(obj), Told.PREVIEW)

    def traffic(self, seen: Seen) -> Traffic:
        """See Router: what the EndpointSlices of the stable Service list."""
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
        return Endpoints({revision: len(found) for revision, found in ready.items()})


ROUTERS: dict[str, Router] = {"None": ServiceSelector()}
"""By spec.traffic.router."""
