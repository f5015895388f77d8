"""One namespace with one operator and one ModelDeployment: where a scenario is played."""

import asyncio
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from podium.api import names
from podium.router.state import KEY
from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import Operator
from tests.integration.proxy import Proxy
from tests.integration.rollouts.api import MODEL_DEPLOYMENT, Api, Object
from tests.integration.rollouts.kubelet import Kubelet
from tests.integration.rollouts.routers import ONE_ROUTER, Router, Routers
from tests.integration.rollouts.world import PATIENCE, World

MODEL: Final = "fraud"
USER: Final = "podium"
SHORT: Final[dict[str, Any]] = {
    "crash_grace": 0.5,
    "champion_down": 5,
    "environment_window": 300,
    "refused_retry": 1,
    **ONE_ROUTER,
}
"""Settings of every operator: what lasts half a minute in production lasts half a second here."""

RARELY: Final = {"lease_duration": 60, "lease_write_deadline": 20, "lease_renew_interval": 5}
"""Settings by which the Lease outlasts a machine that stands still for some seconds."""

MARK_OUTCOME: Final = "podium.dev/outcome"
COMMAND: Final = "podium.dev/command"


def spec(version: str = "v1", replicas: int = 2, **other: Any) -> Object:
    """A valid spec whose waiting times are as short as they can be."""
    rollout = {"minReadySeconds": 0, "progressDeadline": "5m"} | other.pop("rollout", {})
    return {
        "model": {"uri": f"s3://models/fraud/{version}", "format": "onnx", "version": version},
        "runtime": {"name": "onnxruntime"},
        "replicas": replicas,
        "rollout": rollout,
        **other,
    }


@dataclass
class Cluster:
    """What all stages share: the API server and those who act in it beside Podium."""

    plane: ControlPlane
    api: Api
    world: World
    kubelet: Kubelet
    routers: Routers
    folder: Path
    count: int = 0
    names: dict[str, int] = field(default_factory=dict)

    async def namespace(self, name: str) -> str:
        """A new namespace in which Podium has the rights that the chart gives it in namespaced mode."""
        number = self.names[name] = self.names.get(name, 0) + 1
        namespace = f"{name}-{number}"
        await self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for role in ("podium-namespace", "podium-lease"):
            await self.api.create(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": role, "namespace": namespace},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}],
                }
            )
        return namespace


class Stage:
    """See the module. `operator` runs in namespaced mode, through `proxy` if there is one."""

    def __init__(self, cluster: Cluster, namespace: str, operator: Operator, proxy: Proxy | None = None) -> None:
        self.cluster = cluster
        self.api = cluster.api
        self.world = cluster.world
        self.kubelet = cluster.kubelet
        self.namespace = namespace
        self.operator = operator
        self.proxy = proxy
        self.uid = ""
        self.patience = PATIENCE
        """Seconds that a condition may take."""
        self.labels: dict[str, str] = {}
        """Labels of the ModelDeployment."""
        self.cut_off_by_others = False
        """Whether somebody else takes the stable Service away: then it is not the operator's fault if nobody serves."""

    # What a person does.

    async def apply(self, spec: Object, **annotations: str) -> None:
        """`kubectl apply` of the ModelDeployment."""
        self.spec = copy.deepcopy(spec)
        metadata: Object = {"name": MODEL, "namespace": self.namespace, "labels": self.labels}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"apiVersion": "podium.dev/v1alpha1", "kind": MODEL_DEPLOYMENT, "metadata": metadata, "spec": spec}
        self.uid = (await self.api.apply(obj))["metadata"]["uid"]

    async def command(self, verb: str, revision: str, token: str) -> None:
        """`kubectl annotate --overwrite` with a command."""
        patch = {"metadata": {"annotations": {COMMAND: f"{verb} {revision} {token}"}}}
        await self.api.merge(MODEL_DEPLOYMENT, self.namespace, MODEL, patch)

    async def router(self) -> Router:
        """The namespace's one router pod: whoever has `router: Envoy` needs one."""
        return await self.cluster.routers.of(self.namespace)

    async def delete(self, propagation: str = "Background") -> None:
        """`kubectl delete --cascade=...`."""
        await self.api.delete(MODEL_DEPLOYMENT, self.namespace, MODEL, propagation=propagation)

    # What a person sees.

    @property
    def obj(self) -> Object:
        """The ModelDeployment as it is now; KeyError if there is none."""
        found = self.world.get(MODEL_DEPLOYMENT, self.namespace, MODEL)
        if found is None:
            raise KeyError(MODEL)
        return found

    @property
    def status(self) -> Object:
        """Its status; empty before the first one."""
        return dict(self.obj.get("status") or {})

    @property
    def phase(self) -> str:
        """status.phase."""
        return str(self.status.get("phase"))

    @property
    def settled(self) -> bool:
        """Whether status speaks of the present spec."""
        return bool(self.status.get("observedGeneration") == self.obj["metadata"]["generation"])

    def condition(self, kind: str) -> Object:
        """A condition; an empty one if it is absent."""
        found = (one for one in self.status.get("conditions") or [] if one["type"] == kind)
        return next(found, {})

    def is_ready(self, version: str | None = None) -> bool:
        """Whether Ready is True of the present spec and, if asked, `version` is the champion."""
        champion = self.status.get("champion") or {}
        right = version is None or champion.get("version") == version
        return self.settled and self.condition("Ready").get("status") == "True" and right

    def revision(self, version: str) -> str:
        """The name of the newest revision of a version."""
        found = [
            (one["revision"], one["metadata"]["name"])
            for one in self.all("ControllerRevision")
            if one["data"]["version"] == version
        ]
        return str(max(found)[1]) if found else ""

    def outcome(self, version: str) -> str:
        """Promoted, RolledBack, Superseded, or nothing: of the newest revision of a version."""
        record = self.get("ControllerRevision", self.revision(version)) or {"metadata": {}}
        return str((record["metadata"].get("annotations") or {}).get(MARK_OUTCOME, ""))

    def get(self, kind: str, name: str) -> Object | None:
        """An object of the namespace as it is now."""
        return self.world.get(kind, self.namespace, name)

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind in the namespace."""
        return self.world.all(kind, self.namespace)

    def replicas(self, version: str) -> int | None:
        """spec.replicas of a version's Deployment; None if there is none."""
        found = self.get("Deployment", self.revision(version))
        return None if found is None else int(found["spec"]["replicas"])

    def pods(self, version: str | None = None) -> list[Object]:
        """The pods that are to stay, of one version or of all."""
        return [
            one
            for one in self.all("Pod")
            if "deletionTimestamp" not in one["metadata"]
            and (version is None or one["metadata"]["labels"].get("podium.dev/revision") == self.revision(version))
        ]

    @property
    def selector(self) -> Object:
        """Of the stable Service; empty without one."""
        found = self.get("Service", MODEL)
        return dict(found["spec"]["selector"]) if found else {}

    @property
    def weights(self) -> dict[str, int]:
        """What the routers are told: of 10000, by revision."""
        found = self.get("ConfigMap", names.routing_name(MODEL))
        told: Object = json.loads(found["data"][KEY]) if found else {"split": []}
        return {share["revision"]: share["weight"] for share in told["split"]}

    def endpoints(self, service: str = MODEL) -> set[str]:
        """Names of the ready pods behind a Service."""
        return {
            endpoint["targetRef"]["name"]
            for piece in self.all("EndpointSlice")
            if piece["metadata"]["labels"].get("kubernetes.io/service-name") == service
            for endpoint in piece.get("endpoints") or []
            if endpoint["conditions"].get("ready")
        }

    async def events(self) -> list[Object]:
        """The Events about the ModelDeployment, oldest first."""
        found, _ = await self.api.list("Event", self.namespace)
        own = [one for one in found if one.get("regarding", {}).get("kind") == MODEL_DEPLOYMENT]
        return sorted(own, key=lambda one: (one.get("eventTime") or "", one["metadata"]["name"]))

    async def told(self, reason: str, count: int = 1) -> list[str]:
        """Notes of the Events with this reason, oldest first, once there are so many: they are written after status."""
        end = time.monotonic() + self.patience
        while True:
            notes = [str(one["note"]) for one in await self.events() if one["reason"] == reason]
            if len(notes) >= count:
                return notes
            if time.monotonic() > end:
                raise AssertionError(f"{self.namespace}: no {count} Events {reason}: {notes}\n{self.explain()}")
            await asyncio.sleep(0.1)

    # Waiting.

    async def until(
        self,
        condition: Callable[[], object],
        what: str,
        *,
        seconds: float | None = None,
        explain: Callable[[], str] | None = None,
    ) -> None:
        """Wait for a condition; see World.until."""
        seconds = self.patience if seconds is None else seconds
        await self.world.until(self.namespace, condition, what, seconds=seconds, explain=explain or self.explain)

    async def stays(self, condition: Callable[[], object], what: str, *, seconds: float = 1.0) -> None:
        """See World.stays."""
        await self.world.stays(self.namespace, condition, what, seconds=seconds, explain=self.explain)

    async def until_ready(self, version: str | None = None) -> None:
        """Wait for Ready=True of the present spec."""
        await self.until(lambda: self.is_ready(version), f"Ready {version or ''}")
        await self.world.caught_up(self.namespace)  # status may be told before what was written ahead of it

    def explain(self) -> str:
        """What there is, for messages of failed assertions."""
        try:
            status = self.status
        except KeyError:
            status = {}
        conditions = [f"{one['type']}={one['status']} {one['reason']}" for one in status.get("conditions") or []]
        lines = [f"phase {status.get('phase')}: {status.get('message')}", f"conditions: {', '.join(conditions)}"]
        for one in self.all("ControllerRevision"):
            annotations = one["metadata"].get("annotations") or {}
            outcome, rule = annotations.get(MARK_OUTCOME), annotations.get("podium.dev/rule")
            name = one["metadata"]["name"]
            deployment = self.get("Deployment", name)
            counts = deployment and {"spec": deployment["spec"].get("replicas"), **deployment.get("status", {})}
            lines.append(f"{name} {one['data']['version']} {outcome} {rule} {counts and _counts(counts)}")
        lines.append(f"pods: {[_pod(one) for one in self.all('Pod')]}")
        selectors = {one["metadata"]["name"]: one["spec"].get("selector") for one in self.all("Service")}
        lines.append(f"services: {selectors}; endpoints {sorted(self.endpoints())}")
        return "\n".join([*lines, self.operator.tail(20)])


def _counts(found: Object) -> str:
    shown = ("spec", "replicas", "readyReplicas", "availableReplicas", "observedGeneration")
    return " ".join(f"{key}={found[key]}" for key in shown if key in found)


def _pod(pod: Object) -> str:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    going = " going" if "deletionTimestamp" in pod["metadata"] else ""
    return f"{pod['metadata']['name']} {'ready' if ready else 'not ready'}{going}"
