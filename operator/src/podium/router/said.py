"""What a router says of itself at /applied: the agent writes it, the operator reads it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Said:
    """By ConfigMap and by revision; a sentence for what is not as it should be."""

    applied: Mapping[str, str] = field(default_factory=dict)
    """By ConfigMap the text that Envoy has loaded."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """By ConfigMap why its present text is not used: the last good one is."""
    reached: frozenset[str] = frozenset()
    """Revisions of which a pod has answered this router."""
    unreached: Mapping[str, str] = field(default_factory=dict)
    """By revision why none has, as far as that was tried."""
    problem: str = ""
    """Why what is wanted is not loaded."""

    def to_json(self) -> dict[str, Any]:
        """As it is on the wire."""
        return asdict(self) | {"reached": sorted(self.reached)}

    @classmethod
    def read(cls, found: object) -> Self:
        """The JSON of an answer. ValueError for what no agent says; fields that are not known are a later agent's."""
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        return cls(
            applied=_texts(found, "applied"),
            refused=_texts(found, "refused"),
            reached=frozenset(str(each) for each in _of(found, "reached", list)),
            unreached=_texts(found, "unreached"),
            problem=str(found.get("problem") or ""),
        )


def _texts(found: Mapping[str, Any], name: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in _of(found, name, dict).items()}


def _of(found: Mapping[str, Any], name: str, kind: type) -> Any:
    value = found.get(name, kind())
    if not isinstance(value, kind):
        raise ValueError(f"{name} is no {kind.__name__}")
    return value
