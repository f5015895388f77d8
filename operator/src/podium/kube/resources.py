"""The kinds that Podium reads and writes, and the paths they are found under."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podium.api import names
from podium.keys import Key


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, as the API server's paths name it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def __hash__(self) -> int:
        """A cheap hash: resources are dictionary keys on the path of every event."""
        return hash(self.kind)

    @property
    def api_version(self) -> str:
        """What an object's `apiVersion` says: `v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def key(self, namespace: str, name: str) -> Key:
        """The work queue's key of one object; `namespace` is empty for a cluster-scoped kind."""
        return Key(self.kind, namespace, name)

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of one object, or of the collection when `name` is None.

        `namespace` None means all namespaces, and is ignored for a cluster-scoped kind.
        """
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


MODEL_DEPLOYMENTS: Final = Resource(names.GROUP, names.VERSION, "modeldeployments", "ModelDeployment")
MODEL_RUNTIMES: Final = Resource(names.GROUP, names.VERSION, "modelruntimes", "ModelRuntime", namespaced=False)
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
HPAS: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
PDBS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

NOTE_BYTES: Final = 1024
"""The API's bound on the note of an Event."""

ROUTERS: Final = "Router"
"""Kind of the keys of a namespace's routers, which are no one object."""


def router_key(namespace: str) -> Key:
    """The work queue's key of a namespace's routers."""
    return Key(ROUTERS, namespace, names.ROUTER)


BY_KIND: Final[Mapping[str, Resource]] = {r.kind: r for r in tuple(globals().values()) if isinstance(r, Resource)}
"""Every kind above. Which of them are watched is the table in `podium.watch.kinds`."""


def resource_of(obj: Mapping[str, Any]) -> Resource:
    """The resource of an object by its `kind`; ValueError for one that Podium does not handle."""
    kind = obj.get("kind")
    resource = BY_KIND.get(str(kind))
    if resource is None:
        raise ValueError(f"kind {kind!r} is none of {', '.join(sorted(BY_KIND))}")
    return resource
