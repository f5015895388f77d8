"""What is known of one ModelDeployment at one moment: the input of every gate and strategy."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from podium.api.reasons import Reason
from podium.api.v1alpha1 import ModelDeploymentSpec, parse_duration
from podium.rollout.command import how_to
from podium.rollout.measuring import Findings
from podium.rollout.record import CommandRecord, Outcome
from podium.rollout.revision import RevisionState
from podium.rollout.traffic import Applied, Endpoints, Split, Traffic
from podium.rollout.wire import EARLIEST


@dataclass(frozen=True)
class Proposal:
    """What the present spec would roll out: resolved against its ModelRuntime, or why it cannot be."""

    inputs: str
    version: str
    template_digest: str = ""
    reason: Reason | None = None
    """Why it cannot be rolled out; None when it can."""
    message: str = ""


@dataclass(frozen=True)
class Timings:
    """The durations that the gates go by."""

    crash_grace: timedelta = timedelta(seconds=30)
    champion_down: timedelta = timedelta(seconds=60)
    environment_window: timedelta = timedelta(minutes=5)
    patience: timedelta = timedelta(seconds=5)
    """How long the cluster may refuse a candidate's pods before that counts as more than a passing fault."""
    operators_apart: timedelta = timedelta(minutes=2)
    """By how much the clocks of two operators may differ, either way."""
    router_drain: timedelta = timedelta(minutes=2)
    """How long a router waits for callers that it has asked to leave."""


@dataclass(frozen=True)
class Situation:
    """One ModelDeployment as the planner sees it. Revisions are in the order of their numbers."""

    name: str
    spec: ModelDeploymentSpec
    proposal: Proposal
    revisions: tuple[RevisionState, ...]
    namespace: str = ""
    command: str = ""
    """The annotation `podium.dev/command` as it stands."""
    last_command: str = ""
    """The value in status.lastCommand: commands declined that no revision could record."""
    champion_down_since: datetime | None = None
    """Since when the champion has had no available pod, as far as this operator has seen."""
    returning_since: datetime | None = None
    """Since when the champion's pods have been coming back after a suspension, as far as this operator has seen."""
    candidate_short_since: datetime | None = None
    """Since when a candidate that had its pods has had too few (lateness.py), while the cluster takes new ones."""
    candidate_refused: str = ""
    """The API server's sentence if it refuses the candidate's Deployment."""
    candidate_kept_out_since: datetime | None = None
    """Since when the cluster, and not the candidate, has kept its Deployment or its pods from being made."""
    traffic: Traffic = field(default_factory=Endpoints)
    """Where requests go now."""
    exact: bool = False
    """Whether routers apply exact weights; else shares follow the available pods."""
    timings: Timings = Timings()
    operator: str = ""
    """Identity of the one that plans now: its clock is its own."""
    looking_since: datetime | None = None
    """When this process looked at the ModelDeployment for the first time."""
    scarce: str = ""
    """The extended resource that the candidate's pods wait for and the champion's ask for, too; empty without one."""
    last_command_at: datetime | None = None
    """The time in status.lastCommand."""
    findings: Findings | None = None
    """What measuring the candidate's rollout has come to; None while nobody measures it."""
    unread: str = ""
    """The sentence on a record of which nothing can be read, and which may be the champion's; empty without one."""
    unroutable: str = ""
    """Why the routers that spec asks for can take no requests of it: `spec` is as without a router then."""

    @cached_property
    def champion(self) -> RevisionState | None:
        """The Promoted revision with the latest decision."""
        promoted = [r for r in self.revisions if r.promoted]
        if any(r.decided_at is None for r in promoted):
            # Revisions are promoted in the order of their numbers: an earlier one serves again only by taking the
            # later one's promotion back.
            return max(promoted, key=lambda r: r.number)
        return max(promoted, key=lambda r: (r.decided_at, r.number), default=None)

    @cached_property
    def candidate(self) -> RevisionState | None:
        """The revision without an outcome: at most one, the newest should there ever be two."""
        return next((r for r in reversed(self.revisions) if r.outcome is None and not r.unclear), None)

    @cached_property
    def unreadable(self) -> tuple[str, ...]:
        """What about the records must be mended before anything is decided; drift repair and failover go on."""
        found = [self.unread] if self.unread else []
        for revision in self.revisions:
            blocks = revision is self.candidate and "rollout" in revision.broken
            asked_for = revision.inputs == self.proposal.inputs
            blocks |= revision.unclear and (revision is self.champion or revision.has_pods or asked_for)
            blocks |= "rollout" in revision.broken and revision in self.losers and not revision.promoted
            found += revision.unreadable if blocks else ()
        return tuple(found)

    @cached_property
    def losers(self) -> tuple[RevisionState, ...]:
        """Every revision with a Deployment or pods that is neither champion nor candidate."""
        roles = (self.champion, self.candidate)
        return tuple(r for r in self.revisions if r not in roles and (r.workload is not None or r.pods or r.has_hpa))

    @cached_property
    def rejected(self) -> RevisionState | None:
        """The rolled-back revision that the spec still asks for, if no champion of the same inputs came after it."""
        champion, inputs = self.champion, self.proposal.inputs
        settled = champion.number if champion and champion.inputs == inputs else 0
        found = (r for r in self.revisions if r.outcome is Outcome.ROLLED_BACK and r.inputs == inputs)
        return max((r for r in found if r.number > settled), key=lambda r: r.number, default=None)

    @cached_property
    def unaware(self) -> RevisionState | None:
        """The revision that spec asks for, where it began before the records of earlier ones were restored.

        A new revision's number is above all others', and decisions follow each other. So one of no lower number that
        was decided earlier, but was created later, was not known when this one began.
        """
        champion = self.champion
        first = champion if champion and champion.decided_by.first else None
        for begun in (self.candidate, first):
            asked_for = begun is not None and begun.inputs == self.proposal.inputs
            if begun is not None and asked_for and any(self._came_later(r, begun) for r in self.revisions):
                return begun
        return None

    def _came_later(self, record: RevisionState, begun: RevisionState) -> bool:
        if record is begun or record.outcome is None or record.decided_at is None:
            return False
        if record.number < begun.number or record.created < begun.created:
            return False
        return begun.decided_at is None or record.decided_at < begun.decided_at

    @cached_property
    def recorded(self) -> RevisionState | None:
        """The champion by all records but that of the unaware revision."""
        promoted = [r for r in self.revisions if r is not self.unaware and r.promoted and r.decided_at]
        return max(promoted, key=lambda r: (r.decided_at, r.number), default=None)

    @cached_property
    def unaware_of(self) -> tuple[RevisionState, ...]:
        """Those whose records came later, and say that what the unaware revision serves was rolled back."""
        begun = self.unaware
        if begun is None:
            return ()
        others = (r for r in self.revisions if r is not begun and r.number >= begun.number)
        return tuple(r for r in others if r.outcome is Outcome.ROLLED_BACK and r.inputs == begun.inputs)

    @cached_property
    def paused_by(self) -> RevisionState | None:
        """The revision that a `pause` named, until a `resume` of it: neither a new spec nor a rollback ends a pause."""
        return next((r for r in self.revisions if r.command and r.command.paused), None)

    @property
    def paused(self) -> bool:
        """Whether spec or a command holds this ModelDeployment; a command that cannot be read may be a `pause`."""
        roles = (self.champion, self.candidate)
        return self.spec.paused or self.paused_by is not None or any("command" in r.broken for r in roles if r)

    @cached_property
    def request(self) -> CommandRecord | None:
        """An accepted `retry` or `restart` whose rollout has not been started yet."""
        started = {r.record.request for r in self.revisions}
        requests = (r.command.request for r in reversed(self.revisions) if r.command)
        return next((request for request in requests if request and request.value not in started), None)

    @property
    def traffic_moved(self) -> bool:
        """Whether all requests go to the champion, and surely to nobody else."""
        return self.champion is not None and self.traffic.applied(Split.to(self.champion.name)) is Applied.YES

    @cached_property
    def capacity(self) -> dict[str, int]:
        """Ready pods of each revision that are to stay; with exact weights, 0 for one that routers have not reached."""
        ready = {r.name: sum(1 for pod in r.pods if pod.ready and not pod.terminating) for r in self.revisions}
        return {name: count if not self.exact or self.traffic.prepared(name) else 0 for name, count in ready.items()}

    def how_to(self, verb: str, revision: RevisionState) -> str:
        """The command line by which a person gives the command."""
        return how_to(verb, revision.name, model=self.name, namespace=self.namespace)

    def share(self, revision: RevisionState) -> int:
        """Pods by which a revision gets its share, as last reported: a count in transition must not change weights."""
        return revision.reported if self.exact else revision.available

    @property
    def size(self) -> int:
        """T for a rollout that starts now: spec.replicas, or with autoscaling the champion's live replicas."""
        if self.spec.autoscaling is None:
            return self.spec.replicas
        return (self.champion.replicas if self.champion else 0) or self.initial_size

    @property
    def initial_size(self) -> int:
        """Pods before any HPA decides: an HPA does nothing for a Deployment of 0 pods."""
        if self.spec.autoscaling is None:
            return self.spec.replicas
        return min(max(self.spec.replicas, self.spec.autoscaling.min_replicas), self.spec.autoscaling.max_replicas)

    @property
    def progress_deadline(self) -> timedelta:
        """How long a candidate may take until the pods that it is to have are available."""
        return timedelta(seconds=parse_duration(self.spec.rollout.progress_deadline))

    @property
    def deadline(self) -> datetime | None:
        """When the candidate must have the pods that it is to have now, by the clock of the operator that began that.

        Time in which the cluster took no pods does not count; while it takes none, this is the deadline as it was. Once
        it had them all, None, or when it must have them again.
        """
        if self.candidate is None:
            return None
        record = self.candidate.record
        if record.available_at is not None and self.champion is not None:
            return self.candidate_short_since and self.candidate_short_since + self.progress_deadline + record.held
        return record.began_at + self.progress_deadline + record.held

    @property
    def judged_at(self) -> datetime | None:
        """When the deadline has passed beyond doubt, by this operator's clock.

        None while the cluster takes no pods, or a suspension lasts. By its own stamps that is the deadline. By those of
        another operator it is later by as much as two clocks may be apart, unless this one has watched for that long.
        """
        candidate, due = self.candidate, self.deadline
        if candidate is None or due is None or candidate.record.held_since is not None or self.returning:
            return None
        if candidate.record.started_by == self.operator:
            return due
        watched = (self.looking_since or candidate.record.began_at) + (due - candidate.record.began_at)
        return max(due, min(due + self.timings.operators_apart, watched))

    @property
    def returning(self) -> bool:
        """Whether a rollout stands still: all pods are away, or were, and the champion's are not back yet."""
        candidate = self.candidate
        return self.spec.suspend or (candidate is not None and candidate.record.suspended_since is not None)

    @property
    def emptied(self) -> bool:
        """Whether a rollout stands still because no pods are asked for: what it has begun to prove is not proven."""
        candidate = self.candidate
        stands_still = candidate and candidate.record.suspended_since and not candidate.record.promoting
        return bool(stands_still and self.champion and self.target == 0 and not self.spec.suspend)

    @property
    def tried_at(self) -> datetime:
        """When this process has had the time to try what an earlier one was refused, if it was."""
        candidate = self.candidate
        since = self.looking_since or (candidate.record.began_at if candidate else EARLIEST)
        return since + self.timings.patience

    def min_ready_seconds(self, revision: RevisionState) -> int:
        """For how long a pod of it is ready before it counts: frozen like T, and afterwards no more than that.

        A larger number would turn pods that serve into unavailable ones, and a champion of such pods into one that
        nothing can be rolled back to.
        """
        now, record = self.spec.rollout.min_ready_seconds, revision.durable.rollout
        if record is None or "rollout" in revision.broken:
            return now
        if revision is self.candidate:
            return record.min_ready_seconds if self.champion else now
        return min(record.min_ready_seconds, now)

    @property
    def target(self) -> int:
        """T of the rollout under way. A first revision follows spec."""
        if self.candidate is None or self.champion is None or "rollout" in self.candidate.broken:
            return self.size
        record = self.candidate.record
        if self.candidate.facts.fixed_size(record):
            return record.size
        return max(record.size, self.champion.replicas) if self.spec.autoscaling else self.spec.replicas

    @cached_property
    def warm(self) -> RevisionState | None:
        """The champion's predecessor, if it has pods, while its promotion can be undone; `warm_until` says how long."""
        champion = self.champion
        if champion is None or not (champion.facts.undoable and champion.decided_by.at_once):
            return None
        before = [
            r
            for r in self.losers
            if r.outcome is Outcome.PROMOTED and r.replicas and r.decided_at and r.number < champion.number
        ]
        return max(before, key=lambda r: (r.decided_at, r.number), default=None)

    @property
    def warm_until(self) -> datetime | None:
        """When the warm predecessor goes."""
        if self.warm is None or self.champion is None or self.champion.decided_at is None:
            return None
        return self.champion.decided_at + timedelta(seconds=parse_duration(self.spec.rollout.scale_down_delay))

    @property
    def may_start(self) -> bool:
        """Whether a rollout that is asked for is held by nobody, and by no mistake in spec."""
        return self.wants_rollout and self.proposal.reason is None and not self.paused and not self.unreadable

    @cached_property
    def wants_rollout(self) -> bool:
        """Whether the spec, or a person's retry or restart, asks for a revision that is not there yet."""
        if self.candidate is not None:
            return False
        if self.request is not None:
            return True
        serving = self.champion is not None and self.champion.inputs == self.proposal.inputs
        return not serving and self.rejected is None

    def changed(self, revision: RevisionState) -> "Situation":
        """The situation with one revision replaced, or added when its name is new: of that nothing was measured yet."""
        if all(r.name != revision.name for r in self.revisions):
            return replace(self, revisions=(*self.revisions, revision), findings=None)
        return replace(self, revisions=tuple(revision if r.name == revision.name else r for r in self.revisions))

    def next_decision(self, now: datetime) -> datetime:
        """`now`, but later than every decision and command so far, whatever the clock did in between.

        Another operator, whose clock is ahead, may have stamped them; and of two commands the later one is shown.
        """
        stamps = [at for r in self.revisions for at in (r.decided_at, r.command and r.command.at) if at]
        stamps += [self.last_command_at] if self.last_command_at else []
        last = max(stamps, default=None)
        return now if last is None or last < now else last + timedelta(milliseconds=1)
