"""What the API server's audit log tells: who called what, and when. Read on from where the last reading ended."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Both times are the API server's own, in seconds since 1970, to the microsecond."""

    received: float
    """When the request came in."""
    done: float
    """When it was answered, and so what it wrote was stored."""
    user: str
    verb: str
    resource: str
    """With its subresource: `pods/status`."""
    namespace: str
    name: str
    code: int

    @property
    def writes(self) -> bool:
        """Whether it asked for a change, granted or not."""
        return self.verb in WRITES


class AuditLog:
    """The calls of one audit log, in the order of their answers."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._calls: list[Call] = []

    def calls(self) -> list[Call]:
        """All so far."""
        if self._file.exists():
            with self._file.open("rb") as log:
                log.seek(self._offset)
                for line in log:
                    if not line.endswith(b"\n"):
                        break  # it is still being written
                    self._offset += len(line)
                    self._calls.append(_call(json.loads(line)))
        return self._calls


def _call(entry: dict[str, Any]) -> Call:
    reference = entry.get("objectRef") or {}
    return Call(
        _seconds(entry["requestReceivedTimestamp"]),
        _seconds(entry["stageTimestamp"]),
        (entry.get("user") or {}).get("username", ""),
        entry["verb"],
        "/".join(filter(None, (reference.get("resource"), reference.get("subresource")))),
        reference.get("namespace", ""),
        reference.get("name", ""),
        (entry.get("responseStatus") or {}).get("code", 0),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
