"""How the pods of a revision say what they have answered: resolved with it, and kept in its record. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podium.api.v1alpha1 import ModelRuntimeSpec
from podium.packed import unpacked

_MOST = 65_535


@dataclass(frozen=True, slots=True)
class Counting:
    """Counters in Prometheus' text format. A series is a name, or a name with matchers of its labels."""

    path: str
    """With a query, if there is one."""
    port: int
    total: tuple[str, ...]
    """Series whose sum counts all answers ..."""
    errors: tuple[str, ...]
    """... and those whose sum counts the ones that failed."""

    @staticmethod
    def of(runtime: ModelRuntimeSpec) -> "Counting | None":
        """What a ModelRuntime says; None where it says nothing."""
        said = runtime.metrics
        if said is None:
            return None
        port = runtime.ports.metrics if said.port == "metrics" else runtime.ports.http
        return Counting(said.path, port or runtime.ports.http, tuple(said.total), tuple(said.errors))

    def to_json(self) -> dict[str, Any]:
        """As it stands in a revision's record."""
        return {"path": self.path, "port": self.port, "total": list(self.total), "errors": list(self.errors)}

    @staticmethod
    def from_json(value: object) -> "Counting | None":
        """The inverse; None for what this version cannot read: pods are then not counted at, and all else goes on."""
        data = unpacked(value)
        if not isinstance(data, Mapping):
            return None
        path, port, total, errors = (data.get(name) for name in ("path", "port", "total", "errors"))
        if not isinstance(path, str) or not path.startswith("/"):
            return None
        if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _MOST:
            return None
        if not (_texts(total) and _texts(errors)):
            return None
        return Counting(path, port, tuple(total or ()), tuple(errors or ()))


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
