"""The spec of a ModelRuntime: how one serving runtime is run. Cluster admins write these."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from podium.api import checks, rules, templates
from podium.api.base import ApiModel, FieldError, Image, Port
from podium.api.embedded import (
    MAX_TEMPLATE,
    PodSecurityContext,
    Probe,
    ResourceRequirements,
    RuntimeEnvVar,
    SecurityContext,
)
from podium.api.model import FormatName
from podium.api.schema import Format, ListKind, Rule, Rules

TEMPLATE = Rules((rules.TEMPLATE,))
Argument = Annotated[str, Field(max_length=MAX_TEMPLATE), TEMPLATE]


class Ports(ApiModel):
    """Ports that the container listens on."""

    cel = (
        Rule(
            "!has(self.grpc) || self.grpc != self.http",
            "grpc: must differ from http, since the Service tells them apart by port: choose another or leave grpc out",
            field=".grpc",
        ),
    )

    http: Port = Field(description="Port of HTTP requests; the Service forwards its port 80 to it. No default.")
    grpc: Port | None = Field(
        default=None,
        description="Port of gRPC requests; the Service forwards its port 8081 to it. Default: none.",
    )
    metrics: Port | None = Field(default=None, description="Port of Prometheus metrics. Default: none.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.grpc == self.http:
            raise FieldError("grpc", self.grpc, "must differ from http")
        return self


SERIES = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_]\w*=~?"[^"\\]*"(,[a-zA-Z_]\w*=~?"[^"\\]*")*\})?')
"""A series, checked here alone and not by the API server: the CRDs are near the size that a client may apply."""
Series = Annotated[str, Field(max_length=256)]


class Counters(ApiModel):
    """Which Prometheus series of the runtime count its responses."""

    path: str = Field(default="/metrics", max_length=256, description="HTTP path of the metrics. Default: /metrics.")
    port: Literal["http", "metrics"] = Field(
        default="http", description="Which of the ports serves them. Default: http."
    )
    total: list[Series] = Field(
        max_length=8,
        description="Series whose sum counts all responses. No default.",
    )
    errors: list[Series] = Field(
        max_length=8,
        description="Series whose sum counts failed responses (5xx). No default.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if not re.fullmatch("/[!-~]*", self.path):
            raise FieldError("path", self.path, "must begin with / and have no spaces: write one such as /metrics")
        for field in ("total", "errors"):
            if not getattr(self, field):
                raise FieldError(field, [], "must name at least one series")
            for place, series in enumerate(getattr(self, field)):
                if not SERIES.fullmatch(series):
                    way = 'write a name, with = or =~ for its labels if need be: requests_total{code=~"5.."}'
                    raise FieldError(f"{field}[{place}]", series, f"is no series: {way}")
                for pattern in re.findall(r'=~"([^"]*)"', series):
                    try:
                        re.compile(pattern)
                    except re.error as error:
                        raise FieldError(f"{field}[{place}]", series, f"{pattern} is no pattern: {error}") from error
        return self


class File(ApiModel):
    """A file that is written before the container starts."""

    path: Annotated[
        str,
        Format(
            r"^(/\.?[A-Za-z0-9_][-._A-Za-z0-9]*)+$",
            "must be an absolute path of letters, digits, -, . and _, such as /etc/server/config.properties",
        ),
    ] = Field(
        min_length=2,
        max_length=512,
        description="Absolute path in the container. No default.",
    )
    template: Annotated[str, TEMPLATE] = Field(
        max_length=16384, description="Content of the file, a template. No default."
    )


class Probes(ApiModel):
    """Startup, readiness and liveness probe. Strings inside are templates."""

    startup: Probe | None = Field(
        default=None,
        description=("Startup probe; the container has an hour to pass it. Default: the readiness probe's handler."),
    )
    readiness: Probe = Field(description="Readiness probe: only a pod that passes it gets requests. No default.")
    liveness: Probe | None = Field(
        default=None, description="Liveness probe: a container that fails it is restarted. Default: none."
    )


class Drain(ApiModel):
    """How a pod shuts down."""

    pre_stop_seconds: int = Field(
        default=5,
        ge=0,
        le=600,
        description="Seconds a pod waits before SIGTERM, so that it leaves the Service first. Default: 5.",
    )
    seconds: int = Field(
        default=25,
        ge=1,
        le=3000,
        description="Seconds from SIGTERM for the container to finish its requests. Default: 25.",
    )


class RuntimeSecurity(ApiModel):
    """Exceptions to the restricted Pod Security Standard."""

    pod: PodSecurityContext = Field(
        default={},
        description=("Fields of the pod's security context; they override the restricted profile. Default: none."),
    )
    container: SecurityContext = Field(
        default={},
        description="Fields of the model container's security context, likewise. Default: none.",
    )
    fetch_user: Literal["NonRoot", "Fixed"] = Field(
        default="NonRoot",
        description=(
            "Which users a ModelDeployment may set for the init container fetch. NonRoot: all but root. Fixed: none. "
            "Default: NonRoot."
        ),
    )


class ModelRuntimeSpec(ApiModel):
    """How the runtime is run. Image, command, args, env, files and probes may hold variables such as {{path}}."""

    image: Annotated[Image, TEMPLATE] = Field(
        description="Image of the model's container, with a tag or a digest. No default.",
    )
    command: list[Argument] = Field(default=[], max_length=64, description="Entry point. Default: the image's own.")
    args: list[Argument] = Field(default=[], max_length=64, description="Arguments. Default: the image's own.")
    env: Annotated[list[RuntimeEnvVar], ListKind("map", ("name",))] = Field(
        default=[],
        max_length=100,
        description="Environment variables. Names that begin with PODIUM_ are refused. Default: none.",
    )
    ports: Ports = Field(description="Ports that the container listens on. No default.")
    formats: Annotated[list[FormatName], ListKind("set")] = Field(
        default=[],
        max_length=32,
        description="Model formats it can serve, such as onnx. Default: none, any format is accepted.",
    )
    protocol: Literal["OIPv2", "TorchServe", "Plain"] = Field(
        default="Plain",
        description=(
            "Protocol of its clients. OIPv2: the Open Inference Protocol, version 2. TorchServe: TorchServe's own. "
            "Plain: any HTTP. Default: Plain."
        ),
    )
    layout: Literal["File", "Folder", "Store"] = Field(
        default="Folder",
        description=(
            "What {{path}} stands for. File: the model's only file. Folder: the folder with the model's files. "
            "Store: a folder with the model as one archive. Default: Folder."
        ),
    )
    files: Annotated[list[File], ListKind("map", ("path",))] = Field(
        default=[], max_length=16, description="Files written before the container starts. Default: none."
    )
    probes: Probes = Field(description="Probes of the model container. No default.")
    drain: Drain = Field(default=Drain(), description="How a pod shuts down. Default: 5 s, then 25 s.")
    metrics: Counters | None = Field(
        default=None,
        description="Prometheus metrics of the pods that count responses and errors. Default: none.",
    )
    resources: ResourceRequirements = Field(
        default={},
        description=("Resource requests and limits of the model container, in CPU cores and bytes. Default: none."),
    )
    security_context: RuntimeSecurity = Field(
        default=RuntimeSecurity(),
        description="Exceptions to the restricted Pod Security Standard. Default: none.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        checks.env("env", self.env)
        if self.metrics is not None and self.metrics.port == "metrics" and self.ports.metrics is None:
            raise FieldError("metrics.port", "metrics", "ports.metrics is not set: set it, or write http")
        for path, text in templates.strings(self.templated()):
            try:
                templates.check(text)
            except templates.InvalidTemplate as error:
                raise FieldError(path, text, str(error)) from error
        return self

    def templated(self) -> dict[str, Any]:
        """The parts whose strings are templates, as on the wire."""
        return {
            key: value
            for key, value in self.wire().items()
            if key in ("image", "command", "args", "env", "files", "probes")
        }
