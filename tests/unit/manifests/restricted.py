"""The restricted Pod Security Standard of Kubernetes 1.36, as one function from a pod to its violations."""

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}
HANDLERS = ("httpGet", "tcpSocket")


def violations(pod: dict[str, Any]) -> list[str]:
    """What the pod's spec does that the standard forbids, or leaves out that it wants."""
    return [*_pod(pod), *(text for container in _containers(pod) for text in _container(pod, container))]


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]


def _pod(pod: dict[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {kinds}"
    security = pod.get("securityContext", {})
    yield from _shared("pod", security)
    if security.get("sysctls"):
        yield "sysctls"


def _container(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    name = container["name"]
    security, inherited = container.get("securityContext", {}), pod.get("securityContext", {})
    yield from _shared(name, security)
    if security.get("privileged"):
        yield f"{name}: privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    capabilities = security.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if security.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if not security.get("runAsNonRoot", inherited.get("runAsNonRoot", False)):
        yield f"{name}: runAsNonRoot"
    if security.get("seccompProfile", inherited.get("seccompProfile", {})).get("type") not in PROFILES:
        yield f"{name}: seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield f"{name}: hostPort"
    probes = [container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness")]
    hooks = list(container.get("lifecycle", {}).values())
    if any(item.get(handler, {}).get("host") for item in probes + hooks for handler in HANDLERS):
        yield f"{name}: host of a probe"


def _shared(where: str, security: dict[str, Any]) -> Iterator[str]:
    if security.get("runAsUser") == 0:
        yield f"{where}: runAsUser 0"
    if security.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot false"
    label = security.get("seLinuxOptions", {})
    if label.get("type") not in SELINUX_TYPES or label.get("user") or label.get("role"):
        yield f"{where}: seLinuxOptions"
    if security.get("seccompProfile", {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{where}: seccompProfile"
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}: hostProcess"
