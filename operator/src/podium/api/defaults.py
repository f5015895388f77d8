"""Present and former defaults, and what a spec says beside them.

The API server writes a field's default into every object that it stores. An object of last year therefore names the
defaults of last year as if a person had chosen them, and nothing tells the two apart: a value that is, or once was,
the default of its field says nothing. So a version of Podium with another default starts no rollout.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from podium.api.base import ApiModel


@dataclass(frozen=True)
class Former:
    """Earlier defaults of the annotated field, as on the wire. Whoever changes a default adds the old one here."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)


def said(model: type[ApiModel], obj: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `obj`, on the wire a `model`, that says something.

    Left out are fields equal to a default, present or former, and parts in which nothing is left. Fields that this
    version of Podium does not know stay. TypeError when `obj` is no mapping.
    """
    if not isinstance(obj, Mapping):
        raise TypeError(f"a mapping is expected, not {obj!r}")
    fields = _fields(model)
    found: dict[str, Any] = {}
    for key, value in obj.items():
        field = fields.get(key)
        if field is None:
            pass
        elif field.part is not None and isinstance(value, Mapping):
            value = said(field.part, value)
            if not value and field.may_be_empty:
                continue
        elif any(type(value) is type(default) and value == default for default in field.defaults):
            continue
        found[key] = value
    return found


class _Field(NamedTuple):
    """What is asked of a field for every object."""

    part: type[ApiModel] | None
    may_be_empty: bool
    defaults: tuple[Any, ...]


@functools.cache
def _fields(model: type[ApiModel]) -> dict[str, _Field]:
    """By name on the wire."""
    return {
        field.alias or name: _Field(part_of(field), isinstance(field.default, ApiModel), defaults(field))
        for name, field in model.model_fields.items()
    }


def defaults(field: FieldInfo) -> tuple[Any, ...]:
    """The field's default, if it has one, and the former ones."""
    former = [value for each in field.metadata if isinstance(each, Former) for value in each.values]
    return (*former,) if field.is_required() else (field.default, *former)


def part_of(field: FieldInfo) -> type[ApiModel] | None:
    """The model of a field that holds one part of the API; None for every other field, lists of parts included."""
    if get_origin(field.annotation) is list:
        return None
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, ApiModel):
            return kind
    return None
