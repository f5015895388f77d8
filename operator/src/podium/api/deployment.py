"""The spec of a ModelDeployment.

Field by field what a person may write. Every description says the unit and the default: they are what
`kubectl explain modeldeployment.spec` shows.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from podium.api import checks
from podium.api.base import (
    MAX_REPLICAS,
    NO_SPACE_PATTERN,
    QUANTITY_PATTERN,
    ApiModel,
    Duration,
    FieldError,
    IntOrPercent,
    Name,
)
from podium.api.durations import parse_duration
from podium.api.embedded import (
    Affinity,
    Behavior,
    EnvVar,
    LocalObjectReference,
    MetricSpec,
    Object,
    ResourceRequirements,
    Toleration,
    TopologySpreadConstraint,
    Volume,
    VolumeMount,
)


class Storage(ApiModel):
    """Where the fetched model is kept inside the pod."""

    size_limit: str = Field(
        default="10Gi",
        min_length=1,
        max_length=32,
        pattern=QUANTITY_PATTERN,
        description=(
            "Largest size of the fetched model, in bytes with a suffix such as Mi or Gi: the limit of the emptyDir "
            "that it is fetched into and the pod's request for ephemeral storage. Default: 10Gi."
        ),
    )


class Model(ApiModel):
    """The bytes to serve and where they come from."""

    uri: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=r"^(s3|https|pvc)://[^\s/?#@]+(/[^\s]*)?$",
        description=(
            "Where the model is: s3://BUCKET/KEY, https://HOST/PATH or pvc://CLAIM/PATH; a file or a folder. Default: "
            "none, and then nothing is fetched: the runtime's image brings its own model."
        ),
    )
    format: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
        description=(
            "Format of the model, one of the runtime's formats, such as onnx or torchscript. Default: none, and then "
            "the runtime takes the model as it is."
        ),
    )
    version: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=r"^[^\s]([^\r\n]*[^\s])?$",
        description=(
            "Name of this version, for people: shown in status and kept in an annotation. Default: the last segment "
            "of the URI."
        ),
    )
    sha256: str | None = Field(
        default=None,
        min_length=64,
        max_length=64,
        pattern=r"^[0-9a-f]{64}$",
        description=(
            "SHA-256 of the model's bytes, 64 lower-case hexadecimal digits; other bytes are refused before they are "
            "served. Default: none, and then the bytes are not checked."
        ),
    )
    credentials_secret: Name | None = Field(
        default=None,
        description=(
            "Name of a Secret in the same namespace with the credentials of the model store: AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, ca.crt. Default: none, and then the store is read "
            "without credentials."
        ),
    )
    storage: Storage = Field(
        default=Storage(),
        description="Room for the fetched model inside the pod. Default: 10Gi.",
    )


class RuntimeRef(ApiModel):
    """Which ModelRuntime runs the model, and what differs from it here."""

    name: Name = Field(
        default="onnxruntime",
        description="Name of the ModelRuntime that runs the model. Default: onnxruntime.",
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=NO_SPACE_PATTERN,
        description="Image to run instead of the runtime's own, with a tag or a digest. Default: the runtime's image.",
    )
    args: list[str] = Field(
        default=[], max_length=64, description="Arguments that are appended to the runtime's own. Default: none."
    )
    env: list[EnvVar] = Field(
        default=[],
        max_length=100,
        description=(
            "Environment variables of the model's container, merged by name with the runtime's: these win. Names that "
            "begin with PODIUM_ are refused. Default: none."
        ),
    )
    resources: ResourceRequirements = Field(
        default={},
        description=(
            "Requests and limits of the model's container; what is not set here is the runtime's. Units: cores of "
            "CPU, bytes of memory. Default: the runtime's resources."
        ),
    )


class PodSecurity(ApiModel):
    """The part of a pod's security context that a ModelDeployment may set; the rest is the restricted profile."""

    fs_group: int | None = Field(
        default=None,
        ge=0,
        le=2147483647,
        description="Group that owns the pod's volumes, a numeric id. Default: the runtime's.",
    )
    supplemental_groups: list[int] = Field(
        default=[], max_length=32, description="Further groups of the processes, numeric ids. Default: none."
    )
    run_as_user: int | None = Field(
        default=None,
        ge=1,
        le=2147483647,
        description="User of the processes, a numeric id and not 0 (root). Default: the runtime's.",
    )
    se_linux_options: Object = Field(
        default={}, description="SELinux label of the containers. Default: the container engine's choice."
    )


class PodTemplate(ApiModel):
    """What the pods get beyond the model and its runtime."""

    labels: dict[str, str] = Field(
        default={},
        max_length=50,
        description=(
            "Labels of the pods. Keys of podium.dev are refused, and so are app.kubernetes.io/managed-by and "
            "app.kubernetes.io/instance. Default: none."
        ),
    )
    annotations: dict[str, str] = Field(
        default={}, max_length=50, description="Annotations of the pods. Keys of podium.dev are refused. Default: none."
    )
    node_selector: dict[str, str] = Field(
        default={}, max_length=50, description="Labels that a node must have to run the pods. Default: none."
    )
    tolerations: list[Toleration] = Field(
        default=[], max_length=50, description="Taints of nodes that the pods tolerate. Default: none."
    )
    affinity: Affinity = Field(
        default={},
        description="Which nodes the pods prefer or need, and which pods they want beside them or not. Default: none.",
    )
    topology_spread_constraints: list[TopologySpreadConstraint] = Field(
        default=[], max_length=16, description="How the pods are spread over zones and nodes. Default: none."
    )
    service_account_name: Name | None = Field(
        default=None,
        description=(
            "ServiceAccount of the pods; its token is not mounted. Default: the namespace's own, named default."
        ),
    )
    image_pull_secrets: list[LocalObjectReference] = Field(
        default=[], max_length=16, description="Secrets with credentials of image registries. Default: none."
    )
    volumes: list[Volume] = Field(
        default=[],
        max_length=32,
        description=(
            "Volumes of the pods, of the kinds configMap, secret, emptyDir, persistentVolumeClaim, projected, csi and "
            "image. Names that begin with podium- are refused. Default: none."
        ),
    )
    volume_mounts: list[VolumeMount] = Field(
        default=[],
        max_length=32,
        description=(
            "Where those volumes are mounted in the model's container; /models and /tmp are Podium's. Default: none."
        ),
    )
    priority_class_name: Name | None = Field(
        default=None,
        description="PriorityClass of the pods. Default: the cluster's own.",
    )
    runtime_class_name: Name | None = Field(
        default=None,
        description="RuntimeClass of the pods. Default: the cluster's own.",
    )
    termination_grace_period_seconds: int | None = Field(
        default=None,
        ge=1,
        le=3600,
        description=(
            "Seconds that a pod gets to end its requests; more than the runtime's drain.preStopSeconds. Default: the "
            "runtime's drain.preStopSeconds plus drain.seconds."
        ),
    )
    security_context: PodSecurity = Field(
        default=PodSecurity(),
        description="User and groups of the pods; all else is the restricted profile. Default: the runtime's.",
    )

    @model_validator(mode="after")
    def _no_more_than_its_author_may(self) -> Self:
        checks.own_keys("labels", self.labels)
        checks.own_keys("annotations", self.annotations)
        checks.volumes("volumes", self.volumes)
        return self


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler of each revision (autoscaling/v2)."""

    min_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS, description="Fewest pods. Default: 1.")
    max_replicas: int = Field(ge=1, le=MAX_REPLICAS, description="Most pods, at least minReplicas. No default.")
    metrics: list[MetricSpec] = Field(
        default=[],
        max_length=20,
        description="What the number of pods follows, as in autoscaling/v2. Default: 80 % of the requested CPU.",
    )
    behavior: Behavior = Field(
        default={}, description="How fast it scales up and down, as in autoscaling/v2. Default: Kubernetes' own."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise FieldError("minReplicas", self.min_replicas, f"must not exceed maxReplicas, {self.max_replicas}")
        return self


class Disruption(ApiModel):
    """The PodDisruptionBudget that a ModelDeployment of two or more replicas gets."""

    max_unavailable: IntOrPercent = Field(
        default=1,
        description=(
            "How many pods a node drain may take away at once: a number of pods, or a share such as 25%. Default: 1."
        ),
    )


class Traffic(ApiModel):
    """How requests reach the pods."""

    router: Literal["None"] = Field(
        default="None",
        description="What divides the requests between revisions. None: the Service alone. Default: None.",
    )


class RollingUpdate(ApiModel):
    """Sizes of a RollingUpdate."""

    max_surge: IntOrPercent = Field(
        default="25%",
        description=(
            "How many pods above replicas may exist during an update: a number of pods, or a share such as 25%, "
            "rounded up. Not 0 together with maxUnavailable. Default: 25%."
        ),
    )
    max_unavailable: IntOrPercent = Field(
        default=0,
        description=(
            "How many of the replicas may be unavailable during an update: a number of pods, or a share such as 25%, "
            "rounded down. Default: 0."
        ),
    )

    @model_validator(mode="after")
    def _can_move(self) -> Self:
        if checks.is_zero(self.max_surge) and checks.is_zero(self.max_unavailable):
            raise FieldError(
                "maxSurge", self.max_surge, "must not be 0 while maxUnavailable is 0: no pod could be replaced"
            )
        return self


class Rollout(ApiModel):
    """How a new revision replaces the one that serves."""

    strategy: Literal["RollingUpdate", "BlueGreen"] = Field(
        default="RollingUpdate",
        description=(
            "RollingUpdate: pod by pod. BlueGreen: the new revision comes up in full beside the old one, then all "
            "requests move at once. Default: RollingUpdate."
        ),
    )
    rolling_update: RollingUpdate = Field(
        default=RollingUpdate(), description="Sizes of a RollingUpdate. Default: maxSurge 25%, maxUnavailable 0."
    )
    min_ready_seconds: int = Field(
        default=10,
        ge=0,
        le=3600,
        description="Seconds for which a pod must be ready to count as available. Default: 10.",
    )
    progress_deadline: Duration = Field(
        default="10m",
        description=(
            "Time within which a new revision must become available; after it the revision is rolled back. A duration "
            "such as 10m, more than minReadySeconds. Default: 10m."
        ),
    )
    promotion: Literal["Automatic", "Manual"] = Field(
        default="Automatic",
        description=(
            "Who promotes an available BlueGreen candidate. Automatic: Podium. Manual: a person, by the command "
            "promote. Default: Automatic."
        ),
    )
    scale_down_delay: Duration = Field(
        default="5m",
        description=(
            "Time for which the replaced revision of a BlueGreen rollout stays warm, so that one command moves back "
            "to it. A duration such as 5m. Default: 5m."
        ),
    )
    revision_history_limit: int = Field(
        default=5, ge=0, le=100, description="Number of old revisions that are kept as a record. Default: 5."
    )

    @model_validator(mode="after")
    def _deadline_can_be_met(self) -> Self:
        if parse_duration(self.progress_deadline) <= self.min_ready_seconds:
            raise FieldError(
                "progressDeadline",
                self.progress_deadline,
                f"must be longer than minReadySeconds, {self.min_ready_seconds} s: no pod could be available in time",
            )
        return self


class ModelDeploymentSpec(ApiModel):
    """What a person wants served, and how."""

    model: Model = Field(default=Model(), description="The model. Default: none, the runtime's image brings its own.")
    runtime: RuntimeRef = Field(
        default=RuntimeRef(),
        description="What runs the model. Default: the ModelRuntime onnxruntime.",
    )
    pod_template: PodTemplate = Field(
        default=PodTemplate(), description="What the pods get beyond the model and its runtime. Default: nothing."
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=MAX_REPLICAS,
        description="Number of pods; with autoscaling the first revision's initial number only. Default: 1.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Lets the number of pods follow the load. Default: none, replicas says the number."
    )
    disruption: Disruption = Field(
        default=Disruption(),
        description="What node drains may take away, from two replicas on. Default: one pod at a time.",
    )
    traffic: Traffic = Field(
        default=Traffic(),
        description="How requests reach the pods. Default: through the Service alone.",
    )
    rollout: Rollout = Field(
        default=Rollout(), description="How a new revision replaces the one that serves. Default: a RollingUpdate."
    )
    paused: bool = Field(
        default=False,
        description=(
            "Holds rollouts: none starts, goes on or is promoted; what crashes is still rolled back. Default: false."
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks.env("runtime.env", self.runtime.env)
        if self.autoscaling is not None and self.replicas == 0:
            raise FieldError("replicas", 0, "must be at least 1 with autoscaling: remove autoscaling to scale to zero")
        return self

    def inputs(self) -> dict[str, Any]:
        """What makes a revision: model, runtime and podTemplate as on the wire, fields equal to their default left out.

        A default that a later version adds therefore never changes it.
        """
        return {key: value for key, value in self.wire().items() if key in ("model", "runtime", "podTemplate")}
