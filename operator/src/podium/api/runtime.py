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

    http: Port = Field(description="Port of HTTP requests; the Service's port 80 leads to it. No default.")
    grpc: Port | None = Field(
        default=None,
        description="Port of gRPC requests; the Service's port 8081 leads to it. Default: none.",
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
    """Which counters of the runtime's Prometheus text say what it has answered."""

    path: str = Field(default="/metrics", max_length=256, description="Default: /metrics.")
    port: Literal["http", "metrics"] = Field(default="http", description="Which of ports serves it. Default: http.")
    total: list[Series] = Field(
        max_length=8,
        description="Series whose sum counts all answers. No default.",
    )
    errors: list[Series] = Field(
        max_length=8,
        description="Series whose sum counts those that failed (5xx). No default.",
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
    template: Annotated[str, TEMPLATE] = Field(max_length=16384, description="The file's text, a template. No default.")


class Probes(ApiModel):
    """How the container says that it is started, ready, alive. Strings inside are templates."""

    startup: Probe | None = Field(
        default=None,
        description=("Asked until it answers, for an hour at most. Default: the readiness probe's handler."),
    )
    readiness: Probe = Field(description="Only a ready pod gets requests. No default.")
    liveness: Probe | None = Field(default=None, description="Restarts a container that fails it. Default: none.")


class Drain(ApiModel):
    """How a pod takes its leave."""

    pre_stop_seconds: int = Field(
        default=5,
        ge=0,
        le=600,
        description=("Seconds between a pod's removal from the Service and the signal to its container. Default: 5."),
    )
    seconds: int = Field(
        default=25,
        ge=1,
        le=3000,
        description="Seconds that the container then gets to finish its requests. Default: 25.",
    )


class RuntimeSecurity(ApiModel):
    """Security contexts where the restricted profile does not do."""

    pod: PodSecurityContext = Field(
        default={},
        description="Fields of the pods'; they win over the restricted profile's. Default: none.",
    )
    container: SecurityContext = Field(
        default={},
        description=("Fields of the model container's; they win over the restricted profile's. Default: none."),
    )
    fetch_user: Literal["NonRoot", "Fixed"] = Field(
        default="NonRoot",
        description=(
            "Users that a ModelDeployment may choose for its fetcher. NonRoot: all but root. Fixed: none. "
            "Default: NonRoot."
        ),
    )


class ModelRuntimeSpec(ApiModel):
    """How one serving runtime is run. Strings of image, command, args, env, files and probes are templates."""

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
        description="Formats of models that it can serve, such as onnx. Default: none, any is taken.",
    )
    protocol: Literal["OIPv2", "TorchServe", "Plain"] = Field(
        default="Plain",
        description=(
            "What its clients speak. OIPv2: the Open Inference Protocol, version 2. TorchServe: its own. "
            "Plain: any HTTP. Default: Plain."
        ),
    )
    layout: Literal["File", "Folder", "Store"] = Field(
        default="Folder",
        description=(
            "What {{path}} names. File: the model's one file. Folder: the folder of the model's files. Store: a "
            "folder that holds the model as one archive. Default: Folder."
        ),
    )
    files: Annotated[list[File], ListKind("map", ("path",))] = Field(
        default=[], max_length=16, description="Files that are written before the container starts. Default: none."
    )
    probes: Probes = Field(description="How the container says that it is started, ready, alive. No default.")
    drain: Drain = Field(default=Drain(), description="How a pod takes its leave. Default: 5 s, then 25 s.")
    metrics: Counters | None = Field(
        default=None,
        description=("What its pods count, in Prometheus' text. Default: none."),
    )
    resources: ResourceRequirements = Field(
        default={},
        description=("Of the model's container: cores of CPU, bytes of memory. Default: none."),
    )
    security_context: RuntimeSecurity = Field(
        default=RuntimeSecurity(),
        description="Exceptions to the restricted profile. Default: none.",
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
