"""The durable record of a rollout: what stands in a ControllerRevision's annotations, and nowhere else.

Status is a copy of it and may be lost; these annotations are what a restarted operator decides from.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a revision's rollout ended; a candidate has none."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"


class CommandResult(StrEnum):
    """What became of a person's command. Accepted: recorded, and its effect is still to be written."""

    ACCEPTED = "Accepted"
    DONE = "Done"
    REFUSED = "Refused"


def format_time(at: datetime) -> str:
    """RFC 3339 with microseconds, in UTC: sorts as text in the order of time."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The inverse of `format_time`; also reads the API server's times in whole seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@dataclass(frozen=True)
class RolloutRecord:
    """What is frozen when a rollout starts (annotation `podium.dev/rollout`). Counts are pods."""

    id: str
    started_at: datetime
    strategy: str
    size: int
    """T: how many pods the candidate must have available."""
    surge: int = 0
    """S: pods allowed above T."""
    unavailable: int = 0
    """U: pods that may be missing from T."""
    min_ready_seconds: int = 0
    """For how long a pod is ready before it counts as available."""
    request: str = ""
    """The `retry` or `restart` that asked for it, the whole command."""
    started_by: str = ""
    """Identity of the operator whose clock `started_at` is of."""
    available_at: datetime | None = None
    """When the candidate was first available in full while something else (a person, a pause) held it."""

    def to_json(self) -> str:
        """As it stands in the annotation."""
        data: dict[str, object] = {
            "id": self.id,
            "startedAt": format_time(self.started_at),
            "strategy": self.strategy,
            "size": self.size,
            "surge": self.surge,
            "unavailable": self.unavailable,
            "minReadySeconds": self.min_ready_seconds,
        }
        if self.request:
            data["request"] = self.request
        if self.started_by:
            data["startedBy"] = self.started_by
        if self.available_at:
            data["availableAt"] = format_time(self.available_at)
        return json.dumps(data, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "RolloutRecord":
        """Raises ValueError or KeyError when the annotation was edited into something else."""
        data = json.loads(text)
        return RolloutRecord(
            id=data["id"],
            started_at=parse_time(data["startedAt"]),
            strategy=data["strategy"],
            size=int(data["size"]),
            surge=int(data.get("surge", 0)),
            unavailable=int(data.get("unavailable", 0)),
            min_ready_seconds=int(data.get("minReadySeconds", 0)),
            request=data.get("request", ""),
            started_by=data.get("startedBy", ""),
            available_at=parse_time(data["availableAt"]) if "availableAt" in data else None,
        )


@dataclass(frozen=True)
class CommandRecord:
    """The last command acted on that named a revision (annotation `podium.dev/command` of that revision)."""

    value: str
    """The whole annotation of the ModelDeployment, "<verb> <revision> <token>"."""
    at: datetime
    result: CommandResult
    message: str = ""
    owed: str = ""
    """A `retry` or `restart` accepted before this command, whose rollout has not begun; a pause leaves it owed."""
    paused: bool = False
    """Whether the revision is held by a `pause` not yet followed by a `resume`; later commands carry it on."""

    @property
    def verb(self) -> str:
        """The command's first word."""
        return self.value.split(" ", 1)[0]

    @property
    def token(self) -> str:
        """The command's last word."""
        return self.value.rsplit(" ", 1)[-1]

    @property
    def request(self) -> "CommandRecord | None":
        """The accepted `retry` or `restart` that this is, or leaves owed."""
        if self.result is CommandResult.ACCEPTED:
            return self
        return replace(self, value=self.owed, result=CommandResult.ACCEPTED, owed="") if self.owed else None

    def done(self) -> "CommandRecord":
        """The same command with its effect written, and nothing owed any more."""
        result = CommandResult.DONE if self.result is CommandResult.ACCEPTED else self.result
        return replace(self, result=result, owed="")

    def to_json(self) -> str:
        """As it stands in the annotation."""
        data: dict[str, object] = {
            "value": self.value,
            "at": format_time(self.at),
            "result": self.result.value,
            "message": self.message,
        }
        if self.owed:
            data["owed"] = self.owed
        if self.paused:
            data["paused"] = True
        return json.dumps(data, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "CommandRecord":
        """Raises ValueError or KeyError when the annotation was edited into something else."""
        data = json.loads(text)
        return CommandRecord(
            value=data["value"],
            at=parse_time(data["at"]),
            result=CommandResult(data["result"]),
            message=data.get("message", ""),
            owed=data.get("owed", ""),
            paused=bool(data.get("paused", False)),
        )
