"""Whether what was read has the types that its class declares: JSON that anybody may have written has any."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


def check(value: object, kind: Any, where: str = "") -> None:
    """Raises ValueError, which names the field, for the first value of another type than `kind`.

    Known are classes of annotated fields, numbers, texts, tuples, mappings by name, enums, and unions of these. A
    whole number passes for float, and a float without a fraction for int: JSON does not tell them apart.
    """
    if get_origin(kind) is UnionType:
        _one_of(value, get_args(kind), where)
    elif get_origin(kind) is tuple:
        _tuple(value, get_args(kind), where)
    elif get_origin(kind) is Mapping:
        _mapping(value, get_args(kind)[1], where)
    elif not _is(value, kind):
        raise ValueError(f"{where or kind.__name__} is {_shown(value)}")
    elif is_dataclass(kind) or hasattr(kind, "_fields"):
        for name, declared in _fields(kind).items():
            check(getattr(value, name), declared, f"{where}.{name}" if where else name)


@cache
def _fields(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _is(value: object, kind: type) -> bool:
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole or (isinstance(value, float) and (kind is float or value.is_integer()))
    return value is None if kind is NoneType else isinstance(value, kind)


def _one_of(value: object, kinds: tuple[Any, ...], where: str) -> None:
    fitting = [kind for kind in kinds if _is(value, get_origin(kind) or kind)]
    if not fitting:
        raise ValueError(f"{where} is {_shown(value)}")
    check(value, fitting[0], where)


def _tuple(value: object, kinds: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, tuple) or (kinds[-1] is not ... and len(value) != len(kinds)):
        raise ValueError(f"{where} is {_shown(value)}")
    if kinds == (float, ...) and set(map(type, value)) <= {float}:
        return  # a grid: there are hundreds, of hundreds of numbers
    for number, each in enumerate(value):
        check(each, kinds[0 if kinds[-1] is ... else number], where)


def _mapping(value: object, kind: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {_shown(value)}")
    for name, each in value.items():
        check(each, kind, f"{where}.{name}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
