"""What the tests of the shell stand on: one operator around the counting reconciler, and what people and others do."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import Operator
from tests.integration.proxy import Proxy

STUB = "tests.integration.shell.counting"
ADMINS = ("system:masters",)
PATIENCE = 60.0
"""Seconds within which comes what is waited for, on a slow machine too."""


class Rig:
    """One operator behind a proxy, looking after one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, proxy: Proxy, **settings: Any) -> None:
        self.plane, self.namespace, self.proxy = plane, namespace, proxy
        given: dict[str, Any] = {"watch_namespaces": namespace, "lease_namespace": namespace, "module": STUB} | settings
        self.operator = Operator(folder, proxy.kubeconfig(folder), identity=f"op-{namespace}", **given)

    def apply(self, name: str, *, replicas: int = 1, labels: dict[str, str] | None = None) -> None:
        """Apply a ModelDeployment as a person would."""
        apply(self.plane, self.namespace, name, replicas=replicas, labels=labels)

    def message(self, name: str) -> str:
        """What the reconciler has written about it."""
        path = "jsonpath={.status.message}"
        return self.plane.kubectl("get", "mdep", name, "-n", self.namespace, "-o", path, "--ignore-not-found")

    def await_message(self, name: str, words: str, seconds: float = PATIENCE) -> None:
        """Wait until what is written about it contains the words."""
        self.operator.await_true(lambda: words in self.message(name), f"{name}: {words}", seconds)


def apply(
    plane: ControlPlane, namespace: str, name: str, *, replicas: int = 1, labels: dict[str, str] | None = None
) -> None:
    """Apply a ModelDeployment."""
    obj = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"model": {"uri": "s3://models/m", "format": "onnx"}, "replicas": replicas},
    }
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))


def pod(plane: ControlPlane, namespace: str, name: str, model: str) -> None:
    """Create a pod of a model, as the ReplicaSet controller would."""
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"podium.dev/model": model} if model else {}},
        "spec": {"containers": [{"name": "model", "image": "none"}]},
    }
    plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))


def audited(plane: ControlPlane, user: str) -> list[dict[str, Any]]:
    """The user's requests about objects, as audited."""
    events: list[Any] = list(plane.audit())
    return [event for event in events if event["user"]["username"] == user and "objectRef" in event]
