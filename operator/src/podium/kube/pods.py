"""What a pod's status says to whoever wants to ask it. Pure."""

import ipaddress

from podium.kube.client import Object


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def is_of(pod: Object, revision: str) -> bool:
    """Whether its controller is a ReplicaSet of the Deployment of that revision: anybody may write labels."""
    references = pod["metadata"].get("ownerReferences") or []
    controller = next((each for each in references if each.get("controller")), Object())
    return (controller.get("kind"), str(controller.get("name")).rpartition("-")[0]) == ("ReplicaSet", revision)


def address_of(pod: Object) -> str | None:
    """The address of a pod that runs; None for one that does not, or has none yet. Anybody may write a pod's status."""
    status = pod.get("status") or {}
    found = status.get("podIP")
    if not isinstance(found, str) or status.get("phase") != "Running":
        return None
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return None
    return found
