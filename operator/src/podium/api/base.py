"""What all typed parts of the API share: how they are read, what an error says, and the recurring kinds of values."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from podium.api import durations

MAX_REPLICAS: Final = 10_000
QUANTITY_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
DNS_LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
NO_SPACE_PATTERN: Final = r"^[^\s]+$"
PERCENT_PATTERN: Final = r"^[0-9]{1,3}%$"


class InvalidSpec(ValueError):
    """A spec that the operator cannot take: `field` is its path, `value` what stood there, the text names both."""

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.value = value
        self.message = message


class FieldError(ValueError):
    """Raised inside a model's validator: `field` is the path below that model, as on the wire."""

    def __init__(self, field: str, value: object, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.value = value


class ApiModel(BaseModel):
    """A part of the API: snake_case in Python, camelCase on the wire, frozen.

    Unknown fields are ignored: during an upgrade the CRD is newer than the operator for a while, and the defaults of
    its new fields must not turn every object into an invalid one. Types are strict, as the API server's are.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )

    @classmethod
    def parse(cls, obj: dict[str, Any], path: str = "spec") -> Self:
        """The typed form of `obj`, the part of an object that is at `path`; raises InvalidSpec for the first error."""
        try:
            return cls.model_validate(obj)
        except ValidationError as error:
            raise _invalid(error, path) from error

    def wire(self) -> dict[str, Any]:
        """As on the wire, with every field that equals its default removed; the same input gives the same dict."""
        return self.model_dump(by_alias=True, exclude_defaults=True)


def _invalid(error: ValidationError, field: str) -> InvalidSpec:
    first = error.errors(include_url=False)[0]
    for part in first["loc"]:
        if isinstance(part, int):
            field += f"[{part}]"
        elif part.isalnum() and part not in ("int", "str"):  # a union adds the type that was tried: no part of the path
            field += f".{part}"
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        return InvalidSpec(f"{field}.{cause.field}", cause.value, f"{str(cause.value)[:200]!r}: {cause}")
    text = str(cause) if cause is not None else first["msg"]
    if first["type"] == "missing":
        return InvalidSpec(field, None, "must be set")
    return InvalidSpec(field, first["input"], f"{str(first['input'])[:200]!r}: {text}")


def _duration(text: str) -> str:
    durations.parse_duration(text)
    return text


def _int_or_percent(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(PERCENT_PATTERN, value):
        raise ValueError("write a number of pods such as 1, or a share such as 25%")
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    return value


Duration = Annotated[
    str,
    AfterValidator(_duration),
    WithJsonSchema({"type": "string", "maxLength": durations.MAX_LENGTH, "pattern": durations.PATTERN}),
]
"""A duration in Go's notation; `durations.parse_duration` gives its seconds."""

IntOrPercent = Annotated[
    int | str,
    AfterValidator(_int_or_percent),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "maxLength": 10, "pattern": PERCENT_PATTERN}),
]
"""A number of pods, or a share of the replicas as `25%`."""

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN_PATTERN)]
"""The name of another object."""

Port = Annotated[int, Field(ge=1, le=65535)]
