"""What a person should hear of: the Events that follow from one status becoming another. Pure.

Decisions (a start, a promotion, a rollback, a command) are told by the plan that makes them; this tells the rest: what
a ModelDeployment waits for, what ails it, and that it is well again.
"""

from typing import Any

from podium.api.reasons import Reason
from podium.kube.client import Object
from podium.reconcile.writes import Note

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
    """One note for each condition whose status or reason is another one; `decided`: the plan has told of Ready."""
    old, new = _by_type(before), _by_type(after)
    notes = []
    ready = new["Ready"]
    if not decided and _differ(old.get("Ready"), ready):
        notes.append(Note(ready["reason"], ready["message"], "Observe", _revision(after), warning=_worrying(new)))
    for kind in TOLD_BESIDE_READY:
        condition = new.get(kind)
        if condition is not None and _differ(old.get(kind), condition) and condition["reason"] != ready["reason"]:
            worrying = kind in WORRYING
            notes.append(Note(condition["reason"], condition["message"], "Observe", _revision(after), warning=worrying))
    return tuple(notes)


def _by_type(status: Object) -> dict[str, Condition]:
    return {condition["type"]: condition for condition in status.get("conditions") or []}


def _differ(old: Condition | None, new: Condition) -> bool:
    return old is None or (old["status"], old["reason"]) != (new["status"], new["reason"])


def _revision(status: Object) -> str:
    lead = status.get("candidate") or status.get("champion") or {}
    return str(lead.get("revision", ""))


def _worrying(conditions: dict[str, Condition]) -> bool:
    return "Stalled" in conditions or conditions["Ready"]["reason"] == Reason.DEGRADED
