"""The routers of a namespace: the objects that run them. What they do is in `podium.router`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from podium.api import names
from podium.manifests.container import pull_policy, restricted
from podium.manifests.quantities import whole
from podium.router.places import BOOTSTRAP, FOLDER, MEMORY, MOUNT, PORT, READY_PORT, STATS_PORT

ENVOY, AGENT, PREPARE = "envoy", "agent", "prepare"
"""Names of the containers; PREPARE is the init container."""
CONFIG_VOLUME: Final = "podium-router"
TOKEN_VOLUME: Final = "token"
TOKEN_SECONDS: Final = 3607
"""Lifetime of the ServiceAccount's token, which the kubelet renews: what it gives to pods by itself, too."""
STOP_MARGIN: Final = 15
"""Seconds between the end of the drain and SIGKILL."""
LABELS: Final = names.router_labels()
"""Of all these objects."""
SELECTOR: Final = names.router_selector()
"""What a stable Service selects a namespace's router pods by."""

Object = dict[str, Any]


class InvalidRouterPods(ValueError):
    """What the settings say of router pods cannot be used."""


@dataclass(frozen=True, kw_only=True)
class RouterPods:
    """What an installation says of all its router pods."""

    image: str = "podium/router:latest"
    pull_policy: str = ""
    """Empty: Always for a tag `latest`, else IfNotPresent."""
    image_pull_secrets: tuple[Mapping[str, Any], ...] = ()
    min_replicas: int = 2
    max_replicas: int = 10
    target_cpu: str = "700m"
    """CPU of Envoy, on the average of all pods, that the HorizontalPodAutoscaler keeps to."""
    concurrency: int = 2
    """Threads of Envoy that serve requests."""
    drain_seconds: int = 120
    """How long a router that stops waits for the requests under way, at most."""
    resources: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
    )
    """Of Envoy."""
    agent_resources: Mapping[str, Any] = field(
        default_factory=lambda: {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "192Mi"}}
    )
    mesh: bool = False
    """Whether a service mesh may put its sidecar into router pods."""
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    priority_class_name: str = ""

    @classmethod
    def read(cls, text: str, *, image: str) -> Self:
        """From JSON with names in camelCase, as the chart passes it. InvalidRouterPods names what cannot be used."""
        try:
            return cls._read(text, image)
        except ValueError as error:
            raise InvalidRouterPods(f"router_pods: {error}") from error

    @classmethod
    def _read(cls, text: str, image: str) -> Self:
        try:
            found = json.loads(text or "{}")
        except ValueError as error:
            raise ValueError(f"the routers' settings are no JSON: {error}") from error
        if not isinstance(found, dict):
            raise ValueError(f"the routers' settings must be an object, not {text[:60]!r}")
        known = {_camel(each.name): each.name for each in fields(cls) if each.name != "image"}
        if unknown := found.keys() - known.keys():
            raise ValueError(f"the routers' settings have the unknown field {min(unknown)}")
        values: dict[str, Any] = {
            known[key]: tuple(each) if isinstance(each, list) else each for key, each in found.items()
        }
        made = cls(image=image, **values)
        made._check()
        return made

    def memory_limit(self) -> int:
        """Of Envoy's container, in bytes; 0 for none. ValueError where it is no quantity."""
        return whole((self.resources.get("limits") or {}).get("memory", 0))

    def _check(self) -> None:
        defaults = type(self)()
        for each in fields(self):
            value, wanted = getattr(self, each.name), type(getattr(defaults, each.name))
            if type(value) is not wanted:
                raise ValueError(
                    f"the routers' {_camel(each.name)} must be of the type {wanted.__name__}, not {value!r}"
                )
        least, most = self.min_replicas, self.max_replicas
        if not 1 <= least <= most:
            raise ValueError(f"1 <= minReplicas <= maxReplicas must hold for the routers' pods, not {least} and {most}")
        if self.concurrency < 1 or self.drain_seconds < 1:
            raise ValueError("the routers' concurrency and drainSeconds must be at least 1")
        try:
            self.memory_limit()
        except (ValueError, AttributeError) as error:
            raise ValueError(f"the routers' resources.limits.memory: {error}") from error


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def router_objects(namespace: str, pods: RouterPods, *, replicas: int | None, bind: bool = True) -> list[Object]:
    """All objects, in the order in which they are needed; `replicas` None leaves the number to the autoscaler.

    None has an owner: they are the namespace's, and stay while any ModelDeployment there has a router. `bind` False
    leaves out the RoleBinding: where the operator looks after single namespaces, the chart makes it.
    """
    return [
        service_account(namespace),
        *([role_binding(namespace)] if bind else []),
        deployment(namespace, pods, replicas=replicas),
        disruption_budget(namespace),
        autoscaler(namespace, pods),
    ]


def service_account(namespace: str) -> Object:
    """Whom the agent is to the API server. Its token is mounted where it is used, and nowhere else."""
    return _object(namespace, "v1", "ServiceAccount", automountServiceAccountToken=False)


def role_binding(namespace: str) -> Object:
    """Lets the agent read ConfigMaps and EndpointSlices of its namespace: all that the chart's ClusterRole allows."""
    return _object(
        namespace,
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": names.ROUTER},
        subjects=[{"kind": "ServiceAccount", "name": names.ROUTER, "namespace": namespace}],
    )


def disruption_budget(namespace: str) -> Object:
    """Nodes are drained one router at a time; one that is not Ready is in nobody's way."""
    return _object(
        namespace,
        "policy/v1",
        "PodDisruptionBudget",
        spec={
            "selector": {"matchLabels": dict(SELECTOR)},
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )


def autoscaler(namespace: str, pods: RouterPods) -> Object:
    """Scales by Envoy's CPU alone; without metrics in the cluster it keeps minReplicas."""
    cpu = {"container": ENVOY, "name": "cpu", "target": {"type": "AverageValue", "averageValue": pods.target_cpu}}
    return _object(
        namespace,
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.ROUTER},
            "minReplicas": pods.min_replicas,
            "maxReplicas": pods.max_replicas,
            "metrics": [{"type": "ContainerResource", "containerResource": cpu}],
        },
    )


def deployment(namespace: str, pods: RouterPods, *, replicas: int | None) -> Object:
    """The routers. A new one is Ready before an old one is told to stop."""
    spec: Object = {
        "selector": {"matchLabels": dict(SELECTOR)},
        "revisionHistoryLimit": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": _template(pods),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return _object(namespace, "apps/v1", "Deployment", spec=spec)


def _template(pods: RouterPods) -> Object:
    optional: Object = {
        "imagePullSecrets": [dict(each) for each in pods.image_pull_secrets],
        "nodeSelector": dict(pods.node_selector),
        "tolerations": [dict(each) for each in pods.tolerations],
        "affinity": dict(pods.affinity),
        "priorityClassName": pods.priority_class_name,
    }
    labels, annotations = ({}, {}) if pods.mesh else (_ISTIO, _ISTIO | _LINKERD)
    return {
        "metadata": {
            "labels": {**labels, **pods.pod_labels, **LABELS},
            "annotations": {
                "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": CONFIG_VOLUME,
                **annotations,
                **pods.pod_annotations,
            },
        },
        "spec": {
            **{name: value for name, value in optional.items() if value},
            "serviceAccountName": names.ROUTER,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": pods.drain_seconds + STOP_MARGIN,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": key,
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": dict(SELECTOR)},
                }
                for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
            "initContainers": [_agent(pods, PREPARE, "--once")],
            "containers": [_envoy(pods), _agent(pods, AGENT) | {"ports": [_port("applied", PORT)]}],
            "volumes": [
                # Of memory: it is small, is written anew at each change of weights, and must not wait for a disk.
                {"name": CONFIG_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                {"name": TOKEN_VOLUME, "projected": {"sources": _TOKEN}},
            ],
        },
    }


_ISTIO: Final = {"sidecar.istio.io/inject": "false"}
_LINKERD: Final = {"linkerd.io/inject": "disabled"}
# What the kubelet would mount into each container by itself; here Envoy, which faces the callers, has none of it.
_TOKEN: Final = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
]
_MODULE: Final = ["python", "-m", "podium.router.agent"]


def _envoy(pods: RouterPods) -> Object:
    """Its preStop drains it and waits for its callers: SIGTERM, on which Envoy ends at once, comes after that."""
    return _container(pods, ENVOY, pods.resources) | {
        "command": [
            "envoy",
            # Envoy takes a value only as a word of its own, not after "=".
            *("--config-path", f"{FOLDER}/{BOOTSTRAP}"),
            *("--concurrency", str(pods.concurrency)),
            *("--drain-time-s", str(pods.drain_seconds)),
            *("--log-level", "warning"),
            "--disable-hot-restart",
        ],
        "ports": [_port("ready", READY_PORT), _port("stats", STATS_PORT)],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": READY_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        },
        "lifecycle": {"preStop": {"exec": {"command": [*_MODULE, f"--leave={pods.drain_seconds}"]}}},
        "volumeMounts": [{"name": CONFIG_VOLUME, "mountPath": FOLDER}],
    }


def _agent(pods: RouterPods, name: str, *words: str) -> Object:
    return _container(pods, name, pods.agent_resources) | {
        "command": [*_MODULE, *words],
        "env": [
            {
                "name": "POD_NAMESPACE",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            },
            {"name": MEMORY, "value": str(pods.memory_limit())},
        ],
        "volumeMounts": [
            {"name": CONFIG_VOLUME, "mountPath": FOLDER},
            {"name": TOKEN_VOLUME, "mountPath": MOUNT, "readOnly": True},
        ],
    }


def _container(pods: RouterPods, name: str, resources: Mapping[str, Any]) -> Object:
    return {
        "name": name,
        "image": pods.image,
        "imagePullPolicy": pods.pull_policy or pull_policy(pods.image),
        "resources": {part: dict(amounts) for part, amounts in resources.items()},
        "securityContext": restricted(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _object(namespace: str, version: str, kind: str, **rest: Any) -> Object:
    metadata = {"name": names.ROUTER, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}
