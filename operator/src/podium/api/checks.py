"""Rules that hold whatever CRD let a spec in: they keep a ModelDeployment from giving more than its author has."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from podium import names
from podium.api.base import FieldError

VOLUME_KINDS: Final = ("configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "csi", "image")
RESERVED_KEYS: Final = (names.LABEL_MANAGED_BY, names.LABEL_INSTANCE)
ENV_PREFIX: Final = "PODIUM_"
VOLUME_PREFIX: Final = "podium-"


def own_keys(field: str, entries: Mapping[str, str]) -> None:
    """Refuse labels or annotations of Podium's own domain."""
    for key in entries:
        domain = key.partition("/")[0]
        if key in RESERVED_KEYS or domain == names.GROUP or domain.endswith(f".{names.GROUP}"):
            raise FieldError(field, key, "is written by Podium: choose a key of your own domain")


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
        if str(volume.get("name", "")).startswith(VOLUME_PREFIX):
            raise FieldError(
                f"{field}[{index}].name", volume["name"], f"names that begin with {VOLUME_PREFIX} are Podium's own"
            )
        for kind in volume:
            if kind != "name" and kind not in VOLUME_KINDS:
                raise FieldError(
                    f"{field}[{index}]", kind, f"this kind of volume is refused: use one of {', '.join(VOLUME_KINDS)}"
                )


def is_zero(value: int | str) -> bool:
    """Whether a number of pods or a share such as `0%` is written as zero."""
    return value == 0 if isinstance(value, int) else int(value.rstrip("%")) == 0
