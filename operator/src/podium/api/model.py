"""The part of a ModelDeployment's spec that says what is served and by which runtime."""

from typing import Annotated, Literal

from pydantic import Field

from podium.api.base import ApiModel, Image, Name
from podium.api.defaults import Former
from podium.api.embedded import EnvVar, ResourceRequirements
from podium.api.schema import Format, ListKind, Rule

# Inside of a character class. Versions, and the ends of URIs, which stand for one, are shown to people.
_CONTROL = r"\x00-\x1f\x7f-\x9f"

Uri = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Format(r"^(s3|https|pvc)://.*$", "must begin with s3://, https:// or pvc://: put the model in one of these stores"),
    Format(
        rf"^[a-z0-9]+://[^\s/?#@{_CONTROL}]+(/[^\s{_CONTROL}]*)?$",
        "must be SCHEME://BUCKET, HOST or CLAIM, then /PATH, without spaces and control characters; credentials go "
        "into credentialsSecret",
    ),
]

Argument = Annotated[str, Field(max_length=16384)]
FormatName = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Format(
        r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
        "must be of letters, digits, -, . and _, beginning and ending with a letter or digit, such as onnx",
    ),
]
Version = Annotated[
    str,
    Field(min_length=1, max_length=128),
    Format(
        rf"^[^\s{_CONTROL}]([^{_CONTROL}]*[^\s{_CONTROL}])?$",
        "must be one line without control characters that neither begins nor ends with a space, such as 2026-03-01",
    ),
]
Sha256 = Annotated[
    str,
    Field(min_length=1, max_length=64),
    Format(r"^[0-9a-f]{64}$", "must be 64 lower-case hexadecimal digits, as sha256sum prints them"),
]


class Storage(ApiModel):
    """Where the fetched model is kept inside the pod."""

    size_limit: Annotated[
        str,
        Format(
            r"^[1-9][0-9]{0,14}(\.[0-9]{1,9})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
            "must be a number of bytes above 0, with a suffix such as Mi or Gi if need be: 500Mi, 10Gi",
        ),
        Former("10Gi"),
    ] = Field(
        default="2Gi",
        min_length=1,
        max_length=32,
        description=(
            "Largest size of the fetched model, in bytes with a suffix such as Mi or Gi: size limit of its emptyDir, "
            "and the pod's request for ephemeral storage. The pod's limit adds 1Gi for /tmp and logs; where the "
            "runtime unpacks the model, it is twice this size plus 1Gi. 10Gi, an earlier default, counts as not set. "
            "Default: 2Gi."
        ),
    )


class Model(ApiModel):
    """The bytes to serve and where they come from."""

    cel = (
        Rule(
            "has(self.uri) || !has(self.sha256)",
            "sha256: without uri there are no bytes to check: set model.uri or remove sha256",
            field=".sha256",
        ),
        Rule(
            "has(self.uri) || !has(self.credentialsSecret)",
            "credentialsSecret: without uri there is no store to log in to: set model.uri or remove credentialsSecret",
            field=".credentialsSecret",
        ),
    )

    uri: Uri | None = Field(
        default=None,
        description=(
            "Location of the model, a file or a folder: s3://BUCKET/KEY, https://HOST/PATH or pvc://CLAIM/PATH. "
            "Default: none; nothing is fetched, and the runtime's image contains the model."
        ),
    )
    format: FormatName | None = Field(
        default=None,
        description=(
            "Format of the model, one of the runtime's formats, such as onnx or mar. Default: none, not checked."
        ),
    )
    version: Version | None = Field(
        default=None,
        description=(
            "Version of the model, shown in status and kept in an annotation. Default: the last segment of the URI "
            "that is no general word such as model: 7 for s3://models/fraud/7/model.onnx."
        ),
    )
    sha256: Sha256 | None = Field(
        default=None,
        description=(
            "SHA-256 of the model file, 64 lower-case hexadecimal digits; for a folder, of its sorted list of files. "
            "Any other model is refused. Default: none, not checked."
        ),
    )
    credentials_secret: Name | None = Field(
        default=None,
        description=(
            "Name of a Secret in the same namespace with the credentials of the model store: AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, ca.crt. Default: none, anonymous access."
        ),
    )
    storage: Storage = Field(
        default=Storage(),
        description="Disk space for the fetched model. Default: 2Gi.",
    )


class RuntimeRef(ApiModel):
    """Which ModelRuntime runs the model, and what differs from it here."""

    name: Name = Field(
        default="onnxruntime",
        description="Name of the ModelRuntime that runs the model. Default: onnxruntime.",
    )
    image: Image | None = Field(
        default=None,
        description="Image to run instead of the runtime's own, with a tag or a digest. Default: the runtime's image.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None,
        description=(
            "When the kubelet pulls the image. Always: each time a pod starts. IfNotPresent: if the node does not "
            "have it. Never: not at all. Default: Always for the tag latest or none, else IfNotPresent."
        ),
    )
    args: list[Argument] = Field(
        default=[], max_length=64, description="Arguments appended to those of the runtime. Default: none."
    )
    env: Annotated[list[EnvVar], ListKind("map", ("name",))] = Field(
        default=[],
        max_length=100,
        description=(
            "Environment variables of the model container; they override those of the runtime by name. Names that "
            "begin with PODIUM_ are refused. Default: none."
        ),
    )
    resources: ResourceRequirements = Field(
        default={},
        description=(
            "Resource requests and limits of the model container, in CPU cores and bytes; those not set here are the "
            "runtime's. Default: the runtime's resources."
        ),
    )
