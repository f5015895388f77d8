"""The API server as a test speaks to it: as admin, past the operator and its proxy."""

import base64
import io
import json
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson
import yaml

from tests.integration.connector import Connector

Object = dict[str, Any]

MODEL_DEPLOYMENT: Final = "ModelDeployment"
# kind -> group/version, plural, namespaced
KINDS: Final[Mapping[str, tuple[str, str, bool]]] = {
    "Namespace": ("api/v1", "namespaces", False),
    "Node": ("api/v1", "nodes", False),
    "Pod": ("api/v1", "pods", True),
    "Service": ("api/v1", "services", True),
    "ConfigMap": ("api/v1", "configmaps", True),
    "ServiceAccount": ("api/v1", "serviceaccounts", True),
    "ResourceQuota": ("api/v1", "resourcequotas", True),
    "Deployment": ("apis/apps/v1", "deployments", True),
    "ReplicaSet": ("apis/apps/v1", "replicasets", True),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions", True),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets", True),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices", True),
    "Event": ("apis/events.k8s.io/v1", "events", True),
    "Lease": ("apis/coordination.k8s.io/v1", "leases", True),
    MODEL_DEPLOYMENT: ("apis/podium.dev/v1alpha1", "modeldeployments", True),
    "ModelRuntime": ("apis/podium.dev/v1alpha1", "modelruntimes", False),
    "Application": ("apis/argoproj.io/v1alpha1", "applications", True),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
    "MutatingAdmissionPolicy": ("apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicies", False),
    "MutatingAdmissionPolicyBinding": (
        "apis/admissionregistration.k8s.io/v1", "mutatingadmissionpolicybindings", False,
    ),
}  # fmt: skip


class Refusal(Exception):
    """The API server's answer was no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def path_of(kind: str, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """The URL's path of a collection, an object or its subresource."""
    version, plural, namespaced = KINDS[kind]
    parts = [version, *(["namespaces", namespace] if namespaced and namespace else []), plural, name, subresource]
    return "/" + "/".join(part for part in parts if part)


CONNECT: Final = 60
"""Seconds to connect, with the TLS handshake: the API server, too, waits where other suites have the cores."""


class Api:
    """An async context manager; every method raises Refusal for an answer of 400 or more."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(Path(kubeconfig).read_text())
        self._server = config["clusters"][0]["cluster"]["server"]
        self._ssl = _context(config)

    async def __aenter__(self) -> Self:
        self._connector = Connector(limit=0, ssl=self._ssl)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
            headers={"User-Agent": "podium-test"},
            read_bufsize=2**21,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connector.abort()
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """One call; answers the JSON."""
        async with self._session.request(
            method,
            self._server + path,
            data=None if body is None else io.BytesIO(body if isinstance(body, bytes) else orjson.dumps(body)),
            headers={"Content-Type": content_type},
            params=query,
        ) as response:
            content = await response.read()
            if response.status >= 400:
                raise Refusal(response.status, _message(content))
            return loads(content)

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object; None if there is none."""
        try:
            found: Object = await self.request("GET", path_of(kind, namespace, name))
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return found

    async def list(self, kind: str, namespace: str | None = None) -> tuple[list[Object], str]:
        """All objects of a kind, and the list's resourceVersion."""
        found = await self.request("GET", path_of(kind, namespace))
        version, _, _ = KINDS[kind]
        group_version = version.partition("/")[2]
        items = [{"apiVersion": group_version, "kind": kind, **item} for item in found["items"] or []]
        return items, found["metadata"]["resourceVersion"]

    async def create(self, obj: Object) -> Object:
        """POST."""
        created: Object = await self.request("POST", path_of(obj["kind"], obj["metadata"].get("namespace")), obj)
        return created

    async def apply(self, obj: Object, *, manager: str = "kubectl") -> Object:
        """Server-side apply, as `kubectl apply --server-side --force-conflicts`."""
        meta = obj["metadata"]
        path = path_of(obj["kind"], meta.get("namespace"), meta["name"])
        query = {"fieldManager": manager, "force": "true"}
        applied: Object = await self.request(
            "PATCH", path, obj, content_type="application/apply-patch+yaml", query=query
        )
        return applied

    async def merge(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        patch: Object,
        *,
        subresource: str = "",
        manager: str = "kubectl-edit",
    ) -> Object:
        """JSON merge patch."""
        merged: Object = await self.request(
            "PATCH",
            path_of(kind, namespace, name, subresource),
            patch,
            content_type="application/merge-patch+json",
            query={"fieldManager": manager},
        )
        return merged

    async def delete(
        self, kind: str, namespace: str | None, name: str, *, propagation: str = "", grace: int | None = None
    ) -> None:
        """DELETE; no error if there is no such object."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self.request("DELETE", path_of(kind, namespace, name), options)
        except Refusal as refusal:
            if refusal.status != 404:
                raise

    async def watch(self, kind: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """(event, object) of every change anywhere since `version`; ends when the API server ends it."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(self._server + path_of(kind), params=query) as response:
            if response.status >= 400:
                raise Refusal(response.status, _message(await response.read()))
            async for line in response.content:
                event = loads(line)
                yield event["type"], event["object"]


def loads(text: bytes) -> Any:
    """JSON as the API server sends it, which may hold what somebody wrote and orjson does not take."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit + 20_000)
        try:
            return json.loads(text.decode(errors="replace"))
        finally:
            sys.setrecursionlimit(limit)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content).get("message"))
    except ValueError:
        return content[:200].decode(errors="replace")


def _context(config: Object) -> ssl.SSLContext:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
