"""The planner: from what was observed and the time to everything that is to be written. Pure.

A plan is one list of writes in the order of their stages (writes.py). A pass walks it: what is refused stops what
relies on it, and where that is a record, the rest is planned anew from the records as they stand.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from podium.api.reasons import EventReason
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS
from podium.manifests.fetch import Fetcher
from podium.reconcile import children
from podium.reconcile.decide import Decisions, decide
from podium.reconcile.observed import Observed
from podium.reconcile.writes import Apply, Enter, Entry, Note, Stage, Told, Write
from podium.rollout.moment import Moment
from podium.rollout.record import CommandRecord
from podium.rollout.sizing import next_move
from podium.rollout.state import Situation
from podium.rollout.strategies import Move
from podium.rollout.verdict import Decline, Hold
from podium.rollout.words import named, sentences


@dataclass(frozen=True)
class Plan:
    """All writes of one pass but status, in their order."""

    situation: Situation
    """As it will be once the entries of the record are written."""
    move: Move
    writes: tuple[Write, ...] = ()
    notes: tuple[Note, ...] = ()
    """Events that no durable record stands behind."""
    hold: Hold | None = None
    declined: Decline | None = None
    wake_at: datetime | None = None


def plan(observed: Observed, moment: Moment, fetcher: Fetcher) -> Plan | None:
    """What to write now; None when nothing may be planned (deletion, an unreadable spec)."""
    if observed.deleting or observed.situation is None:
        return None
    return _follow(observed, decide(observed, observed.situation, moment, fetcher), moment)


def plan_as_recorded(observed: Observed, entered: int, moment: Moment, fetcher: Fetcher) -> Plan:
    """What to write when the record took no more than the first `entered` entries: repair of what it says, no more.

    Nothing is taken away on the way: what was decided but not recorded (an abort, say) may need it once it is. The
    champion's scaling goes on.
    """
    assert observed.situation is not None
    found = _follow(observed, decide(observed, observed.situation, moment, fetcher).first(entered), moment)
    return replace(found, writes=tuple(filter(None, (_repair(write, found.situation) for write in found.writes))))


def plan_without(observed: Observed, unmarked: Collection[str], moment: Moment, fetcher: Fetcher) -> Plan:
    """The plan as it was carried out: without the refused marks of these revisions, on which nothing relies.

    For status alone: its writes have been made.
    """
    assert observed.situation is not None
    return _follow(observed, decide(observed, observed.situation, moment, fetcher).without(unmarked), moment)


def _repair(write: Write, situation: Situation) -> Write | None:
    """The write, as far as it takes nothing away; None for one of the record, which was tried already."""
    champion = situation.champion
    scaling = situation.candidate is None and champion is not None and write.place == (DEPLOYMENTS, champion.name)
    if write.stage in (Stage.TRAFFIC, Stage.GROW, Stage.POLICY) or (scaling and write.stage is Stage.SHRINK):
        return write
    if isinstance(write.action, Apply) and write.action.meanwhile is not None:
        return replace(write, action=Apply(write.action.meanwhile), needs=frozenset())
    return None


def _follow(observed: Observed, decisions: Decisions, moment: Moment) -> Plan:
    """The plan that follows from decisions."""
    situation = decisions.situation
    wanted = children.Wanted(observed, situation, next_move(situation, moment), decisions.revisions, moment)
    entries = [_entering(entry) for entry in decisions.entries]
    of_children = children.writes(wanted)
    return Plan(
        situation=situation,
        move=wanted.move,
        writes=tuple(sorted([*of_children, *entries], key=_order)),
        notes=_replicas_told(observed, situation),
        hold=decisions.hold,
        declined=decisions.declined,
        wake_at=moment.wake_at,
    )


def _entering(entry: Entry) -> Write:
    told = Told.READY if entry.relied_on else Told.RECORD
    return Write(Stage.RECORD, CONTROLLER_REVISIONS, entry.revision, Enter(entry), told, entry.needs)


def _order(write: Write) -> tuple[int, bool, bool]:
    """By stage; entries come last of the records: what was orphaned or lost is brought back before them."""
    action = write.action
    return write.stage, isinstance(action, Enter), isinstance(action, Enter) and not action.entry.relied_on


def declined_command(declined: Decline) -> Note:
    """The Event of a command declined that status alone records: to emit once status is written."""
    return Note(EventReason.COMMAND_REFUSED, sentences(declined.message), "Command", warning=True)


def _replicas_told(observed: Observed, situation: Situation) -> tuple[Note, ...]:
    """The Event of a change of spec.replicas that does not count, or not yet."""
    before, replicas = observed.replicas_before, situation.spec.replicas
    champion, candidate = situation.champion, situation.candidate
    if champion is None or before in (None, replicas):
        return ()
    if situation.spec.autoscaling is not None:
        text = f"spec.replicas: {replicas} is ignored, since HorizontalPodAutoscaler {champion.name} decides."
        return (Note(EventReason.REPLICAS_IGNORED, text, "Scale", champion.name, warning=True),)
    if candidate is not None and replicas not in (0, situation.target):
        text = (
            f"spec.replicas: {replicas} counts once the rollout of {named(candidate, situation)} is over: until then "
            f"it is {situation.target}, as when the rollout started."
        )
        return (Note(EventReason.REPLICAS_PENDING, text, "Scale", candidate.name),)
    return ()


def command_of(situation: Situation) -> CommandRecord | None:
    """The newest command that any revision recorded."""
    return max((r.command for r in situation.revisions if r.command), key=lambda c: c.at, default=None)
