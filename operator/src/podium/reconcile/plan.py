"""The planner: from what was observed and the time to everything that is to be written. Pure.

Decisions come first (outcomes, new revisions), then the Services, then the pods, then what is no longer needed:
traffic leaves before capacity does.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from podium import names
from podium.api.v1alpha1 import ModelRuntimeSpec
from podium.build.fetch import Fetcher
from podium.build.revision import Revision, controller_revision, resolve
from podium.kube.client import Object
from podium.kube.resources import HPAS, Resource
from podium.reconcile import children
from podium.reconcile.children import Scale
from podium.reconcile.observe import Observed
from podium.reconcile.readings import template_digest
from podium.rollout.gates import first_verdict, next_look
from podium.rollout.record import CommandRecord, Outcome, RolloutRecord, format_time
from podium.rollout.sizing import next_resize, sizes
from podium.rollout.state import RevisionState, Situation
from podium.rollout.strategies import STRATEGIES, Sizes
from podium.rollout.verdict import Hold, Mark, Refuse, Start

CAUSE_LENGTH = 700
"""Characters of the cause of a rollback that are kept on its revision."""

DECIDED = frozenset({"Decide", "Rollout"})
"""Actions of the notes that tell of an outcome or a start."""

MAX_DECISIONS = 12
"""Beside one for each revision; more in one pass means that two gates undo each other, which is a mistake of ours."""


@dataclass(frozen=True)
class Note:
    """An Event to be."""

    reason: str
    message: str
    action: str
    revision: str = ""
    warning: bool = False
    rule: str = ""


@dataclass(frozen=True)
class Annotate:
    """Write annotations on an existing ControllerRevision."""

    revision: str
    annotations: dict[str, str]


@dataclass(frozen=True)
class Create:
    """Create a ControllerRevision: a rollout starts."""

    obj: Object


Decision = Annotate | Create


@dataclass(frozen=True)
class Plan:
    """All writes of one pass but status, in their order."""

    situation: Situation
    """As it will be once the decisions are written."""
    sizes: Sizes
    decisions: tuple[Decision, ...] = ()
    services: tuple[Object, ...] = ()
    released: tuple[tuple[Resource, str], ...] = ()
    """HPAs that must let go before their Deployments are sized."""
    workloads: tuple[Scale, ...] = ()
    policies: tuple[Object, ...] = ()
    """HPAs and the PodDisruptionBudget."""
    removals: tuple[tuple[Resource, str], ...] = ()
    notes: tuple[Note, ...] = ()
    hold: Hold | None = None
    refusal: Refuse | None = None
    wake_at: datetime | None = None


@dataclass
class _Deciding:
    """What has been decided so far in this pass."""

    situation: Situation
    revisions: dict[str, Revision]
    decisions: list[Decision] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    hold: Hold | None = None
    refusal: Refuse | None = None

    def write(self, revision: str, annotations: dict[str, str]) -> None:
        """One write for decisions on one revision in a row; what lies between two of them stays between them."""
        match self.decisions[-1] if self.decisions else None:
            case Create(obj) if obj["metadata"]["name"] == revision:
                obj["metadata"]["annotations"].update(annotations)
            case Annotate(name, earlier) if name == revision:
                earlier.update(annotations)
            case _:
                self.decisions.append(Annotate(revision, annotations))


def plan(observed: Observed, now: datetime, fetcher: Fetcher) -> Plan | None:
    """What to write now; None when nothing may be planned (deletion, an unreadable spec)."""
    if observed.deleting or observed.situation is None:
        return None
    deciding = _decide(observed, observed.situation, now, fetcher)
    situation = deciding.situation
    wanted = sizes(situation, now)
    return Plan(
        situation=situation,
        sizes=wanted,
        decisions=tuple(deciding.decisions),
        services=children.services(observed.owner, situation, wanted, deciding.revisions),
        released=tuple(
            (HPAS, name)
            for (resource, name) in observed.children
            if resource is HPAS and (name not in wanted.targets or not wanted.targets[name].autoscaled)
        ),
        workloads=children.workloads(observed, situation, wanted, deciding.revisions),
        policies=children.policies(observed.owner, situation, wanted),
        removals=children.removals(observed, situation, wanted),
        notes=tuple(deciding.notes) + _replicas_ignored(observed, situation),
        hold=deciding.hold,
        refusal=deciding.refusal,
        wake_at=min((at for at in (next_look(situation, now), next_resize(situation, now)) if at), default=None),
    )


def _decide(observed: Observed, situation: Situation, now: datetime, fetcher: Fetcher) -> _Deciding:
    deciding = _Deciding(situation, dict(observed.revisions))
    for _ in range(MAX_DECISIONS + len(situation.revisions)):
        verdict = first_verdict(deciding.situation, now)
        match verdict:
            case None:
                return deciding
            case Hold():
                deciding.hold = verdict
                return deciding
            case Refuse():
                deciding.refusal = verdict
                deciding.situation = replace(deciding.situation, last_command=verdict.command)
                deciding.notes.append(Note("CommandRefused", verdict.message, "Command", warning=True))
            case Mark():
                _mark(deciding, verdict, now)
            case Start():
                _start(deciding, observed, verdict, now, fetcher)
    raise RuntimeError(f"{observed.owner.namespace}/{observed.owner.name}: the gates do not come to rest: {verdict}")


def _mark(deciding: _Deciding, mark: Mark, now: datetime) -> None:
    situation = deciding.situation
    before = next(r for r in situation.revisions if r.name == mark.revision)
    annotations: dict[str, str] = {}
    after = before
    if mark.outcome is not None:
        annotations[names.ANNOTATION_OUTCOME] = mark.outcome.value
        after = replace(after, outcome=mark.outcome)
        if mark.outcome is Outcome.ROLLED_BACK and mark.message:
            cause = mark.message if len(mark.message) <= CAUSE_LENGTH else f"{mark.message[: CAUSE_LENGTH - 2]} …"
            annotations[names.ANNOTATION_CAUSE] = cause
            after = replace(after, cause=cause)
        if mark.rule is not None:
            decided_at = situation.next_decision(now)
            annotations |= {names.ANNOTATION_RULE: mark.rule, names.ANNOTATION_DECIDED_AT: format_time(decided_at)}
            after = replace(after, rule=mark.rule, decided_at=decided_at)
        elif before.decided_at is None:
            decided_at = situation.next_decision(now)
            annotations[names.ANNOTATION_DECIDED_AT] = format_time(decided_at)
            after = replace(after, decided_at=decided_at)
    if mark.command is not None:
        annotations[names.ANNOTATION_COMMAND] = mark.command.to_json()
        after = replace(after, command=mark.command)
    if mark.record is not None:
        annotations[names.ANNOTATION_ROLLOUT] = mark.record.to_json()
        after = replace(after, record=mark.record)
    deciding.write(mark.revision, annotations)
    deciding.situation = situation.changed(after)
    if mark.message:
        deciding.notes.append(_note(mark, before))


def _note(mark: Mark, before: RevisionState) -> Note:
    if mark.outcome is None:
        command = mark.command
        refused = command is not None and command.result.value == "Refused"
        verb = command.verb.capitalize() if command else "Command"
        reason = "CommandRefused" if refused else f"{verb}Accepted"
        return Note(
            reason,
            f"{before.name}: {mark.message}" if not refused else mark.message,
            "Command",
            before.name,
            warning=refused,
        )
    rule = f" by rule {mark.rule}" if mark.rule else ""
    text = f"{before.name} ({before.version or 'no version'}) {mark.outcome.value}{rule}: {mark.message}"
    warning = mark.outcome is Outcome.ROLLED_BACK
    return Note(mark.outcome.value, text, "Decide", before.name, warning=warning, rule=mark.rule or "")


def _start(deciding: _Deciding, observed: Observed, verdict: Start, now: datetime, fetcher: Fetcher) -> None:
    situation, owner = deciding.situation, observed.owner
    revision = _next_revision(observed, situation, verdict.request, fetcher)
    strategy = situation.spec.rollout.strategy
    frozen = STRATEGIES[strategy].freeze(situation.spec, situation.size)
    request = verdict.request
    record = RolloutRecord(
        id=f"{revision.name}-{int(now.timestamp() * 1000):x}",
        started_at=now,
        strategy=strategy,
        size=frozen.size,
        surge=frozen.surge,
        unavailable=frozen.unavailable,
        min_ready_seconds=situation.spec.rollout.min_ready_seconds,
        request=request.value if request else "",
    )
    obj = controller_revision(owner, revision, {names.ANNOTATION_ROLLOUT: record.to_json()})
    deciding.decisions.append(Create(obj))
    deciding.revisions[revision.name] = revision
    state = RevisionState(
        name=revision.name,
        number=revision.number,
        inputs=revision.inputs,
        version=revision.version,
        created=now,
        record=record,
        template_digest=template_digest(revision),
        runtime=revision.runtime,
    )
    deciding.situation = situation.changed(state)
    replaces = f" to replace {situation.champion.version or situation.champion.name}" if situation.champion else ""
    text = f"{revision.name} ({revision.version or 'no version'}): {strategy} of {frozen.size} pods{replaces}"
    deciding.notes.append(Note("RolloutStarted", text, "Rollout", revision.name))


def _next_revision(
    observed: Observed, situation: Situation, request: CommandRecord | None, fetcher: Fetcher
) -> Revision:
    number = max((r.number for r in situation.revisions), default=0) + 1
    taken = {r.name for r in situation.revisions}
    if observed.resolved is not None and request is None and observed.resolved.name not in taken:
        return replace(observed.resolved, number=number)
    runtime = ModelRuntimeSpec.parse((observed.runtime or {}).get("spec", {}))
    token = request.token if request else ""
    for collisions in range(len(taken) + 1):
        revision = resolve(
            observed.owner, situation.spec, runtime, fetcher, number=number, token=token, collisions=collisions
        )
        if revision.name not in taken:
            return revision
    raise AssertionError("one name more than there are revisions was tried")


def _replicas_ignored(observed: Observed, situation: Situation) -> tuple[Note, ...]:
    before = observed.replicas_before
    champion = situation.champion
    if situation.spec.autoscaling is None or champion is None or before in (None, situation.spec.replicas):
        return ()
    text = f"spec.replicas {situation.spec.replicas} is ignored: HorizontalPodAutoscaler {champion.name} decides"
    return (Note("ReplicasIgnored", text, "Scale", champion.name, warning=True),)


def command_of(situation: Situation) -> CommandRecord | None:
    """The newest command that any revision recorded."""
    return max((r.command for r in situation.revisions if r.command), key=lambda c: c.at, default=None)
