"""The Deployment of one revision."""

from typing import Any, Final

from podium.api import names
from podium.manifests.owner import Owner, child_metadata
from podium.manifests.revision import Revision

NO_DEADLINE: Final = 2**31 - 1
"""The Deployment controller takes exactly this value for no deadline (deploymentutil.HasProgressDeadline)."""


def deployment(owner: Owner, revision: Revision, *, replicas: int | None, min_ready_seconds: int) -> dict[str, Any]:
    """The revision's Deployment. `replicas` None leaves the field out: an HPA owns it.

    The template stays the same for a Deployment's life; should somebody else change it, and Podium change it back,
    pods are replaced one at a time and none is taken away before its successor is available.
    """
    annotations = {names.ANNOTATION_VERSION: revision.version} if revision.version else {}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": names.revision_selector(owner.name, revision.name)},
        "template": revision.packed_template,
        "minReadySeconds": min_ready_seconds,
        "progressDeadlineSeconds": NO_DEADLINE,
        "revisionHistoryLimit": 0,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    }
    # Emptied, not left out, where an HPA decides: whoever else owns it could keep an old number there.
    annotations[names.ANNOTATION_REPLICAS] = "" if replicas is None else str(replicas)
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": child_metadata(owner, revision.name, names.revision_labels(owner.name, revision.name), annotations),
        "spec": spec,
    }
