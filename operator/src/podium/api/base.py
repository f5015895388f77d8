"""What all typed parts of the API share: how they are read, what an error says, and the recurring kinds of values."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

from podium.api import durations
from podium.api.schema import Format, JsonSchema, Rule, Rules, add_rules

MAX_REPLICAS: Final = 10_000
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
NAME_HELP: Final = "must be a name of lower-case letters, digits, - and ., beginning and ending with a letter or digit"
PERCENT_PATTERN: Final = r"^[0-9]{1,3}%$"
PERCENT_HELP: Final = "must be a number of pods such as 1, or a share such as 25%"


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

    cel: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules of the CRD that concern several fields of this part."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: nobody changes one, and else every default would be copied at every reading of a spec."""
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        add_rules(handler.resolve_ref_schema(schema), cls.cel)
        return schema

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


def _int_or_percent(value: int | str) -> int | str:
    if isinstance(value, str) and not re.fullmatch(PERCENT_PATTERN, value):
        raise ValueError(PERCENT_HELP)
    if isinstance(value, int) and value < 0:
        raise ValueError("must not be negative")
    return value


@dataclass(frozen=True)
class Span:
    """A duration must be from `least` to `most`, for the API server and in Python alike; `advice` is the way out."""

    least: str
    most: str
    advice: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        bounds = f"duration(self) >= duration('{self.least}') && duration(self) <= duration('{self.most}')"
        add_rules(schema, (Rule(rf"!self.matches(r'{durations.PATTERN}') || {bounds}", self._message),))
        return schema

    @property
    def _message(self) -> str:
        return f"must be from {self.least} to {self.most}: {self.advice}"

    def check(self, text: str) -> str:
        """`text` as it is; ValueError when it is no duration, or not within the bounds."""
        least, most = durations.parse_duration(self.least), durations.parse_duration(self.most)
        if not least <= durations.parse_duration(text) <= most:
            raise ValueError(self._message)
        return text


@dataclass(frozen=True)
class Between:
    """A number must be from `least` to `most`, or `above` the least, for the API server and in Python alike.

    A rule of CEL and no `minimum`: its message says the way out.
    """

    least: float
    most: float
    message: str
    above: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        sign = ">" if self.above else ">="
        rule = f"self {sign} {float(self.least)} && self <= {float(self.most)}"
        add_rules(schema, (Rule(rule, self.message),))
        return schema

    def check(self, value: float) -> float:
        """`value` as it is; ValueError with the message when it is not within the bounds."""
        if not self.least <= value <= self.most or (self.above and value == self.least):
            raise ValueError(self.message)
        return value


DURATION_FORMAT: Final = Format(durations.PATTERN, durations.HELP)
SHORT: Final = Rule(
    rf"!self.matches(r'{durations.PATTERN}') || duration(self) <= duration('168h')",
    "must be at most 168h, a week: shorten the duration",
)
LONG: Final = Rule(
    rf"!self.matches(r'{durations.PATTERN}') || duration(self) >= duration('1s')",
    "must be at least 1s: write a longer duration, such as 10m",
)

Duration = Annotated[str, Field(max_length=durations.MAX_LENGTH), DURATION_FORMAT, Rules((SHORT,))]
"""A duration in Go's notation, at most a week; `durations.parse_duration` gives its seconds."""

MinimalDuration = Annotated[Duration, Rules((LONG,))]
"""A duration of at least a second."""

IntOrPercent = Annotated[
    int | str,
    AfterValidator(_int_or_percent),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "minimum": 0, "maxLength": 4}),
    Rules((Rule(rf"type(self) == int || self.matches(r'{PERCENT_PATTERN}')", PERCENT_HELP),)),
]
"""A number of pods, or a share of the replicas as `25%`."""

Name = Annotated[str, Field(min_length=1, max_length=253), Format(DNS_SUBDOMAIN_PATTERN, NAME_HELP)]
"""The name of another object."""

Image = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Format(r"^[^\s]+$", "must be an image such as registry.example.com/team/server:1.2, without spaces"),
]

Port = Annotated[int, Field(ge=1, le=65535)]
