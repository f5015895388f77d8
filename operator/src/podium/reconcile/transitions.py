"""What a person should hear of: the Events that follow from one status becoming another. Pure.

Decisions (a start, a promotion, a rollback, a command) are told by the plan that makes them; this tells the rest: what
a ModelDeployment waits for, what ails it, that it is well again, and a rollback whose process ended before it told.
"""

from collections.abc import Collection
from typing import Any

from podium.api.reasons import Reason
from podium.kube.client import Object
from podium.reconcile.decide import rollback_note
from podium.reconcile.writes import Note
from podium.rollout.crash import ONE_FAULT
from podium.rollout.record import Outcome
from podium.rollout.state import Situation
from podium.rollout.wire import format_time

TOLD_BESIDE_READY = (
    "Paused",
    "PodFailure",
    "DriftContested",
    "ScalingActive",
    "RuntimeOutdated",
    "ModelBytesDiffer",
    "WeightPossible",
    "LedgerChanged",
)
"""Conditions that tell of something though Ready may stay as it is."""
WORRYING = frozenset(TOLD_BESIDE_READY) - {"Paused", "RuntimeOutdated"}
Condition = dict[str, Any]


def transitions(before: Object, after: Object, *, decided: bool) -> tuple[Note, ...]:
    """One note for each condition whose status or fault is another one; `decided`: the plan has told of Ready."""
    old, new = _by_type(before), _by_type(after)
    notes = []
    ready = new["Ready"]
    told = decided or _over(before, after, ready["reason"])
    if not told and _differ(old.get("Ready"), ready):
        notes.append(_note(ready, after, warning=_worrying(new)))
    lost, known = new["Available"], old.get("Available")
    if known and not decided and not _differ(old.get("Ready"), ready) and _turned(known, lost):
        notes.append(_note(lost, after, warning=lost["status"] == "False"))
    for kind in TOLD_BESIDE_READY:
        condition = new.get(kind)
        if condition is not None and _differ(old.get(kind), condition) and _fault(condition) != _fault(ready):
            notes.append(_note(condition, after, warning=kind in WORRYING))
    return tuple(notes)


def untold_rollbacks(before: Object, situation: Situation, told: Collection[str]) -> tuple[Note, ...]:
    """The Events of rollbacks that are newer than the status, from their records: who decided them ended too early.

    `told`: revisions whose decisions this process has told. A status without history was lost: what it had said was
    told. What is older than its newest entry is no news either: a restore brought that record back.
    """
    known = max((entry.get("at", "") for entry in before.get("history") or []), default=None)
    return tuple(
        rollback_note(revision, situation)
        for revision in situation.revisions
        if revision.ended is Outcome.ROLLED_BACK and revision.decided_at and revision.name not in told
        if known is not None and format_time(revision.decided_at) > known
    )


def _note(condition: Condition, status: Object, *, warning: bool) -> Note:
    revision = _revision(status, condition["message"])
    return Note(condition["reason"], condition["message"], "Observe", revision, warning, fault=_fault(condition))


def _by_type(status: Object) -> dict[str, Condition]:
    return {condition["type"]: condition for condition in status.get("conditions") or []}


def _differ(old: Condition | None, new: Condition) -> bool:
    return old is None or (old["status"], _fault(old)) != (new["status"], _fault(new))


def _turned(old: Condition, new: Condition) -> bool:
    """Whether the last pod that serves was lost, or the first is back, while Ready is about something else."""
    return old["status"] != new["status"] and Reason.NO_AVAILABLE_POD in (old["reason"], new["reason"])


def _fault(condition: Condition) -> str:
    """A crash is one fault, whatever the container does at the moment; so is a fetch that keeps failing."""
    return str(ONE_FAULT.get(condition["reason"], condition["reason"]))


def _over(before: Object, after: Object, reason: str) -> bool:
    """Whether Ready tells of a rollout that ended: a rollback has an Event of its own, whoever tells it.

    So has what was superseded, unless the process that decided it ended before it could tell: then this status is the
    first to say so.
    """
    if reason == Reason.ROLLED_BACK:
        return True
    if reason != Reason.SUPERSEDED:
        return False
    known, now = ({e["revision"] for e in s.get("history") or [] if e["outcome"] == reason} for s in (before, after))
    return not before.get("history") or now <= known


def _revision(status: Object, message: str) -> str:
    """The revision that a sentence names first, else the one that leads."""
    roles = [str((status.get(role) or {}).get("revision", "")) for role in ("candidate", "champion")]
    revisions = [revision for revision in roles if revision]
    named = [revision for revision in revisions if revision in message]
    return min(named, key=message.index, default=next(iter(revisions), ""))


def _worrying(conditions: dict[str, Condition]) -> bool:
    return "Stalled" in conditions or conditions["Ready"]["reason"] == Reason.DEGRADED
