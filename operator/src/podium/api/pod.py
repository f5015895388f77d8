"""The part of a ModelDeployment's spec that goes into its pods as it is."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from podium.api import checks, rules
from podium.api.base import ApiModel, Name
from podium.api.embedded import (
    Affinity,
    LocalObjectReference,
    Toleration,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
)
from podium.api.schema import ListKind, Rule, Rules

Labels = dict[str, Annotated[str, Field(max_length=63)]]
Annotations = dict[str, Annotated[str, Field(max_length=8192)]]
GroupId = Annotated[int, Field(ge=0, le=2147483647)]


class SELinux(ApiModel):
    """An SELinux label, as far as the restricted profile lets it be chosen."""

    level: str | None = Field(
        default=None, max_length=256, description="Level, such as s0:c123,c456. Default: the container engine's choice."
    )
    type: Literal["container_t", "container_init_t", "container_kvm_t", "container_engine_t"] | None = Field(
        default=None, description="Type. Default: the container engine's choice, as a rule container_t."
    )


class PodSecurity(ApiModel):
    """The part of a pod's security context that a ModelDeployment may set; the rest is the restricted profile."""

    fs_group: int | None = Field(
        default=None,
        ge=0,
        le=2147483647,
        description="Group that owns the pod's volumes, a numeric id. Default: the runtime's.",
    )
    supplemental_groups: Annotated[list[GroupId], ListKind("set")] = Field(
        default=[], max_length=32, description="Supplementary groups of the processes, numeric ids. Default: none."
    )
    run_as_user: int | None = Field(
        default=None,
        ge=1,
        le=2147483647,
        description="User of the processes, a numeric id other than 0 (root). Default: the runtime's.",
    )
    se_linux_options: SELinux = Field(
        default=SELinux(), description="SELinux label of the containers. Default: the container engine's choice."
    )


class FetchSecurity(ApiModel):
    """The part of the fetcher's security context that a ModelDeployment may set, if its ModelRuntime allows it."""

    run_as_user: int | None = Field(
        default=None,
        ge=1,
        le=2147483647,
        description=("User, a numeric id other than 0 (root), such as that of a mesh's sidecar. Default: the pod's."),
    )


class PodTemplate(ApiModel):
    """Settings of the pods beside the model and its runtime: labels, scheduling, volumes and so on."""

    cel = (
        Rule(
            "!has(self.volumeMounts) || self.volumeMounts.all(mount, "
            "has(self.volumes) && self.volumes.exists(volume, volume.name == mount.name))",
            "volumeMounts: name must be that of an entry of podTemplate.volumes: add the volume or correct the name",
            field=".volumeMounts",
        ),
    )

    labels: Annotated[Labels, Rules(rules.OWN_LABELS)] = Field(
        default={},
        max_length=50,
        description=(
            "Labels of the pods. Keys of podium.dev, app.kubernetes.io/managed-by and app.kubernetes.io/instance are "
            "refused. Default: none."
        ),
    )
    annotations: Annotated[Annotations, Rules(rules.OWN_ANNOTATIONS)] = Field(
        default={}, max_length=50, description="Annotations of the pods. Keys of podium.dev are refused. Default: none."
    )
    node_selector: Annotated[Labels, Rules(rules.LABELS)] = Field(
        default={}, max_length=50, description="Labels that a node must have to run the pods. Default: none."
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=50, description="Node taints that the pods tolerate. Default: none."
    )
    affinity: Affinity = Field(
        default={},
        description="Node affinity, and affinity and anti-affinity to other pods. Default: none.",
    )
    topology_spread_constraints: Annotated[
        list[TopologySpreadConstraint], ListKind("map", ("topologyKey", "whenUnsatisfiable"))
    ] = Field(default=[], max_length=16, description="How the pods are spread over zones and nodes. Default: none.")
    service_account_name: Name | None = Field(
        default=None,
        description=(
            "ServiceAccount of the pods; its token is not mounted. Default: the namespace's default ServiceAccount."
        ),
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], ListKind("map", ("name",))] = Field(
        default=[], max_length=16, description="Secrets with credentials of image registries. Default: none."
    )
    volumes: Annotated[list[Volume], ListKind("map", ("name",))] = Field(
        default=[],
        max_length=32,
        description=(
            "Volumes of the pods. Kinds: configMap, secret, emptyDir, persistentVolumeClaim, projected, csi and "
            "image. Names that begin with podium- are refused. Default: none."
        ),
    )
    volume_mounts: Annotated[list[VolumeMount], ListKind("map", ("mountPath",))] = Field(
        default=[],
        max_length=32,
        description=("Mounts of these volumes in the model container; /models and /tmp are reserved. Default: none."),
    )
    priority_class_name: Name | None = Field(
        default=None,
        description="PriorityClass of the pods. Default: the cluster's default.",
    )
    runtime_class_name: Name | None = Field(
        default=None,
        description="RuntimeClass of the pods. Default: the cluster's default.",
    )
    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        description=(
            "Seconds a pod gets to shut down, more than the runtime's drain.preStopSeconds. Default: the runtime's "
            "drain.preStopSeconds plus drain.seconds."
        ),
    )
    security_context: PodSecurity = Field(
        default=PodSecurity(),
        description=(
            "User and groups of the pods; the rest is the restricted Pod Security Standard. Default: the runtime's."
        ),
    )
    fetch_security_context: FetchSecurity = Field(
        default=FetchSecurity(),
        description="User of the init container fetch, if the ModelRuntime allows one. Default: the pod's.",
    )

    @model_validator(mode="after")
    def _no_more_than_its_author_may(self) -> Self:
        checks.labels("labels", self.labels)
        checks.annotations("annotations", self.annotations)
        checks.volumes("volumes", self.volumes)
        return self
