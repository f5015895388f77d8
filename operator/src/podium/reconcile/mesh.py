"""Whether a service mesh keeps a pod's init container from the network. Pure.

A mesh leads a pod's connections to its sidecar. Where a CNI plugin does so, they are led there from the pod's start
on, and an ordinary sidecar starts only after the init containers: until then every connection is refused.
What helps, by the meshes' own pages: https://istio.io/latest/docs/setup/additional-setup/cni/ ("Compatibility with
application init containers") and https://linkerd.io/2/features/cni/.
"""

from dataclasses import dataclass
from typing import Any, Final

from podium.api import names
from podium.kube.client import Object

NO_CONNECTION: Final = frozenset({"NameResolution", "ConnectFailed", "Timeout"})
"""The fetcher's reasons that a redirection to nobody explains."""


@dataclass(frozen=True)
class Mesh:
    """What a mesh puts into pods, and what lets an init container past it."""

    name: str
    sidecar: str
    """Its container."""
    setup: str
    """Its init container that redirects connections where no CNI plugin does; what ran before it was not redirected."""
    mark: str
    """An annotation of every pod that it was put into; empty where its container alone tells."""
    user: int
    """The sidecar's user, whose connections are never redirected, unless the sidecar's container names another."""
    native: str
    """The annotation by which the sidecar starts before other init containers."""
    exclude: str
    """The annotation by which connections to some ports are not redirected."""
    redirects_names: bool
    """Whether it may redirect the questions for names, too, which `exclude` does not change."""


MESHES: Final = (
    Mesh(
        name="Istio",
        sidecar="istio-proxy",
        setup="istio-init",
        mark="sidecar.istio.io/status",
        user=1337,
        native="sidecar.istio.io/nativeSidecar",
        exclude="traffic.sidecar.istio.io/excludeOutboundPorts",
        redirects_names=True,
    ),
    Mesh(
        name="Linkerd",
        sidecar="linkerd-proxy",
        setup="linkerd-init",
        mark="",
        user=2102,
        native="config.beta.linkerd.io/proxy-enable-native-sidecar",
        exclude="config.linkerd.io/skip-outbound-ports",
        redirects_names=False,
    ),
)


def mesh_in_the_way(pod: Object, reason: str, said: str) -> str:
    """Why the fetcher of this pod reaches nobody, in a sentence with the ways out; empty if no mesh explains `reason`.

    `reason` and `said` are the fetcher's own, of its last end.
    """
    if reason not in NO_CONNECTION:
        return ""
    return next((_sentence(mesh, pod, reason, said) for mesh in MESHES if _redirects_to_nobody(mesh, pod)), "")


def _redirects_to_nobody(mesh: Mesh, pod: Object) -> bool:
    inits = (pod.get("spec") or {}).get("initContainers") or []
    order = [one["name"] for one in inits]
    if names.FETCH_CONTAINER not in order:
        return False
    before, after = _around(order)
    if mesh.sidecar in before or mesh.setup in after:
        return False  # the sidecar runs already, or nothing is redirected yet
    marked = mesh.mark in (pod["metadata"].get("annotations") or {})
    return (marked or _sidecar(mesh, pod) is not None) and _fetch_user(pod) != _user(mesh, pod)


def _around(order: list[str]) -> tuple[list[str], list[str]]:
    place = order.index(names.FETCH_CONTAINER)
    return order[:place], order[place + 1 :]


def _sidecar(mesh: Mesh, pod: Object) -> dict[str, Any] | None:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return next((one for one in containers if one["name"] == mesh.sidecar), None)


def _user(mesh: Mesh, pod: Object) -> int:
    """OpenShift gives the sidecar another user than the mesh's own."""
    security = (_sidecar(mesh, pod) or {}).get("securityContext") or {}
    return int(security.get("runAsUser") or mesh.user)


def _fetch_user(pod: Object) -> int | None:
    spec = pod["spec"]
    fetch = next(one for one in spec["initContainers"] if one["name"] == names.FETCH_CONTAINER)
    for security in (fetch.get("securityContext") or {}, spec.get("securityContext") or {}):
        if (user := security.get("runAsUser")) is not None:
            return int(user)
    return None


def _sentence(mesh: Mesh, pod: Object, reason: str, said: str) -> str:
    ways = [
        f'let the sidecar start first (annotation {mesh.native}: "true")',
        f"set spec.podTemplate.fetchSecurityContext.runAsUser to {_user(mesh, pod)}",
    ]
    if mesh.exclude in (pod["metadata"].get("annotations") or {}):
        ways.append(f"see that annotation {mesh.exclude} names the model store's port")
    elif not (reason == "NameResolution" and mesh.redirects_names):
        ways.append(f"name the model store's port in annotation {mesh.exclude}")
    return (
        f"pod {pod['metadata']['name']} cannot fetch the model because of {mesh.name}: its connections are led to the "
        f"sidecar {mesh.sidecar}, which starts only after the init container {names.FETCH_CONTAINER} "
        f"({reason}: {said}). "
        f"Ways out, in spec.podTemplate (docs/traffic.md): {', or '.join(ways)}"
    )
