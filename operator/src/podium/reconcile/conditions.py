"""Phase and conditions: a table, one function per row (ROWS).

The first row that applies gives the phase and the conditions Available, Ready, Reconciling, Stalled and Paused.
Conditions that a row leaves out are absent (kstatus: absent means no).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from podium.api.reasons import Reason
from podium.reconcile.outcome import Refusal
from podium.reconcile.weights import step_told
from podium.rollout.asked import Asked
from podium.rollout.crash import evidence
from podium.rollout.ending import ended_lately
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome, RolloutRecord
from podium.rollout.revision import RevisionState
from podium.rollout.scarcity import scarcity
from podium.rollout.sentences import awaited, rollback_told
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES, Frozen, Move, facts_of
from podium.rollout.traffic import Applied, Split
from podium.rollout.verdict import Hold
from podium.rollout.words import available as pods_available
from podium.rollout.words import count, lasted, named, sentences

PENDING_REASONS = frozenset(
    {
        Reason.PAUSED,
        Reason.WAITING_FOR_PROMOTION,
        Reason.WAITING_FOR_RESUME,
        Reason.DRAINING,
        Reason.ENVIRONMENT,
        Reason.PROMOTION_STANDS,
        Reason.CHAMPION_UNAVAILABLE,
        Reason.NO_DATA,
        Reason.SAMPLE_RATIO,
        Reason.INCONCLUSIVE,
        Reason.CONTAINER_ENDED,
        Reason.SCALED_TO_ZERO,
    }
)
"""Holds that are part of a rollout; every other one is a mistake that only a person can mend."""


PERSON_AWAITED = frozenset(
    {
        Reason.PAUSED,
        Reason.WAITING_FOR_PROMOTION,
        Reason.WAITING_FOR_RESUME,
        Reason.INCONCLUSIVE,
        Reason.SAMPLE_RATIO,
        Reason.SCALED_TO_ZERO,
    }
)
PLAN_PENDING = "spec.rollout or spec.replicas was edited since the rollout started: that counts from the next one"


@dataclass(frozen=True)
class Facts:
    """Input of the rows: the state after the decisions of this pass."""

    situation: Situation
    move: Move
    split: Split
    """Where requests go, as far as that was written."""
    hold: Hold | None
    refused: Refusal | None
    """What status is to tell of; None if nothing that serving relies on was refused."""
    moment: Moment

    @property
    def serving(self) -> set[str]:
        """The revisions that requests go to."""
        return set(self.split.weights)

    @property
    def champion_available(self) -> int:
        """Available pods that serve now, whichever revision they are of."""
        return sum(r.reported for r in self.situation.revisions if r.name in self.serving)

    @property
    def available(self) -> bool:
        """Whether the model is: a pod serves, or none is asked for."""
        return self.champion_available > 0 or self.at_zero

    @property
    def at_zero(self) -> bool:
        """Whether no pods are asked for: nothing is rolled out or goes on, and the champion has none to have."""
        s = self.situation
        still = s.candidate is None or s.emptied
        return s.champion is not None and still and not self.wanted and not s.spec.suspend

    @property
    def wanted(self) -> int:
        """Pods that the champion should have."""
        champion = self.situation.champion
        if champion is None:
            return self.situation.size
        target = self.move.targets.get(champion.name)
        return target.replicas if target else 0


@dataclass(frozen=True)
class Summary:
    """A row's answer. `ready` and `available` are True, False or None for Unknown."""

    phase: str
    reason: Reason
    message: str
    available: bool
    ready: bool
    reconciling: bool = False
    stalled: bool = False
    available_as: tuple[Reason, str] | None = None
    """What Available says, where that is no count of pods; a refused write does not change it."""


Row = Callable[[Facts], Summary | None]


def suspended(facts: Facts) -> Summary | None:
    """spec.suspend is true: all pods are removed."""
    s = facts.situation
    if not s.spec.suspend:
        return None
    left = sum(r.workload.pods for r in s.revisions if r.workload)
    pods = f"{count(left, 'pod')} {'is' if left == 1 else 'are'} still shutting down" if left else "no pods are left"
    rollout = f"the rollout of {named(s.candidate, s)} stands still" if s.candidate and s.champion else ""
    way = "to bring it back: set spec.suspend to false"
    message = sentences(f"the model is suspended: {pods}", rollout, way)
    return Summary("Suspended", Reason.SUSPENDED, message, False, True, available_as=(Reason.SUSPENDED, message))


def unresolvable(facts: Facts) -> Summary | None:
    """A spec that cannot be rolled out: an unknown runtime, a format that it does not serve."""
    hold = facts.hold
    if hold is None or hold.reason in PENDING_REASONS:
        return None
    phase = "Healthy" if facts.situation.champion else "Failed"
    message = sentences(*_lost(facts), hold.message)
    return Summary(phase, hold.reason, message, facts.available, False, stalled=True)


def first(facts: Facts) -> Summary | None:
    """No champion yet: coming up, held, or failed for now (its pods keep trying)."""
    s, candidate = facts.situation, facts.situation.candidate
    if s.champion is not None:
        return None
    if candidate is None:
        hold = facts.hold or Hold(Reason.PROGRESSING, "No revision has been made yet.")
        if hold.reason == Reason.PAUSED:
            return Summary("Paused", Reason.PAUSED, hold.message, False, False)
        return Summary("Progressing", hold.reason, hold.message, False, False, reconciling=True)
    who, counts = named(candidate, s), pods_available(candidate.reported, s.size)
    failure = evidence(candidate, facts.moment, s.timings)
    if failure is not None:
        cause = f"{who} cannot start: {failure.message}"
        message = sentences(cause, f"{counts}; its pods keep trying", "to go on: remove the cause, or change spec")
        return Summary("Failed", failure.reason, message, False, False, stalled=True)
    due = s.deadline or candidate.record.began_at
    if candidate.reported < s.size and facts.moment.reached(s.judged_at):
        cause = _ailing(candidate)
        told = (
            f"{who} is not ready after {lasted(s.progress_deadline)} (progressDeadline){': ' + cause if cause else ''}"
        )
        message = sentences(told, f"{counts}; its pods keep trying", "to go on: remove the cause, or change spec")
        return Summary("Failed", Reason.DEADLINE_EXCEEDED, message, False, False, stalled=True)
    if facts.hold and facts.hold.reason == Reason.PAUSED:
        return Summary("Paused", Reason.PAUSED, facts.hold.message, False, False)
    ailing = _ailing(candidate)
    message = sentences(f"{who} is starting: {counts}; it has until {_clock(due)}", ailing)
    return Summary("Progressing", Reason.PROGRESSING, message, False, False, reconciling=True)


def waiting_for_a_person(facts: Facts) -> Summary | None:
    """A pause that holds something back, or a promotion that a person has to give."""
    s = facts.situation
    held = facts.hold is not None and facts.hold.reason in PERSON_AWAITED
    if not held and not (s.paused and s.candidate is not None):
        return None
    whose = f"the rollout of {named(s.candidate, s)}" if s.candidate else "the ModelDeployment"
    parts = [*_lost(facts), facts.hold.message if facts.hold and held else f"{whose} is paused"]
    reason = facts.hold.reason if facts.hold and held else Reason.PAUSED
    if s.champion and s.candidate:
        if not held and s.candidate.record.steps:
            parts.append(step_told(s, facts.split, s.candidate, facts.moment))
        if _plan_pending(s, s.candidate.record):
            parts.append(PLAN_PENDING)
    return Summary("Paused", reason, sentences(*parts), facts.available, False)


def returning(facts: Facts) -> Summary | None:
    """After a suspension, or from zero replicas: the champion's pods come first."""
    s, champion, candidate = facts.situation, facts.situation.champion, facts.situation.candidate
    if not s.returning or champion is None or candidate is None:
        return None
    message = sentences(
        f"{named(champion, s)} comes back: {pods_available(champion.reported, s.target)}",
        f"the rollout of {named(candidate, s)} goes on after that, or after {lasted(s.progress_deadline)}",
        _ailing(champion),
    )
    available = facts.available
    return Summary("Progressing", Reason.PROGRESSING, message, available, False, reconciling=True)


def rolling(facts: Facts) -> Summary | None:
    """A rollout is under way."""
    s, candidate, champion = facts.situation, facts.situation.candidate, facts.situation.champion
    if candidate is None or champion is None:
        return None
    available, record = facts.available, candidate.record
    says_so = facts.hold is not None and facts.hold.reason == Reason.CHAMPION_UNAVAILABLE
    lost = () if available or says_so else _lost(facts)
    phase = "Promoting" if record.promoting else "Analyzing" if record.weighed_at else "Progressing"
    needed = STRATEGIES[record.strategy].needed(s, champion, candidate)
    counts = f"{named(candidate, s)} has {pods_available(candidate.reported, needed)}"
    if facts.hold is not None:
        message = sentences(*lost, f"{counts}; its rollout is on hold", facts.hold.message, _edited(s, candidate))
        reason = facts.hold.reason
    else:
        ailing = _ailing(candidate)
        scarce = scarcity(s)
        ailing = f"{named(candidate, s)} {scarce}" if scarce else ailing
        weighed = record.asked and not candidate.promotion_stands
        lately = ended_lately(s, candidate, facts.moment) if weighed else None
        edited = _edited(s, candidate)
        pending = PLAN_PENDING if _plan_pending(s, record) else edited
        reason = Reason.PLAN_PENDING if pending else Reason(record.strategy)
        told = lately.message if lately else ""
        message = sentences(*lost, *_under_way(facts, counts, champion, candidate), ailing, told, pending)
    return Summary(phase, reason, message, available, False, reconciling=True)


def _edited(situation: Situation, candidate: RevisionState) -> str:
    """What to do for an analysis that was edited since the rollout started; empty where it was not."""
    asked = candidate.record.asked
    if not asked:
        return ""
    now = Asked.of(situation.spec, asked.at, by_default=candidate.facts.stepwise)
    if now.to_json() == asked.to_json():
        return ""
    ways = f"{situation.how_to('abort', candidate)} and then {situation.how_to('retry', candidate)}"
    said = "spec.rollout.analysis was edited since this rollout started and counts from the next one"
    return f"{said}; to begin that now: {ways}"


def _under_way(facts: Facts, counts: str, champion: RevisionState, candidate: RevisionState) -> list[str]:
    """How far it is, and what is awaited until when."""
    s, record = facts.situation, candidate.record
    fixed = s.spec.autoscaling is not None and candidate.facts.fixed_size(record)
    frozen = "its size is frozen until the rollout is over" if fixed else ""
    weighs = record.weighed_at or (record.asked.watched and s.findings is not None)
    weighed = _weighed(s) if weighs and not record.promoting else ""
    if record.steps:
        return [counts, step_told(s, facts.split, candidate, facts.moment), frozen, weighed]
    left = count(champion.replicas, "pod")
    strategy = STRATEGIES[record.strategy]
    full = candidate.reported >= strategy.needed(s, champion, candidate)
    kept_out = full and s.exact and not s.traffic.prepared(candidate.name)
    until = f"has until {_clock(s.deadline or facts.moment.now + s.progress_deadline)}"
    if s.deadline is None and strategy.awaits_person(s, candidate):
        until = "waits for the rest"
    awaited_now = "waits until every router reaches it" if kept_out else until
    way = f"to promote it all the same: {s.how_to('promote', candidate)}" if kept_out and strategy.promotable else ""
    return [f"{counts}, and {awaited_now}", f"{named(champion, s)} still has {left}", frozen, weighed, way]


def _weighed(situation: Situation) -> str:
    """How strong the evidence is, and when a decision can be expected."""
    found = situation.findings
    if found is None or found.published is None:
        return "nothing has been counted yet"
    return awaited(found.published)


def _plan_pending(situation: Situation, record: RolloutRecord) -> bool:
    """Whether the rollout's frozen strategy and sizes are no longer what spec says."""
    follows = situation.spec.autoscaling or not facts_of(record.strategy).fixed_size(record)
    size = record.size if follows else situation.spec.replicas
    strategy = situation.spec.rollout.strategy
    wanted = (strategy, STRATEGIES[strategy].freeze(situation.spec, size), situation.spec.rollout.min_ready_seconds)
    return wanted != (record.strategy, Frozen.of(record), record.min_ready_seconds)


def draining(facts: Facts) -> Summary | None:
    """A retired candidate that still has pods behind the stable Service, or traffic that has not moved yet."""
    s, champion = facts.situation, facts.situation.champion
    if champion is None:
        return None
    leaving = [r for r in s.losers if r.outcome is not Outcome.PROMOTED and r.name in facts.move.targets]
    available = facts.available
    if leaving:
        loser = leaving[0]
        message = sentences(
            f"traffic goes back from {named(loser, s)}, which has {count(loser.replicas, 'pod')} left, to "
            f"{named(champion, s)}, which has {count(champion.reported, 'available pod')}"
        )
        return Summary(
            "RollingBack", Reason(loser.ended or Outcome.SUPERSEDED), message, available, False, reconciling=True
        )
    others = s.traffic.others(champion.name)
    if others and champion.reported:
        listed = f"{count(others, 'endpoint')} of other versions {'is' if others == 1 else 'are'} still listed"
        message = sentences(f"traffic moves to {named(champion, s)}: {listed}")
        return Summary("Promoting", Reason.TRAFFIC_MOVING, message, available, False, reconciling=True)
    if facts.hold is not None and facts.hold.reason == Reason.DRAINING:
        return Summary("Progressing", Reason.DRAINING, facts.hold.message, available, False, reconciling=True)
    return None


def rolled_back(facts: Facts) -> Summary | None:
    """The spec asks for a revision that was rolled back; the champion serves."""
    s = facts.situation
    rejected, champion = s.rejected, s.champion
    if rejected is None or champion is None:
        return None
    lost = _lost(facts)
    message = sentences(*lost, rollback_told(s, rejected, who_serves=not lost or champion.reported > 0))
    return Summary("RolledBack", Reason.ROLLED_BACK, message, facts.available, False, stalled=True)


def scaled_to_zero(facts: Facts) -> Summary | None:
    """Zero replicas are asked for."""
    champion = facts.situation.champion
    if champion is None or not facts.at_zero:
        return None
    message = sentences(f"{named(champion, facts.situation)} is scaled to zero")
    return Summary("Healthy", Reason.SCALED_TO_ZERO, message, True, True)


def degraded(facts: Facts) -> Summary | None:
    """Pods are missing, or none of them is behind the stable Service yet."""
    champion = facts.situation.champion
    if champion is None:
        return None
    counts = f"{named(champion, facts.situation)} has {pods_available(champion.reported, facts.wanted)}"
    ailing = _ailing(champion)
    if champion.reported < facts.wanted:
        message = sentences(counts, ailing)
        return Summary("Healthy", Reason.DEGRADED, message, facts.available, False, reconciling=True)
    if facts.situation.traffic.applied(Split.to(champion.name)) is Applied.UNKNOWN and _only(facts, champion):
        return None  # even if routers do not answer: they know of no other pods
    if not facts.situation.traffic_moved:
        them = "it" if facts.wanted == 1 else "them"
        message = sentences(counts, f"the Service {facts.situation.name} does not list {them} yet")
        return Summary("Promoting", Reason.TRAFFIC_MOVING, message, True, False, reconciling=True)
    return None


def _only(facts: Facts, champion: RevisionState) -> bool:
    """Whether requests lead to routers that know of no other revision with pods."""
    traffic = facts.situation.traffic
    return facts.situation.exact and traffic.listed and not traffic.others(champion.name)


def healthy(facts: Facts) -> Summary:
    """The spec's revision serves, in full."""
    s, champion = facts.situation, facts.situation.champion
    who, pods = (named(champion, s), champion.reported) if champion else ("nothing", 0)
    warm = ""
    if s.warm is not None and s.warm_until is not None:
        warm = f"{named(s.warm, s)} is kept warm until {_clock(s.warm_until)}"
    message = sentences(f"{who} serves with {count(pods, 'pod')}", warm)
    return Summary("Healthy", Reason.SERVING, message, True, True)


ROWS: tuple[Row, ...] = (
    suspended,
    unresolvable,
    first,
    waiting_for_a_person,
    returning,
    rolling,
    draining,
    rolled_back,
    scaled_to_zero,
    degraded,
    healthy,
)


def judge(facts: Facts) -> Summary:
    """The first row that applies; a refused write then changes its answer."""
    summary = next(found for row in ROWS if (found := row(facts)) is not None)
    return summary if facts.refused is None else overlaid(summary, facts.refused)


def overlaid(summary: Summary, refusal: Refusal) -> Summary:
    """The answer of a row after a write was refused: not Ready, and Stalled if only a person can end it."""
    clears = refusal.fault.clears
    return replace(
        summary,
        reason=refusal.reason,
        message=sentences(refusal.message),
        ready=False,
        reconciling=clears,
        stalled=not clears,
    )


def _lost(facts: Facts) -> tuple[str, ...]:
    """That the champion has fewer pods than it should, for a row about something else: what is lost comes first."""
    champion = facts.situation.champion
    if champion is None:
        return ()
    if facts.at_zero:
        return (f"{named(champion, facts.situation)} is scaled to zero",)
    if champion.reported >= facts.wanted:
        return ()
    return f"{named(champion, facts.situation)} has {pods_available(champion.reported, facts.wanted)}", _ailing(
        champion
    )


def _ailing(revision: RevisionState) -> str:
    """What keeps a pod of it from serving, else why it gets none."""
    if revision.failures:
        return revision.failures[0].message
    return revision.workload.refused if revision.workload else ""


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M:%SZ")
