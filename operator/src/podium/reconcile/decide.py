"""Decides: asks the gates until none has anything to say, and turns what they say into durable records. Pure."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from podium.api import names
from podium.api.reasons import EventReason, Reason
from podium.api.v1alpha1 import ModelRuntimeSpec
from podium.kube.resources import CONFIG_MAPS, NOTE_BYTES
from podium.manifests.fetch import Fetcher
from podium.manifests.revision import Revision, controller_revision, resolve
from podium.reconcile.observed import Observed
from podium.reconcile.readings import template_digest
from podium.reconcile.routers import ROUTERS
from podium.reconcile.writes import Entry, Note, Place
from podium.rollout.asked import Asked, Where
from podium.rollout.gates import first_verdict
from podium.rollout.moment import Moment
from podium.rollout.record import CommandRecord, Outcome, Record, RolloutRecord
from podium.rollout.revision import RevisionState
from podium.rollout.rule import Rule
from podium.rollout.sentences import rollback_told
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.verdict import Decline, Hold, Mark, Start
from podium.rollout.words import count, named, sentences

WARNINGS = frozenset({EventReason.TOO_LITTLE_TRAFFIC, Reason.CONTAINER_ENDED})
"""Reasons of Events, beside those of outcomes and commands, that tell of something a person may want to mend."""
PROMOTED_BY_A_PERSON = "was promoted by a person"
CAUSE_LENGTH = 700
"""Characters of the cause of a rollback that are kept on its revision."""

MAX_DECISIONS = 12
"""Beside one for each revision; more in one pass means that two gates undo each other, which is a bug in Podium."""


@dataclass
class Decisions:
    """What the gates say now. Each entry relies on all before it that are relied on."""

    before: Situation
    """What the records say before any entry is written."""
    revisions: dict[str, Revision]
    """All that are observed, and those that the entries create, by name."""
    entries: list[Entry] = field(default_factory=list)
    hold: Hold | None = None
    declined: Decline | None = None
    """A command that names no revision which could record that it is declined: status alone does."""

    @property
    def situation(self) -> Situation:
        """Once all entries are written."""
        found = self.before
        for entry in self.entries:
            found = found.changed(entry.state)
        if self.declined is None:
            return found
        return replace(found, last_command=self.declined.command, last_command_at=self.declined.at)

    def annotate(self, entry: Entry) -> None:
        """Consecutive decisions on one revision become one write.

        A decision on another revision between two of them keeps them apart, unless nothing relies on it.
        """
        apart = next((e for e in self.entries if e.revision == entry.revision and not e.relied_on), None)
        if apart is not None:
            self.entries.remove(apart)
            entry = replace(entry, annotations=apart.annotations | entry.annotations, notes=apart.notes + entry.notes)
        last = next((e for e in reversed(self.entries) if e.relied_on), None)
        if last is None or last.revision != entry.revision:
            self.entries.append(entry)
            return
        told = last.notes
        if last.obj is not None:
            last.obj["metadata"]["annotations"].update(entry.annotations)
            if entry.state.outcome is not None:
                told = ()  # what begins and ends in one write is told by its end
        annotations, notes = last.annotations | entry.annotations, told + entry.notes
        needs = last.needs | entry.needs
        both = Entry(last.revision, annotations, last.obj, entry.state, notes, needs=needs)
        self.entries[self.entries.index(last)] = both

    def without(self, revisions: Collection[str]) -> "Decisions":
        """The same, less what could not be written of these revisions and nothing relies on."""
        kept = [e for e in self.entries if e.relied_on or e.revision not in revisions]
        return replace(self, entries=kept)

    def first(self, entered: int) -> "Decisions":
        """As many of those that are relied on, and nothing that was decided after them."""
        kept = [e for e in self.entries if e.relied_on][:entered]
        return replace(self, entries=kept, hold=None)


def decide(observed: Observed, situation: Situation, moment: Moment, fetcher: Fetcher) -> Decisions:
    """Ask the gates in order, take the first decision over into the situation, and ask again until they rest."""
    decisions = Decisions(situation, dict(observed.revisions))
    for _ in range(MAX_DECISIONS + len(situation.revisions)):
        verdict = first_verdict(decisions.situation, moment)
        match verdict:
            case None:
                return decisions
            case Hold():
                decisions.hold = verdict
                return decisions
            case Decline():
                decisions.declined = verdict
            case Mark():
                _mark(decisions, verdict, moment)
            case Start():
                _start(decisions, observed, verdict, moment, fetcher)
    raise RuntimeError(f"{observed.owner.namespace}/{observed.owner.name}: the gates do not come to rest: {verdict}")


def _mark(decisions: Decisions, mark: Mark, moment: Moment) -> None:
    situation = decisions.situation
    before = next(r for r in situation.revisions if r.name == mark.revision)
    record = before.durable
    if mark.outcome is not None:
        record = replace(record, outcome=mark.outcome)
        if mark.outcome is Outcome.ROLLED_BACK and mark.message:
            cause = mark.message if len(mark.message) <= CAUSE_LENGTH else f"{mark.message[: CAUSE_LENGTH - 2]} …"
            record = replace(record, cause=cause)
        if before is situation.candidate and situation.findings is not None and situation.findings.live is not None:
            record = replace(record, ledger=situation.findings.live.digest(before.record.id))
        if mark.rule is not None:
            record = replace(record, rule=str(mark.rule), decided_at=situation.next_decision(moment.now))
        elif before.decided_at is None:
            record = replace(record, decided_at=situation.next_decision(moment.now))
    record = replace(record, command=mark.command or record.command, rollout=mark.record or record.rollout)
    after = replace(before, durable=record)
    notes = (_note(mark, before, after, situation),) if mark.message else ()
    changes = record.changes(before.durable)
    entry = Entry(mark.revision, changes, None, after, notes, relied_on=mark.relied_on, needs=_proof(mark, before))
    decisions.annotate(entry)


def _proof(mark: Mark, before: RevisionState) -> frozenset[Place]:
    """What must be written first: the ledger, where a promotion by evidence begins or ends; nothing for a rollback."""
    rule = mark.rule
    if mark.outcome is None and mark.record is not None and mark.record.promoting != before.record.promoting:
        rule = Rule.parse(mark.record.promoting)
    proven = rule is not None and rule.proven
    return frozenset({(CONFIG_MAPS, names.ledger_name(mark.revision))} if proven else ())


def _note(mark: Mark, before: RevisionState, after: RevisionState, situation: Situation) -> Note:
    if mark.reason:
        return Note(
            mark.reason,
            sentences(f"{named(before, situation)}: {mark.message}"),
            "Step",
            before.name,
            warning=mark.reason in WARNINGS,
        )
    if mark.outcome is None:
        command = mark.command
        declined = command is not None and command.result.value == "Refused"
        verb = command.verb.capitalize() if command else ""
        reason = EventReason.COMMAND_REFUSED if declined else EventReason(f"{verb}Accepted")
        return Note(
            reason,
            sentences(mark.message if declined else f"{named(before, situation)}: {mark.message}"),
            "Command",
            before.name,
            warning=declined,
        )
    if mark.outcome is Outcome.ROLLED_BACK:
        return rollback_note(after, situation.changed(after))
    text = sentences(f"{named(after, situation)} {_what(mark)}")
    return Note(mark.outcome.value, text, "Decide", before.name, rule=str(mark.rule or ""))


def _what(mark: Mark) -> str:
    """What has become of a revision that was not rolled back: what, why, and the rule in brackets unless it is said."""
    if mark.outcome is Outcome.PROMOTED:
        if mark.rule is not None and mark.rule.stands:
            return PROMOTED_BY_A_PERSON if mark.command else f"{PROMOTED_BY_A_PERSON}: {mark.message}"
        return f"was promoted: {mark.message} (rule {mark.rule})"
    return f"{'was given up' if mark.command is None else 'is tried again'}: {mark.message}"


def rollback_note(revision: RevisionState, situation: Situation) -> Note:
    """The Event of a rollback, from its record alone: whoever tells it says the same.

    `situation`: after the decision.
    """
    text = rollback_told(situation, revision)
    if len(text.encode(errors="replace")) > NOTE_BYTES:
        text = rollback_told(situation, revision, way_out=False)  # half a command is worse than none; status has it
    return Note(Outcome.ROLLED_BACK.value, text, "Decide", revision.name, warning=True, rule=revision.rule)


def _start(decisions: Decisions, observed: Observed, verdict: Start, moment: Moment, fetcher: Fetcher) -> None:
    situation, owner = decisions.situation, observed.owner
    revision = _next_revision(observed, situation, verdict.request, fetcher)
    strategy = situation.spec.rollout.strategy
    frozen = STRATEGIES[strategy].freeze(situation.spec, situation.size)
    request = verdict.request
    record = RolloutRecord(
        id=f"{revision.name}-{int(moment.now.timestamp() * 1000):x}",
        started_at=moment.now,
        strategy=strategy,
        size=frozen.size,
        surge=frozen.surge,
        unavailable=frozen.unavailable,
        steps=frozen.steps,
        min_ready_seconds=situation.spec.rollout.min_ready_seconds,
        request=request.value if request else "",
        started_by=situation.operator,
        asked=_asked(situation),
    )
    durable = Record(inputs=revision.inputs, rollout=record)
    state = RevisionState(
        name=revision.name,
        number=revision.number,
        inputs=revision.inputs,
        version=revision.version,
        created=moment.now,
        durable=durable,
        template_digest=template_digest(revision),
        runtime=revision.runtime,
        counting=revision.counting,
    )
    after = situation.changed(state)
    replaces = f", to replace {named(situation.champion, after)}" if situation.champion else ""
    told = f"a rollout of {named(state, after)} has started: {strategy} of {count(frozen.size, 'pod')}{replaces}"
    text = sentences(told)
    note = Note(EventReason.ROLLOUT_STARTED, text, "Rollout", revision.name)
    annotations = durable.to_annotations()
    obj = controller_revision(owner, revision, annotations)
    decisions.revisions[revision.name] = revision
    decisions.entries.append(Entry(revision.name, annotations, obj, state, (note,)))


def _asked(situation: Situation) -> Asked:
    """What the analysis is asked: without a champion there is none.

    Routers count where their weights stand still for a while, which is at a Canary's steps. A RollingUpdate's change
    with each pod, and who tries a BlueGreen's preview passes the routers by: their pods count, whatever the router.
    """
    spec = situation.spec
    if situation.champion is None or not situation.size:
        return Asked()
    stepwise = STRATEGIES[spec.rollout.strategy].stepwise
    at = Where.ROUTERS if ROUTERS[spec.traffic.router].exact and stepwise else Where.PODS
    return Asked.of(spec, at, by_default=stepwise)


def _next_revision(
    observed: Observed, situation: Situation, request: CommandRecord | None, fetcher: Fetcher
) -> Revision:
    number = max((r.number for r in situation.revisions), default=0) + 1
    taken = {r.name for r in situation.revisions} | observed.aside.names
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
