"""Scaling of a revision and the disruption budget of a ModelDeployment."""

import copy
from typing import Any

from podium.api import names
from podium.api.v1alpha1 import Autoscaling, Disruption
from podium.manifests.owner import Owner, child_metadata


def hpa(
    owner: Owner, revision_name: str, autoscaling: Autoscaling, *, min_replicas: int, scale_down: bool
) -> dict[str, Any]:
    """The HorizontalPodAutoscaler of a revision's Deployment.

    `min_replicas` stands in for spec.autoscaling.minReplicas (during a rollout the count at its start); where it
    exceeds maxReplicas it raises that too, since the API server refuses a range upside down. `scale_down` False
    disables scaling down and keeps the rest of the user's behavior.
    """
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": revision_name},
        "minReplicas": min_replicas,
        "maxReplicas": max(autoscaling.max_replicas, min_replicas),
    }
    if autoscaling.metrics:
        spec["metrics"] = copy.deepcopy(list(autoscaling.metrics))
    behavior = copy.deepcopy(dict(autoscaling.behavior or {}))
    if not scale_down:
        behavior["scaleDown"] = {**behavior.get("scaleDown", {}), "selectPolicy": "Disabled"}
    if behavior:
        spec["behavior"] = behavior
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": child_metadata(owner, revision_name, names.revision_labels(owner.name, revision_name)),
        "spec": spec,
    }


def pdb(owner: Owner, disruption: Disruption) -> dict[str, Any]:
    """The PodDisruptionBudget over all pods of the ModelDeployment; pods that are not Ready may always be evicted."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(owner, owner.name, names.model_labels(owner.name)),
        "spec": {
            "selector": {"matchLabels": {names.LABEL_MODEL: owner.name}},
            "maxUnavailable": disruption.max_unavailable,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
