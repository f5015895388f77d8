"""The Services of a ModelDeployment."""

from typing import Any, Final

from podium.api import names
from podium.manifests.owner import Owner, child_metadata

HTTP_PORT: Final = 80
GRPC_PORT: Final = 8081


def stable_service(owner: Owner, *, revision: str | None, ports: dict[str, int]) -> dict[str, Any]:
    """The Service that clients use. `revision` None selects every revision's pods: a RollingUpdate without a router.

    `ports` are a revision's, by name. The Service's targetPorts are names, so that two revisions may differ in numbers.
    """
    selector = {names.LABEL_MODEL: owner.name} if revision is None else names.revision_selector(owner.name, revision)
    return _service(owner, owner.name, names.model_labels(owner.name), selector, ports)


def routed_service(owner: Owner, *, listener: int, ports: dict[str, int]) -> dict[str, Any]:
    """The Service that clients use, in front of the namespace's routers: all its ports lead to one listener there."""
    return _service(
        owner, owner.name, names.model_labels(owner.name), names.router_selector(), ports, listener=listener
    )


def revision_service(owner: Owner, *, revision: str, ports: dict[str, int]) -> dict[str, Any]:
    """The Service of one revision, for the routers: they read its EndpointSlices, and need no address of its own."""
    service = _service(
        owner,
        revision,
        names.revision_labels(owner.name, revision),
        names.revision_selector(owner.name, revision),
        ports,
    )
    service["spec"]["clusterIP"] = "None"
    return service


def preview_service(owner: Owner, *, revision: str, ports: dict[str, int]) -> dict[str, Any]:
    """The Service of the candidate alone."""
    return _service(
        owner,
        f"{owner.name}{names.PREVIEW_SUFFIX}",
        names.model_labels(owner.name),
        names.revision_selector(owner.name, revision),
        ports,
    )


def _service(
    owner: Owner,
    name: str,
    labels: dict[str, str],
    selector: dict[str, str],
    ports: dict[str, int],
    *,
    listener: int | None = None,
) -> dict[str, Any]:
    entries: list[dict[str, Any]] = [
        {"name": "http", "port": HTTP_PORT, "targetPort": listener or "http", "protocol": "TCP"}
    ]
    if "grpc" in ports:
        entries.append(
            {
                "name": "grpc",
                "port": GRPC_PORT,
                "targetPort": listener or "grpc",
                "protocol": "TCP",
                "appProtocol": "kubernetes.io/h2c",
            }
        )
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(owner, name, labels),
        "spec": {"type": "ClusterIP", "selector": selector, "ports": entries},
    }
