"""One revision of a ModelDeployment as the planner sees it: its record, its Deployment and its pods."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from podium.api.reasons import Reason
from podium.manifests.counting import Counting
from podium.rollout.record import CommandRecord, Outcome, Record, RolloutRecord
from podium.rollout.rule import Rule
from podium.rollout.strategies import Facts, facts_of


@dataclass(frozen=True)
class Failure:
    """Why one pod cannot serve, in the words of the kubelet, the scheduler or the fetcher."""

    reason: Reason
    message: str
    since: datetime
    """When this operator first saw it."""
    restarts: int = 0


class Seasoned(Enum):
    """Whether a pod has been ready for minReadySeconds."""

    NO = auto()
    PERHAPS = auto()
    """It was ready at this process's first look already; for how long is not known."""
    YES = auto()
    BEYOND_DOUBT = auto()
    """For so long that its Deployment should have reported it; where it has not, it goes by a clock that is ahead."""


@dataclass(frozen=True)
class Pod:
    """One pod of a revision."""

    name: str
    created: datetime
    ready: bool = False
    seasoned: Seasoned = Seasoned.NO
    terminating: bool = False
    failure: Failure | None = None
    stray: bool = False
    """It has the labels but is none of the Deployment's: it says nothing about the revision, but gets its traffic."""
    overdue: bool = False
    """A terminating one that should have gone long ago: its node does not answer any more."""
    ready_since: datetime | None = None
    """By the kubelet's clock."""
    died: datetime | None = None
    """When this operator saw that a signal had ended its server while that ran requests."""
    model_digest: str = ""
    """Of the model's bytes, `sha256:` and 64 hex digits, as its fetcher says; empty as long as it has not said."""
    ends: int = 0
    """How often the model's container ended by itself; its end when the pod is deleted does not count."""
    ended: str = ""
    """How it ended last: `exit code 137, OOMKilled`; empty if it has not, or if its node lost it."""


@dataclass(frozen=True)
class Workload:
    """A revision's Deployment. Counts are pods."""

    live: int
    """Pods that the Deployment asks for, by whoever wrote it last."""
    asked: int
    """Pods that Podium last asked for; differs from `live` only when somebody else has scaled the Deployment."""
    ready: int
    available: int
    """Ready for minReadySeconds; never above what spec asks for (see reconcile/readings.py)."""
    pods: int
    """Existing ones as the Deployment counts them: terminating ones have left it."""
    settled: bool
    """Whether the Deployment controller has seen the last write: only then do the counts mean anything."""
    ripening: int = 0
    """Ready pods that may be available as well: they were ready at this process's first look, which was just now."""
    failure: str = ""
    """The API server's own sentence when it refuses the pods (quota, Pod Security, a webhook)."""

    @property
    def refused(self) -> str:
        """That the cluster refuses the pods, and why; empty where it takes them."""
        return f"the cluster refuses its pods: {self.failure}" if self.failure else ""


@dataclass(frozen=True)
class RevisionState:
    """One revision: its durable record and, while it has any, its pods."""

    name: str
    number: int
    """1 for the first, rising by one."""
    inputs: str
    """Digest of the part of spec that it was made from."""
    version: str
    created: datetime
    durable: Record = field(default_factory=Record)
    """What its annotations say, as far as they can be read."""
    broken: frozenset[str] = frozenset()
    """Fields of the record of which the annotation cannot be read: nothing may be decided as if they were absent."""
    unreadable: tuple[str, ...] = ()
    """A sentence on each of them: object, annotation, way out."""
    template_digest: str = ""
    runtime: str = ""
    counting: Counting | None = None
    """How its pods say what they have answered; None where its ModelRuntime did not say it when it was made."""
    workload: Workload | None = None
    pods: tuple[Pod, ...] = ()
    has_hpa: bool = False

    @property
    def record(self) -> RolloutRecord:
        """The record of its rollout; where it has none, an empty one of 0 pods."""
        return self.durable.rollout or RolloutRecord("", self.created, "", 0)

    @property
    def command(self) -> CommandRecord | None:
        """The last command acted on that named it."""
        return self.durable.command

    @property
    def outcome(self) -> Outcome | None:
        """How its rollout ended; None while it has not, or where that cannot be read (`unclear`)."""
        return self.durable.outcome

    @property
    def ended(self) -> Outcome | None:
        """How its rollout ended, for people: a rollback stays one, also if spec leaves it or it is retried.

        Its outcome is Superseded then, so that it stands in nobody's way any more. That it was rolled back is told by
        the cause, which every rollback leaves beside rule and time, and nothing else does.
        """
        return Outcome.ROLLED_BACK if self.outcome is Outcome.SUPERSEDED and self.cause else self.outcome

    @property
    def rule(self) -> str:
        """By which its outcome was decided."""
        return self.durable.rule

    @property
    def decided_by(self) -> Rule:
        """The same, read."""
        return Rule.parse(self.durable.rule)

    @property
    def promotion_stands(self) -> bool:
        """Whether a person has promoted it, and it is on its way to T: automation never undoes that."""
        return Rule.parse(self.record.promoting).stands

    @property
    def facts(self) -> Facts:
        """Of the strategy of its rollout."""
        return facts_of(self.record.strategy)

    @property
    def cause(self) -> str:
        """Why it was rolled back, in a sentence."""
        return self.durable.cause

    @property
    def decided_at(self) -> datetime | None:
        """When its outcome was decided."""
        return self.durable.decided_at

    @property
    def unclear(self) -> bool:
        """Whether it has an outcome that cannot be read: it is no candidate, and nobody knows whether it may go."""
        return "outcome" in self.broken

    @property
    def promoted(self) -> bool:
        """Whether it was promoted; where the outcome cannot be read, whether the rule beside it says so."""
        if self.unclear:
            return self.decided_by.promotes and not self.cause
        return self.outcome is Outcome.PROMOTED

    @property
    def available(self) -> int:
        """Available pods; 0 without a Deployment or while its counts are not settled."""
        return self.workload.available if self.workload and self.workload.settled else 0

    @property
    def reported(self) -> int:
        """Available pods as last reported, settled or not, and those that may be: for people, never for a decision."""
        return min(self.workload.available + self.workload.ripening, self.workload.live) if self.workload else 0

    @property
    def perhaps_available(self) -> int:
        """Available pods, and those of which that will be known within minReadySeconds: none of them is missing yet."""
        return self.reported if self.workload and self.workload.settled else 0

    @property
    def ready(self) -> int:
        """Ready pods as last reported."""
        return self.workload.ready if self.workload else 0

    @property
    def replicas(self) -> int:
        """Pods that Podium or an HPA asked for; a number that anybody else has set does not count, and is put back."""
        return self.workload.asked if self.workload else 0

    @property
    def scalable(self) -> bool:
        """Whether an HPA can be left to decide: it does nothing for 0 pods, and a live count has to be handed over."""
        workload = self.workload
        return workload is not None and workload.live > 0 and (self.has_hpa or workload.settled)

    @property
    def has_pods(self) -> bool:
        """Whether any pod exists or is asked for, terminating ones included."""
        return bool(self.pods) or (self.workload is not None and (self.workload.live > 0 or self.workload.pods > 0))

    @property
    def going(self) -> bool:
        """Whether all the pods that it still has are terminating, and no more are asked for."""
        idle = self.workload is None or (self.workload.live == 0 and self.workload.pods == 0)
        return idle and all(pod.terminating for pod in self.pods)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Of its pods that are to stay, worst known first: most restarts, then longest."""
        found = [pod.failure for pod in self.pods if pod.failure and not pod.terminating and not pod.stray]
        return tuple(sorted(found, key=lambda f: (-f.restarts, f.since)))
