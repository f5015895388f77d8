"""A ModelDeployment as the command line sees it: read from the object once, shown by tree, outcome and shape alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podium.api import names
from podium.cli.api import Object

_GOOD = frozenset({"Ready", "Available", "WeightPossible", "ScalingActive", "Preview", "Disruption"})
"""Conditions that are as they should be while True; of every other one True is worth a look (kstatus)."""


@dataclass(frozen=True)
class Revision:
    """A revision that has pods. Counts are pods."""

    revision: str
    version: str
    desired: int
    ready: int
    available: int
    weight: int | None
    """Percent of the requests that it gets; None without a candidate."""
    since: str


@dataclass(frozen=True)
class Previous:
    """A revision that is kept warm."""

    revision: str
    version: str
    until: str


@dataclass(frozen=True)
class Weight:
    """Percent: what the step asks for, and what routers or endpoints confirm (None: not yet)."""

    desired: int | None
    applied: int | None
    routers: int | None
    """Router pods; None while requests do not go through them, and if the operator is too old to say."""
    confirmed: int | None
    """How many of those have loaded the present weights; None likewise."""


@dataclass(frozen=True)
class Arm:
    """What was counted of one revision."""

    n: float
    events: float


@dataclass(frozen=True)
class Evidence:
    """As status tells it, in words such as `8.1` or `10^12`; evidence of 1 says nothing either way."""

    harm: str
    no_harm: str
    needed: str


@dataclass(frozen=True)
class Metric:
    """One metric of an analysis."""

    name: str
    type: str
    role: str
    champion: Arm | None
    candidate: Arm | None
    ratio: str | None
    interval: tuple[str, str] | None
    evidence: Evidence | None
    """None where the metric is shown and decides nothing."""


@dataclass(frozen=True)
class Decision:
    """How the last rollout ended."""

    verdict: str
    rule: str
    by: str
    at: str


@dataclass(frozen=True)
class Rollout:
    """The rollout that is under way, or the last one."""

    id: str
    strategy: str
    started_at: str
    step: int | None
    steps: int | None
    weight: Weight | None
    deadline: str
    metrics: tuple[Metric, ...]
    decision: Decision | None


@dataclass(frozen=True)
class Condition:
    """A condition that is not as it should be."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Command:
    """The last command that was acted on."""

    value: str
    result: str
    """Done, Refused, Accepted (its rollout has still to start) or Pending (tried again)."""
    message: str
    at: str


@dataclass(frozen=True)
class View:
    """The whole of it. Times are RFC 3339 texts; empty where status does not say."""

    namespace: str
    name: str
    current: bool
    """Whether status is about the spec that stands there now."""
    generation: int
    observed_generation: int
    deleted: bool
    """Whether it is being deleted."""
    phase: str
    message: str
    ready: str
    """True, False or Unknown, as condition Ready."""
    stalled: bool
    champion: Revision | None
    candidate: Revision | None
    previous: Previous | None
    rollout: Rollout | None
    rolled_back: tuple[str, ...]
    """Revisions that were rolled back, the newest first; also those that spec asks for no more."""
    latest: str
    """The revision that was decided on last; empty before the first."""
    conditions: tuple[Condition, ...]
    asked: str
    """The command that its annotation holds, acted on or not."""
    last_command: Command | None

    @property
    def place(self) -> str:
        """namespace/name."""
        return f"{self.namespace}/{self.name}"

    @property
    def command_awaited(self) -> bool:
        """Whether a command has still to be acted on, or what it asked for to begin."""
        last = self.last_command
        if self.asked and (last is None or last.value != self.asked):
            return True
        return last is not None and last.result in ("Accepted", "Pending")


def of(obj: Object) -> View:
    """The view of a ModelDeployment; a status that is missing is that of one which nobody has seen."""
    meta, status = obj["metadata"], obj.get("status") or {}
    generation, observed = int(meta.get("generation") or 0), int(status.get("observedGeneration") or 0)
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    history = status.get("history") or []
    return View(
        namespace=meta.get("namespace") or "",
        name=meta["name"],
        current=observed >= generation > 0,
        generation=generation,
        observed_generation=observed,
        deleted="deletionTimestamp" in meta,
        phase=status.get("phase") or "Pending",
        message=status.get("message") or _said(conditions),
        ready=(conditions.get("Ready") or {}).get("status") or "Unknown",
        stalled=(conditions.get("Stalled") or {}).get("status") == "True",
        champion=_revision(status.get("champion")),
        candidate=_revision(status.get("candidate")),
        previous=_previous(status.get("previous")),
        rollout=_rollout(status.get("rollout")),
        rolled_back=tuple(one.get("revision") or "" for one in history if one.get("outcome") == "RolledBack"),
        latest=(history[0].get("revision") or "") if history else "",
        conditions=tuple(_condition(one) for one in conditions.values() if amiss(one)),
        asked=(meta.get("annotations") or {}).get(names.ANNOTATION_COMMAND) or "",
        last_command=_command(status.get("lastCommand")),
    )


def amiss(condition: Mapping[str, Any]) -> bool:
    """Whether a condition is not as it should be."""
    return bool(condition["status"] != ("True" if condition["type"] in _GOOD else "False"))


def _said(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    return str((conditions.get("Ready") or {}).get("message") or "Podium has not seen it yet")


def _revision(data: Mapping[str, Any] | None) -> Revision | None:
    if not data:
        return None
    return Revision(
        revision=data.get("revision") or "",
        version=data.get("version") or "",
        desired=data.get("desired") or 0,
        ready=data.get("ready") or 0,
        available=data.get("available") or 0,
        weight=data.get("weight"),
        since=data.get("since") or "",
    )


def _previous(data: Mapping[str, Any] | None) -> Previous | None:
    if not data:
        return None
    return Previous(data.get("revision") or "", data.get("version") or "", data.get("until") or "")


def _rollout(data: Mapping[str, Any] | None) -> Rollout | None:
    if not data:
        return None
    weight, decision = data.get("weight"), data.get("decision")
    return Rollout(
        id=data.get("id") or "",
        strategy=data.get("strategy") or "",
        started_at=data.get("startedAt") or "",
        step=data.get("step"),
        steps=data.get("steps"),
        weight=Weight(*(weight.get(key) for key in ("desired", "applied", "routers", "confirmed"))) if weight else None,
        deadline=data.get("deadline") or "",
        metrics=tuple(_metric(one) for one in data.get("metrics") or []),
        decision=Decision(**{key: decision.get(key) or "" for key in ("verdict", "rule", "by", "at")})
        if decision
        else None,
    )


def _metric(data: Mapping[str, Any]) -> Metric:
    evidence, interval, ratio = data.get("evidence"), data.get("interval"), data.get("ratio")
    return Metric(
        name=data.get("name") or "",
        type=data.get("type") or "",
        role=data.get("role") or "",
        champion=_arm(data.get("champion")),
        candidate=_arm(data.get("candidate")),
        ratio=None if ratio is None else str(ratio),
        interval=(str(interval[0]), str(interval[1])) if interval and len(interval) == 2 else None,
        evidence=Evidence(*(str(evidence.get(key) or "") for key in ("harm", "noHarm", "needed")))
        if evidence
        else None,
    )


def _arm(data: Mapping[str, Any] | None) -> Arm | None:
    return Arm(data.get("n") or 0, data.get("events") or 0) if data else None


def _condition(data: Mapping[str, Any]) -> Condition:
    return Condition(data["type"], data["status"], data.get("reason") or "", data.get("message") or "")


def _command(data: Mapping[str, Any] | None) -> Command | None:
    if not data:
        return None
    return Command(*(str(data.get(key) or "") for key in ("value", "result", "message", "at")))
