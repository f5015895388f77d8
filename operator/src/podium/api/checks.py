"""Rules that hold whatever CRD let a spec in: they keep a ModelDeployment from giving more than its author has."""

from collections.abc import Mapping, Sequence
from typing import Any

from podium.api import names
from podium.api.base import FieldError
from podium.api.rules import ENV_PREFIX, RESERVED_ANNOTATIONS, RESERVED_LABELS, VOLUME_KINDS, VOLUME_PREFIX


def labels(field: str, entries: Mapping[str, str]) -> None:
    """Refuse labels that Podium writes."""
    _own_domain(field, entries)
    for key in entries:
        if key in RESERVED_LABELS:
            raise FieldError(field, key, "is written by Podium: leave it out")


def annotations(field: str, entries: Mapping[str, str]) -> None:
    """Refuse annotations that Podium writes, and those that loosen the security profile."""
    _own_domain(field, entries)
    for key in entries:
        if key.startswith(RESERVED_ANNOTATIONS):
            raise FieldError(field, key, "loosens the security profile and is refused: leave it out")


def env(field: str, variables: Sequence[Mapping[str, Any]]) -> None:
    """Refuse environment variables of Podium's own, and names that occur twice."""
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name = str(variable.get("name", ""))
        if name.startswith(ENV_PREFIX):
            raise FieldError(f"{field}[{index}].name", name, f"names that begin with {ENV_PREFIX} are Podium's own")
        if name in seen:
            raise FieldError(f"{field}[{index}].name", name, "occurs twice: keep one of them")
        seen.add(name)


def volumes(field: str, listed: Sequence[Mapping[str, Any]]) -> None:
    """Refuse kinds of volumes that reach beyond the namespace, and names that Podium uses."""
    for index, volume in enumerate(listed):
        name = str(volume.get("name", ""))
        if name.startswith(VOLUME_PREFIX):
            raise FieldError(f"{field}[{index}].name", name, f"names that begin with {VOLUME_PREFIX} are Podium's own")
        for kind in volume:
            if kind != "name" and kind not in VOLUME_KINDS:
                raise FieldError(f"{field}[{index}]", kind, f"is refused here: use one of {', '.join(VOLUME_KINDS)}")


def is_zero(value: int | str) -> bool:
    """Whether a number of pods or a share such as `0%` is written as zero."""
    return value == 0 if isinstance(value, int) else int(value.rstrip("%")) == 0


def _own_domain(field: str, entries: Mapping[str, str]) -> None:
    for key in entries:
        domain = key.partition("/")[0]
        if domain == names.GROUP or domain.endswith(f".{names.GROUP}"):
            raise FieldError(field, key, f"keys of {names.GROUP} are written by Podium: choose a domain of your own")
