"""The part of a node's disk (ephemeral storage) that a pod asks for and may use.

Kubelet holds a pod to the largest limit of its init containers or the sum of the others', whichever is more, and
counts all of its emptyDirs and logs. A limit on the fetcher alone would so be the limit of whatever the model's
container writes to /tmp: both get one, or neither.
"""

from typing import Any, Final

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.manifests.errors import INVALID_SPEC, Unresolvable
from podium.manifests.quantities import parse_quantity, whole

EPHEMERAL_STORAGE: Final = "ephemeral-storage"
SCRATCH: Final = 2**30
"""Bytes for /tmp and the containers' logs (kubelet keeps 50 MiB of each container's)."""
UNPACKING: Final = frozenset({"Store"})
"""Layouts whose runtimes unpack the archive into /tmp: there the model lies twice."""


def model_share(spec: ModelDeploymentSpec, layout: str, resources: dict[str, Any]) -> dict[str, Any]:
    """The model container's `resources`, with room for the model, /tmp and the logs where they say nothing of disk.

    Nothing is added where an emptyDir of the user's has no limit: how much the pod may use is then theirs to say.
    """
    volumes = _own_volumes(spec)
    if _named(resources) or volumes is None:
        return resources
    size = whole(spec.model.storage.size_limit)
    limit = size * (2 if layout in UNPACKING else 1) + SCRATCH + volumes
    added = {"requests": spec.model.storage.size_limit, "limits": quantity(limit)}
    return resources | {part: resources.get(part, {}) | {EPHEMERAL_STORAGE: value} for part, value in added.items()}


def fetcher_share(
    spec: ModelDeploymentSpec, resources: dict[str, Any], model_resources: dict[str, Any]
) -> dict[str, Any]:
    """The fetcher's `resources`, with a request for the model's size and the same limit.

    `model_resources` are the model container's as spec and runtime give them; their limit, where they have one, is the
    fetcher's too. Unresolvable when it is less than the model may take.
    """
    size = spec.model.storage.size_limit
    requests = resources.get("requests", {}) | {EPHEMERAL_STORAGE: size}
    limits = dict(resources.get("limits", {}))
    limit = model_resources.get("limits", {}).get(EPHEMERAL_STORAGE)
    if limit is not None and parse_quantity(limit) < parse_quantity(size):
        raise Unresolvable(
            INVALID_SPEC,
            f"spec.runtime.resources.limits.ephemeral-storage: {limit} is less than {size}, which "
            "spec.model.storage.sizeLimit sets aside for the model alone: raise the limit or lower sizeLimit",
        )
    if limit is None and not _named(model_resources) and _own_volumes(spec) is not None:
        limit = size
    if limit is not None:
        limits[EPHEMERAL_STORAGE] = limit
    return {"requests": requests, "limits": limits}


def quantity(size: int) -> str:
    """Bytes as Kubernetes writes them: with the largest binary suffix that leaves a whole number."""
    for power, suffix in ((2**40, "Ti"), (2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")):
        if size and size % power == 0:
            return f"{size // power}{suffix}"
    return str(size)


def _named(resources: dict[str, Any]) -> bool:
    return any(EPHEMERAL_STORAGE in resources.get(part, {}) for part in ("requests", "limits"))


def _own_volumes(spec: ModelDeploymentSpec) -> int | None:
    """Bytes that the user's emptyDirs on disk may take; None when one of them has no limit."""
    total = 0
    for volume in spec.pod_template.volumes:
        directory = volume.get("emptyDir")
        if directory is None or directory.get("medium") == "Memory":
            continue
        if "sizeLimit" not in directory:
            return None
        total += whole(directory["sizeLimit"])
    return total
