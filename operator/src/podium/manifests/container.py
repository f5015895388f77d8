"""The model container: what a ModelRuntime says, with what the user's spec adds."""

import copy
from typing import Any, Final

from podium.api import names
from podium.api.templates import fill, fill_all
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.manifests.layout import Placement

STARTUP_BUDGET: Final = 3600
"""Seconds that a model may take to load: progressDeadline judges a rollout, and kubelet must not judge before it."""

STOP_MARGIN: Final = 5
"""Seconds between the moment that the runtime is told to be done by and the moment kubelet kills it."""


def restricted() -> dict[str, Any]:
    """A security context as the restricted Pod Security Standard wants it, with a read-only root besides."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }


def container_ports(runtime: ModelRuntimeSpec) -> dict[str, int]:
    """The runtime's ports by name: http, grpc, metrics, those that it has."""
    ports = {"http": runtime.ports.http, "grpc": runtime.ports.grpc, "metrics": runtime.ports.metrics}
    return {name: port for name, port in ports.items() if port is not None}


def model_container(
    spec: ModelDeploymentSpec,
    runtime: ModelRuntimeSpec,
    values: dict[str, str],
    placement: Placement | None,
    *,
    resources: dict[str, Any],
    grace: int,
) -> dict[str, Any]:
    """The container `model` without its mounts. `values` fill the runtime's strings; `grace` is the pod's, seconds."""
    image = spec.runtime.image or fill(runtime.image, values)
    container: dict[str, Any] = {
        "name": names.MODEL_CONTAINER,
        "image": image,
        "imagePullPolicy": spec.runtime.image_pull_policy or pull_policy(image),
        "env": _env(spec, runtime, values, placement, grace),
        "ports": _ports(container_ports(runtime)),
        "resources": resources,
        "securityContext": security_context(spec, runtime),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(runtime, values),
    }
    if runtime.command:
        container["command"] = fill_all(list(runtime.command), values)
    args = [*fill_all(list(runtime.args), values), *spec.runtime.args]
    if args:
        container["args"] = args
    if runtime.drain.pre_stop_seconds > 0:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": runtime.drain.pre_stop_seconds}}}
    return container


def pull_policy(image: str) -> str:
    """Kubernetes' default: Always for the tag `latest`, which a name without tag and digest stands for, too.

    It is written out, so that what was meant is in the stored template, and another writer's value is told from it.
    """
    name, _, image_digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2] or ("" if image_digest else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def merged_resources(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> dict[str, Any]:
    """The runtime's requests and limits, where the user's spec says nothing of that resource.

    A resource that the user names, in requests or in limits, is wholly the user's: a limit of theirs beside a larger
    request of the runtime's would be refused by the API server.
    """
    theirs, ours = spec.runtime.resources, runtime.resources
    named = {name for part in ("requests", "limits") for name in theirs.get(part, {})}
    merged: dict[str, Any] = {}
    for part in ("requests", "limits"):
        kept = {name: value for name, value in ours.get(part, {}).items() if name not in named}
        if both := kept | theirs.get(part, {}):
            merged[part] = both
    return merged


def security_context(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> dict[str, Any]:
    """The restricted profile with what the ModelRuntime, an administrator's object, changes of it."""
    context = restricted() | copy.deepcopy(runtime.security_context.container)
    if spec.pod_template.security_context.run_as_user is not None:
        context.pop("runAsUser", None)  # the user's own, on the pod, would lose to the container's
    return context


def _env(
    spec: ModelDeploymentSpec,
    runtime: ModelRuntimeSpec,
    values: dict[str, str],
    placement: Placement | None,
    grace: int,
) -> list[dict[str, Any]]:
    """Podium's variables, the runtime's, the user's; by name, a later one replaces an earlier one where it stands.

    Names that begin with PODIUM_ are Podium's alone: the API refuses them in both other places.
    """
    stop = max(1, grace - runtime.drain.pre_stop_seconds - STOP_MARGIN)
    merged: dict[str, dict[str, Any]] = {}
    for name, value in (
        ("PODIUM_MODEL", values["model"]),
        ("PODIUM_REVISION", values["revision"]),
        ("PODIUM_MODEL_VERSION", values["version"]),
        ("PODIUM_MODEL_PATH", placement.path if placement else ""),
        ("PODIUM_HTTP_PORT", values["httpPort"]),
        ("PODIUM_GRACE_SECONDS", str(stop)),
    ):
        if value:
            merged[name] = {"name": name, "value": value}
    for variable in [*fill_all(list(runtime.env), values), *spec.runtime.env]:
        merged[variable["name"]] = dict(variable)
    return list(merged.values())


def _ports(ports: dict[str, int]) -> list[dict[str, Any]]:
    """Container ports; of two names for one number the first is kept, since server-side apply merges them by number."""
    by_number: dict[int, str] = {}
    for name, number in ports.items():
        by_number.setdefault(number, name)
    return [{"name": name, "containerPort": number, "protocol": "TCP"} for number, name in by_number.items()]


def _probes(runtime: ModelRuntimeSpec, values: dict[str, str]) -> dict[str, Any]:
    readiness = fill_all(runtime.probes.readiness, values)
    startup = {"periodSeconds": 1} | (fill_all(runtime.probes.startup, values) or _handler(readiness))
    # An hour of its own period, whatever the runtime says: slow loading is not a crash.
    startup["failureThreshold"] = -(-STARTUP_BUDGET // int(startup["periodSeconds"]))
    probes = {"startupProbe": startup, "readinessProbe": readiness}
    if runtime.probes.liveness:
        probes["livenessProbe"] = fill_all(runtime.probes.liveness, values)
    return probes


def _handler(probe: dict[str, Any]) -> dict[str, Any]:
    """What a probe asks, without how often and how many times."""
    asked = ("exec", "httpGet", "tcpSocket", "grpc", "timeoutSeconds")
    return copy.deepcopy({key: value for key, value in probe.items() if key in asked})
