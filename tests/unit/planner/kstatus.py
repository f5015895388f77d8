"""kstatus of a custom resource, from its published rules (kubernetes-sigs/cli-utils, pkg/kstatus/README.md)."""

from podium.kube.client import Object


def kstatus(obj: Object) -> str:
    """Terminating, InProgress, Failed or Current: what a generic client makes of the object."""
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    status = obj.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and observed != obj["metadata"]["generation"]:
        return "InProgress"
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    if conditions.get("Stalled") == "True":
        return "Failed"
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"
