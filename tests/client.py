"""The Kubernetes API for tests: plain objects over one kept connection a thread, quicker than a kubectl each time."""

import base64
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

Object = dict[str, Any]
T = TypeVar("T")

_CORE = {
    "Pod": "pods", "Service": "services", "Secret": "secrets", "ConfigMap": "configmaps", "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts", "ResourceQuota": "resourcequotas", "PersistentVolumeClaim":
    "persistentvolumeclaims", "PersistentVolume": "persistentvolumes", "Node": "nodes",
}  # fmt: skip
_PLURALS = _CORE | {
    "ModelDeployment": "modeldeployments", "ModelRuntime": "modelruntimes", "Deployment": "deployments",
    "ReplicaSet": "replicasets", "ControllerRevision": "controllerrevisions", "HorizontalPodAutoscaler":
    "horizontalpodautoscalers", "PodDisruptionBudget": "poddisruptionbudgets", "EndpointSlice": "endpointslices",
    "Event": "events", "Lease": "leases", "Role": "roles", "RoleBinding": "rolebindings", "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings", "CustomResourceDefinition": "customresourcedefinitions", "Job": "jobs",
    "PodMetrics": "pods", "Application": "applications", "AppProject": "appprojects",
}  # fmt: skip
VERSIONS = {
    "ModelDeployment": "podium.dev/v1alpha1", "ModelRuntime": "podium.dev/v1alpha1", "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1", "ControllerRevision": "apps/v1", "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1", "EndpointSlice": "discovery.k8s.io/v1", "Event": "events.k8s.io/v1",
    "Lease": "coordination.k8s.io/v1", "ClusterRole": "rbac.authorization.k8s.io/v1", "PodMetrics":
    "metrics.k8s.io/v1beta1", "CustomResourceDefinition": "apiextensions.k8s.io/v1", "Job": "batch/v1",
    "Application": "argoproj.io/v1alpha1", "AppProject": "argoproj.io/v1alpha1",
} | dict.fromkeys(_CORE, "v1")  # fmt: skip
CLUSTER_SCOPED = frozenset({
    "Namespace", "ModelRuntime", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "PersistentVolume",
    "Node",
})  # fmt: skip


class Refused(Exception):
    """An answer of the API server that is an error: `status` is its code, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


def session() -> requests.Session:
    """A session that asks whom it is told to, whatever proxies and passwords the environment knows of."""
    made = requests.Session()
    made.trust_env = False
    return made


class Client:
    """Reads and writes objects as the user of a kubeconfig file."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url: str = cluster["server"]
        self._files = tempfile.TemporaryDirectory(prefix="podium-client-")
        self._ca = self._data(cluster, "certificate-authority")
        self._pair = self._data(user, "client-certificate"), self._data(user, "client-key")
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def _data(self, part: Mapping[str, str], name: str) -> str:
        if name in part:
            return part[name]
        file = Path(self._files.name) / name
        file.write_bytes(base64.b64decode(part[f"{name}-data"]))
        file.chmod(0o600)
        return str(file)

    def request(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request; raises Refused for an answer of 400 or more."""
        kept: requests.Session | None = getattr(self._local, "session", None)
        if kept is None:
            kept = self._local.session = session()
            self._sessions.append(kept)
            kept.verify, kept.cert = self._ca, self._pair
        response = kept.request(method, self.url + path, **{"timeout": 30} | more)
        if response.status_code >= 400:
            try:
                message = response.json()["message"]
            except (ValueError, KeyError):
                message = response.text[:300]
            raise Refused(response.status_code, message)
        return response

    def get(self, kind: str, namespace: str | None, name: str) -> Object:
        """The object; raises Refused (404) if there is none."""
        found: Object = self.request("GET", path(kind, namespace, name)).json()
        return found

    def find(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None."""
        try:
            return self.get(kind, namespace, name)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> "list[Object]":
        """The objects of a namespace, or of all of them, that `selector` matches."""
        return [*self.listed(kind, namespace, selector)["items"]]

    def listed(self, kind: str, namespace: str | None = None, selector: str = "") -> Object:
        """The same, as the list object, whose resourceVersion a watch can start from."""
        found: Object = self.request("GET", path(kind, namespace), params={"labelSelector": selector}).json()
        return found

    def apply(self, obj: Object, manager: str = "tests") -> Object:
        """Server-side apply, by force."""
        meta = obj["metadata"]
        response = self.request(
            "PATCH",
            path(obj["kind"], meta.get("namespace"), meta["name"], obj["apiVersion"]),
            params={"fieldManager": manager, "force": "true", "fieldValidation": "Strict"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            data=json.dumps(obj),
        )
        applied: Object = response.json()
        return applied

    def patch(self, kind: str, namespace: str | None, name: str, change: Object, subresource: str = "") -> Object:
        """A JSON merge patch."""
        where = path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        headers = {"Content-Type": "application/merge-patch+json"}
        patched: Object = self.request("PATCH", where, headers=headers, data=json.dumps(change)).json()
        return patched

    def delete(
        self, kind: str, namespace: str | None, name: str, *, propagation: str = "Background", grace: int | None = None
    ) -> None:
        """Deletes it, if it is there."""
        options: Object = {"propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self.request("DELETE", path(kind, namespace, name), json=options)
        except Refused as error:
            if error.status != 404:
                raise

    def watch(self, kind: str, namespace: str | None, since: str, seconds: int = 3600) -> Iterator[Object]:
        """The events after resource version `since`, until the server ends the watch (after `seconds`)."""
        wanted: Mapping[str, str | int] = {
            "watch": 1, "resourceVersion": since, "timeoutSeconds": seconds, "allowWatchBookmarks": "true",
        }  # fmt: skip
        with self.request("GET", path(kind, namespace), params=wanted, stream=True, timeout=seconds + 30) as response:
            for line in response.iter_lines(chunk_size=None):
                if line:
                    yield json.loads(line)

    def close(self) -> None:
        """Ends its connections and removes the key from the disk."""
        for kept in self._sessions:
            kept.close()
        self._files.cleanup()


def path(kind: str, namespace: str | None = None, name: str = "", api_version: str = "") -> str:
    """The path of an object, or of all of a kind."""
    version = api_version or VERSIONS[kind]
    parts = ["/api" if "/" not in version else "/apis", version]
    if namespace and kind not in CLUSTER_SCOPED:
        parts += ["namespaces", namespace]
    parts.append(_PLURALS[kind])
    return "/".join([*parts, name] if name else parts)


def wait(what: str, check: Callable[[], T | None], seconds: float, every: float = 0.2) -> T:
    """Waits until `check` returns something true, and returns it; AssertionError names `what` and the last answer.

    What `check` raises as an AssertionError is the reason that is told if time runs out.
    """
    end = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            found = check()
            if found:
                return found
            last = found
        except (AssertionError, requests.RequestException, ssl.SSLError) as error:
            last = error
        except Refused as error:
            if error.status != 429 and error.status < 500:
                raise
            last = error  # a busy API server's; the next one may be answered
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s; last: {last}")
        time.sleep(every)


def condition(obj: Object, kind: str) -> Object:
    """The object's condition of that type; empty if it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})
