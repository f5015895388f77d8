"""The ModelDeployment as its children see it."""

from dataclasses import dataclass
from typing import Any

from podium.api import names


@dataclass(frozen=True)
class Owner:
    """What children need to know of their ModelDeployment."""

    name: str
    namespace: str
    uid: str


def owner_reference(owner: Owner) -> dict[str, Any]:
    """The controller reference of a child; it blocks a foreground deletion of the owner until the child is gone."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "ModelDeployment",
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def child_metadata(
    owner: Owner, name: str, labels: dict[str, str], annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """`metadata` of a child called `name`; `annotations` are left out when there are none."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata
