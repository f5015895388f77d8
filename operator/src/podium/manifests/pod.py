"""The pod template of one revision."""

from pathlib import PurePosixPath
from typing import Any, Final

from podium.api import names
from podium.api.templates import InvalidTemplate, fill_all
from podium.api.v1alpha1 import ModelDeploymentSpec, ModelRuntimeSpec
from podium.manifests.container import container_ports, merged_resources, model_container, restricted
from podium.manifests.disk import model_share
from podium.manifests.errors import INVALID_RUNTIME, INVALID_SPEC, Unresolvable
from podium.manifests.fetch import MODELS_VOLUME, Fetcher, fetch_container, fetch_volumes
from podium.manifests.layout import MODELS, Placement, placement
from podium.manifests.owner import Owner
from podium.manifests.quantities import whole

TMP_VOLUME: Final = "podium-tmp"
FILES_VOLUME: Final = "podium-files"
FILE_ANNOTATION: Final = "podium.dev/file"
DRAINABLE: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
"""Names, separated by commas, of local volumes that may be lost: else their pod keeps its node from being removed."""
FETCHER_USER: Final = 65532
"""The user of the serving image."""

_PASSED_THROUGH: Final = {
    "nodeSelector": "node_selector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "topologySpreadConstraints": "topology_spread_constraints",
    "serviceAccountName": "service_account_name",
    "imagePullSecrets": "image_pull_secrets",
    "priorityClassName": "priority_class_name",
    "runtimeClassName": "runtime_class_name",
}


def pod_template(
    owner: Owner,
    spec: ModelDeploymentSpec,
    runtime: ModelRuntimeSpec,
    fetcher: Fetcher,
    *,
    revision: str,
    token: str,
    version: str,
) -> dict[str, Any]:
    """The pod template with `{{revision}}` and the revision's label set to `revision`.

    `token` is that of a `restart`, empty for none; `version` is for people and becomes an annotation. Raises
    Unresolvable where spec and runtime do not fit.
    """
    placement = _placement(owner, spec, runtime)
    resources = merged_resources(spec, runtime)
    values = _values(owner, spec, runtime, placement, resources) | {"revision": revision, "version": version}
    grace = _grace(spec, runtime)
    share = model_share(spec, runtime.layout, resources) if placement else resources
    try:
        container = model_container(spec, runtime, values, placement, resources=share, grace=grace)
        files = {item.path: fill_all(item.template, values) for item in runtime.files}
    except InvalidTemplate as error:
        raise Unresolvable(INVALID_RUNTIME, _template_message(spec, error)) from error
    _check_files(spec, files, fetched=placement is not None)
    container["volumeMounts"] = _mounts(spec, files, fetched=placement is not None)
    pod: dict[str, Any] = {
        key: value for key, name in _PASSED_THROUGH.items() if (value := getattr(spec.pod_template, name))
    }
    pod |= {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # variables of a Service called `ts` or `podium` would be read as settings
        "securityContext": _pod_security(spec, runtime),
        "terminationGracePeriodSeconds": grace,
        "containers": [container],
        "volumes": _volumes(spec, files),
    }
    if placement is not None:
        pod["initContainers"] = [_fetch(spec, fetcher, placement, resources, pod["securityContext"])]
    _check_fetch_user(spec, runtime)
    return {"metadata": _metadata(owner, spec, files, revision=revision, token=token, version=version), "spec": pod}


def _placement(owner: Owner, spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> Placement | None:
    return placement(runtime.layout, owner.name, spec.model.uri) if spec.model.uri else None


def _values(
    owner: Owner,
    spec: ModelDeploymentSpec,
    runtime: ModelRuntimeSpec,
    placement: Placement | None,
    resources: dict[str, Any],
) -> dict[str, str]:
    """Template variables but revision and version; one without a value is missing, so that its use is an error.

    cpuLimit is whole cores (at least 1), memoryLimit bytes, both rounded up.
    """
    limits = resources.get("limits", {})
    values = {"model": owner.name, "namespace": owner.namespace}
    values |= {f"{name}Port": str(port) for name, port in container_ports(runtime).items()}
    if placement is not None:
        values |= {"path": placement.path, "uri": spec.model.uri or ""}
    if spec.model.format or len(runtime.formats) == 1:
        values["format"] = spec.model.format or runtime.formats[0]
    for variable, resource in (("cpuLimit", "cpu"), ("memoryLimit", "memory")):
        if resource in limits:
            values[variable] = str(whole(limits[resource]))
    return values


def _template_message(spec: ModelDeploymentSpec, error: InvalidTemplate) -> str:
    remedies = {
        "path": "spec.model.uri",
        "uri": "spec.model.uri",
        "format": "spec.model.format",
        "cpuLimit": "spec.runtime.resources.limits.cpu",
        "memoryLimit": "spec.runtime.resources.limits.memory",
    }
    if error.variable in remedies:
        field = remedies[error.variable]
        return (
            f"spec.runtime.name: ModelRuntime {spec.runtime.name} uses {{{{{error.variable}}}}}, for which {field} "
            f"must be set: set it, or choose another runtime"
        )
    return f"ModelRuntime {spec.runtime.name}: {error}"


def _grace(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> int:
    """Seconds from the start of preStop to SIGKILL."""
    pre_stop = runtime.drain.pre_stop_seconds
    grace = spec.pod_template.termination_grace_period_seconds
    if grace is None:
        return pre_stop + runtime.drain.seconds
    if grace <= pre_stop:
        raise Unresolvable(
            INVALID_SPEC,
            f"spec.podTemplate.terminationGracePeriodSeconds: {grace} does not exceed the {pre_stop} s for which "
            f"ModelRuntime {spec.runtime.name} waits before it stops (drain.preStopSeconds): set more than {pre_stop}",
        )
    return grace


def _metadata(
    owner: Owner, spec: ModelDeploymentSpec, files: dict[str, str], *, revision: str, token: str, version: str
) -> dict[str, Any]:
    annotations = dict(spec.pod_template.annotations)
    annotations[DRAINABLE] = _drainable(spec, annotations.get(DRAINABLE, ""))
    if version:
        annotations[names.ANNOTATION_VERSION] = version
    if token:
        annotations[names.ANNOTATION_RESTART] = token
    annotations |= {f"{FILE_ANNOTATION}-{index}": text for index, text in enumerate(files.values())}
    return {
        "labels": {**spec.pod_template.labels, **names.revision_labels(owner.name, revision)},
        "annotations": annotations,
    }


def _drainable(spec: ModelDeploymentSpec, theirs: str) -> str:
    """Podium's emptyDirs, whose content any pod makes anew, after those that the user names."""
    ours = [TMP_VOLUME, MODELS_VOLUME] if spec.model.uri else [TMP_VOLUME]
    named = [name for part in theirs.split(",") if (name := part.strip())]
    return ",".join(dict.fromkeys([*named, *ours]))


def _pod_security(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> dict[str, Any]:
    own = spec.pod_template.security_context.wire()
    profile = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {**profile, **runtime.security_context.pod, **own}


def _check_fetch_user(spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec) -> None:
    """Raises Unresolvable for a user that the fetcher cannot be given. Root is refused by the spec's own bounds."""
    user = spec.pod_template.fetch_security_context.run_as_user
    if user is None:
        return
    field = "spec.podTemplate.fetchSecurityContext.runAsUser"
    if not spec.model.uri:
        raise Unresolvable(
            INVALID_SPEC, f"{field}: {user} is of no use, since nothing is fetched: remove it, or set spec.model.uri"
        )
    if runtime.security_context.fetch_user == "Fixed":
        raise Unresolvable(
            INVALID_SPEC,
            f"{field}: {user} is not allowed, since ModelRuntime {spec.runtime.name} fixes the fetcher's user "
            "(securityContext.fetchUser: Fixed): remove it, or choose another runtime",
        )


def _check_files(spec: ModelDeploymentSpec, files: dict[str, str], *, fetched: bool) -> None:
    for path in files:
        if fetched and PurePosixPath(path).is_relative_to(MODELS):
            raise Unresolvable(
                INVALID_RUNTIME,
                f"ModelRuntime {spec.runtime.name}: the file {path} would lie in {MODELS}, which holds the model and "
                "is read-only: give it another path",
            )


def _mounts(spec: ModelDeploymentSpec, files: dict[str, str], *, fetched: bool) -> list[dict[str, Any]]:
    """Podium's mounts, then the user's, which may not lie over /tmp, the model or a file of the runtime."""
    ours: list[dict[str, Any]] = [{"name": TMP_VOLUME, "mountPath": "/tmp"}]
    if fetched:
        ours.append({"name": MODELS_VOLUME, "mountPath": MODELS, "readOnly": True})
    ours += [
        {"name": FILES_VOLUME, "mountPath": path, "subPath": f"file-{index}", "readOnly": True}
        for index, path in enumerate(files)
    ]
    taken = {mount["mountPath"] for mount in ours}
    theirs = [dict(mount) for mount in spec.pod_template.volume_mounts]
    for index, mount in enumerate(theirs):
        path = PurePosixPath(mount["mountPath"])
        if str(path) in taken or (fetched and path.is_relative_to(MODELS)):
            raise Unresolvable(
                INVALID_SPEC,
                f"spec.podTemplate.volumeMounts[{index}].mountPath: {mount['mountPath']} is where Podium puts the "
                f"model, /tmp or a file of ModelRuntime {spec.runtime.name}: choose another path",
            )
    return ours + theirs


def _volumes(spec: ModelDeploymentSpec, files: dict[str, str]) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": TMP_VOLUME, "emptyDir": {}}]
    if spec.model.uri:
        volumes += fetch_volumes(spec)
    if files:
        # The texts travel as annotations of the pod itself: no ConfigMap to make, to keep and to collect.
        items = [
            {
                "path": f"file-{index}",
                "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{FILE_ANNOTATION}-{index}']"},
            }
            for index in range(len(files))
        ]
        volumes.append({"name": FILES_VOLUME, "downwardAPI": {"items": items}})
    return volumes + [dict(volume) for volume in spec.pod_template.volumes]


def _fetch(
    spec: ModelDeploymentSpec,
    fetcher: Fetcher,
    placement: Placement,
    resources: dict[str, Any],
    pod_security: dict[str, Any],
) -> dict[str, Any]:
    container = fetch_container(spec, fetcher, placement, resources)
    container["securityContext"] = restricted()
    user = spec.pod_template.fetch_security_context.run_as_user
    if user is None and pod_security.get("runAsUser") == 0:  # a runtime that must be root, which the fetcher must not
        user = FETCHER_USER
    if user is not None:
        container["securityContext"]["runAsUser"] = user
    container["volumeMounts"].append({"name": TMP_VOLUME, "mountPath": "/tmp"})
    return container
