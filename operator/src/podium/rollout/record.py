"""The durable record of a rollout: what stands in a ControllerRevision's annotations, and nowhere else.

Status is a copy of it and may be lost; these annotations are what a restarted operator decides from.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from podium.api import names
from podium.api.status import MESSAGE_LENGTH, NAME_LENGTH, WORD_LENGTH
from podium.rollout.asked import Asked
from podium.rollout.command import Command
from podium.rollout.ends import Ends
from podium.rollout.rule import Rule
from podium.rollout.steps import Step, read_steps, weight_at
from podium.rollout.wire import (
    format_time,
    read_flag,
    read_index,
    read_object,
    read_pods,
    read_seconds,
    read_text,
    read_time,
)


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


_ALWAYS = frozenset({"id", "startedAt", "strategy", "size", "surge", "unavailable", "minReadySeconds"})
"""Keys that are always in annotation `podium.dev/rollout`; the others only if they are not the default."""


@dataclass(frozen=True)
class RolloutRecord:
    """What is frozen when a rollout starts (annotation `podium.dev/rollout`), and what came of it. Counts are pods."""

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
    """Identity of the operator whose clock `began_at` is of."""
    available_at: datetime | None = None
    """When the candidate was first available in full while something else (a person, a pause) held it."""
    held: timedelta = timedelta(0)
    """Time that does not count against the deadline: the cluster took no pods, for no fault of the candidate."""
    held_since: datetime | None = None
    """Since when it takes none."""
    suspended_since: datetime | None = None
    """Since when all pods have been away, and until the champion's are back: none of that time counts."""
    steps: tuple[Step, ...] = ()
    """The steps of a Canary; empty for other strategies."""
    step: int = 0
    """Which of them it is at, from 0; their number when all are over."""
    stepped_at: datetime | None = None
    """When it came to this step, or its promotion began; None at the first step. The deadline counts from here."""
    applied_at: datetime | None = None
    """When the step's weight was first applied: it holds from then on."""
    stood: timedelta = timedelta(0)
    """Time since then in which it was paused or suspended: it does not count."""
    stood_since: datetime | None = None
    """Since when it has been paused."""
    promoting: str = ""
    """The rule by which it was promoted, where the candidate grows to T before that is its outcome."""
    asked: Asked = field(default_factory=Asked)
    """What its analysis is asked; nothing where evidence decides nothing."""
    weighed_at: datetime | None = None
    """Since when evidence has been counted: no weight is given before."""
    idle: timedelta = timedelta(0)
    """Time since then in which it was paused, at the steps before this one: maxDuration stands still."""
    other: Mapping[str, Any] = field(default_factory=dict)
    """What another version wrote beside these: it stays."""
    ends: Ends | None = None
    """Containers that ended under analysis; None before the candidate's first weight, and where nothing is analysed."""

    def to_json(self) -> str:
        """As it stands in the annotation."""
        data: dict[str, object] = {
            **self.other,
            "id": self.id,
            "startedAt": format_time(self.started_at),
            "strategy": self.strategy,
            "size": self.size,
            "surge": self.surge,
            "unavailable": self.unavailable,
            "minReadySeconds": self.min_ready_seconds,
            "request": self.request,
            "startedBy": self.started_by,
            "availableAt": self.available_at and format_time(self.available_at),
            "held": self.held.total_seconds(),
            "heldSince": self.held_since and format_time(self.held_since),
            "suspendedSince": self.suspended_since and format_time(self.suspended_since),
            "steps": [step.to_json() for step in self.steps],
            "step": self.step,
            "steppedAt": self.stepped_at and format_time(self.stepped_at),
            "appliedAt": self.applied_at and format_time(self.applied_at),
            "stood": self.stood.total_seconds(),
            "stoodSince": self.stood_since and format_time(self.stood_since),
            "promoting": self.promoting,
            "analysis": self.asked.to_json(),
            "weighedAt": self.weighed_at and format_time(self.weighed_at),
            "idle": self.idle.total_seconds(),
            "ends": self.ends and self.ends.to_json(),
        }
        optional = data.keys() - {*self.other, *_ALWAYS}
        return json.dumps({k: v for k, v in data.items() if v or k not in optional}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "RolloutRecord":
        """Raises ValueError or KeyError when the annotation was edited into something else."""
        data = read_object(text)
        return RolloutRecord(
            id=read_text(data.pop("id"), NAME_LENGTH),
            started_at=read_time(data.pop("startedAt")),
            strategy=read_text(data.pop("strategy"), WORD_LENGTH),
            size=read_pods(data.pop("size")),
            surge=read_pods(data.pop("surge", 0)),
            unavailable=read_pods(data.pop("unavailable", 0)),
            min_ready_seconds=read_pods(data.pop("minReadySeconds", 0)),
            request=read_text(data.pop("request", "")),
            started_by=read_text(data.pop("startedBy", "")),
            available_at=read_time(data.pop("availableAt")) if "availableAt" in data else None,
            held=read_seconds(data.pop("held", 0)),
            held_since=read_time(data.pop("heldSince")) if "heldSince" in data else None,
            suspended_since=read_time(data.pop("suspendedSince")) if "suspendedSince" in data else None,
            steps=(steps := read_steps(data.pop("steps", []))),
            step=read_index(data.pop("step", 0), len(steps)),
            stepped_at=read_time(data.pop("steppedAt")) if "steppedAt" in data else None,
            applied_at=read_time(data.pop("appliedAt")) if "appliedAt" in data else None,
            stood=read_seconds(data.pop("stood", 0)),
            stood_since=read_time(data.pop("stoodSince")) if "stoodSince" in data else None,
            promoting=read_text(data.pop("promoting", "")),
            asked=Asked.from_json(data.pop("analysis", {})),
            weighed_at=read_time(data.pop("weighedAt")) if "weighedAt" in data else None,
            idle=read_seconds(data.pop("idle", 0)),
            ends=Ends.from_json(data.pop("ends")) if "ends" in data else None,
            other=data,
        )

    @property
    def began_at(self) -> datetime:
        """From when its deadline counts."""
        return self.stepped_at or self.started_at

    @property
    def weight(self) -> int:
        """Percent of the requests that the candidate is to have now."""
        return weight_at(self.steps, self.step)

    @property
    def waits(self) -> bool:
        """Whether it is at a pause, which a person ends."""
        return not self.promoting and self.step < len(self.steps) and self.steps[self.step].pauses

    def _still(self, now: datetime) -> timedelta:
        """For how long evidence has stood still at this step: in every pause, and at a pause step all the time."""
        if self.waits and self.weighed_at:
            return max(now - max(self.began_at, self.weighed_at), timedelta(0))
        since = self.stood_since or self.suspended_since  # what a suspension took is added once it is over
        return self.stood + (max(now - since, timedelta(0)) if since else timedelta(0))

    def lasted(self, now: datetime) -> timedelta | None:
        """How much of maxDuration is over; None before evidence is counted. It stands still in every pause."""
        return None if self.weighed_at is None else now - self.weighed_at - self.idle - self._still(now)

    @property
    def holds_until(self) -> datetime | None:
        """When the step is over if nothing pauses it; None before its weight is applied, and at a pause."""
        if self.applied_at is None or self.step >= len(self.steps):
            return None
        return self.applied_at + self.steps[self.step].holds + self.stood

    def onward(self, now: datetime, operator: str) -> "RolloutRecord":
        """The same at the next step. Its deadline begins anew, by this operator's clock."""
        return replace(self._anew(now, operator), step=self.step + 1)

    def applied(self, now: datetime) -> "RolloutRecord":
        """The same once the step's weight is applied: it holds from now on."""
        return replace(self, applied_at=now, idle=self.idle + self.stood, stood=timedelta(0))

    def promoted(self, rule: Rule, now: datetime, operator: str) -> "RolloutRecord":
        """The same with the candidate on its way to T; the time for that begins now."""
        if self.promoting:
            return replace(self, promoting=str(rule))
        return replace(self._anew(now, operator), promoting=str(rule))

    def available(self, now: datetime) -> "RolloutRecord":
        """The same once the candidate has its pods: from now on it is late only when it loses them, counted anew."""
        return replace(self, available_at=now, held=timedelta(0))

    def suspended(self, now: datetime) -> "RolloutRecord":
        """The same while all pods are away; what it was held for until then ends here."""
        held = self.held + max(now - self.held_since, timedelta(0)) if self.held_since else self.held
        return replace(self, suspended_since=max(now, self.began_at), held=held, held_since=None)

    def resumed(self, now: datetime) -> "RolloutRecord":
        """The same once the champion's pods are back after a suspension.

        The step's weight is still to be applied again: it holds anew from then on.
        """
        if self.suspended_since is None:
            return self
        # Another operator's clock, which may be ahead, may have stamped it.
        away = max(now - self.suspended_since, timedelta(0))
        held = self.held + away if self.available_at is None else self.held
        stood, still = self.stood, self.stood_since
        if self.weighed_at is None:
            still = None
        elif still is None:
            stood += away
        return replace(self, suspended_since=None, held=held, stood=stood, stood_since=still, applied_at=None)

    def _anew(self, now: datetime, operator: str) -> "RolloutRecord":
        nothing = timedelta(0)
        return replace(
            self,
            idle=self.idle + self._still(now),
            stepped_at=now,
            started_by=operator,
            available_at=None,
            held=nothing,
            held_since=None,
            applied_at=None,
            stood=nothing,
            stood_since=None,
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
        command = Command.parse(self.value)
        return command.verb if command else ""

    @property
    def token(self) -> str:
        """The command's last word."""
        command = Command.parse(self.value)
        return command.token if command else ""

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
        data = read_object(text)
        return CommandRecord(
            value=read_text(data["value"]),
            at=read_time(data["at"]),
            result=CommandResult(data["result"]),
            message=read_text(data.get("message", ""), MESSAGE_LENGTH),
            owed=read_text(data.get("owed", "")),
            paused=read_flag(data.get("paused", False)),
        )


def _durable(annotation: str, read: Callable[[str], Any] = str, write: Callable[[Any], str] = str) -> dict[str, Any]:
    return {"annotation": annotation, "read": read, "write": write}


_ROLLOUT = _durable(names.ANNOTATION_ROLLOUT, RolloutRecord.from_json, RolloutRecord.to_json)
_COMMAND = _durable(names.ANNOTATION_COMMAND, CommandRecord.from_json, CommandRecord.to_json)


@dataclass(frozen=True)
class Record:
    """All that is durable about one revision. A new durable field is one line here."""

    inputs: str = field(default="", metadata=_durable(names.ANNOTATION_INPUTS))
    rollout: RolloutRecord | None = field(default=None, metadata=_ROLLOUT)
    command: CommandRecord | None = field(default=None, metadata=_COMMAND)
    outcome: Outcome | None = field(default=None, metadata=_durable(names.ANNOTATION_OUTCOME, Outcome))
    rule: str = field(default="", metadata=_durable(names.ANNOTATION_RULE, read_text))
    cause: str = field(default="", metadata=_durable(names.ANNOTATION_CAUSE))
    decided_at: datetime | None = field(
        default=None, metadata=_durable(names.ANNOTATION_DECIDED_AT, read_time, format_time)
    )
    ledger: str = field(default="", metadata=_durable(names.ANNOTATION_LEDGER))
    """Digest of the ledger that the outcome was decided from."""

    def to_annotations(self) -> dict[str, str]:
        """As it stands on the ControllerRevision."""
        said = ((f.metadata, getattr(self, f.name)) for f in fields(self))
        return {how["annotation"]: how["write"](value) for how, value in said if value not in (None, "")}

    def changes(self, before: "Record") -> dict[str, str]:
        """The annotations to write to get from `before` to this; none is ever removed."""
        known = before.to_annotations()
        return {name: text for name, text in self.to_annotations().items() if known.get(name) != text}

    @staticmethod
    def from_annotations(annotations: Mapping[str, str]) -> "tuple[Record, dict[str, str]]":
        """What can be read, and by field what is wrong with the annotation that cannot."""
        found: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for one in fields(Record):
            text = annotations.get(one.metadata["annotation"])
            if not text:
                continue
            try:
                found[one.name] = one.metadata["read"](text)
            except KeyError as error:
                broken[one.name] = f"{error} is missing"
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                broken[one.name] = str(error)
        return Record(**found), broken


def annotation_of(name: str) -> str:
    """Where a field of a Record stands."""
    return str(Record.__dataclass_fields__[name].metadata["annotation"])
