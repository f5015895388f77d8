"""What a rollout that is analysed asks of its measuring, and what measuring has found. Pure values.

The planner says at each pass what is to be measured (`Task`); whoever measures answers with `Findings`, which a later
pass decides from. What decides is the last look (`live`); what is written down, in the ledger and in status, is the
last checkpoint (`published`), so that evidence alone causes few writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from podium.analysis.decision import Circumstances, Decision, decide
from podium.analysis.expect import Traffic, seconds_to_promotion
from podium.analysis.ledger import Ledger, LedgerChanged, LedgerUnreadable, digest, read, replay
from podium.analysis.report import Report, reports
from podium.analysis.state import State
from podium.manifests.counting import Counting
from podium.rollout.asked import Asked

NO_TRAFFIC = Traffic(0, 0)
NOTHING_ASKED = Asked()
UNREAD = "the routers are read for the first time"
"""Why nothing may be promoted by an operator that has just begun to lead."""
UNASKED = "Prometheus is asked for the first time"
"""The same, where metrics are of that type."""


@dataclass(frozen=True)
class Task:
    """What is to be measured of one rollout, as the last pass knew it."""

    rollout: str
    """Its id: another one is another analysis."""
    champion: str
    """Revisions."""
    candidate: str
    asked: Asked
    weights: int
    """How many weights its steps go through: evidence starts anew at each."""
    longest: float
    """maxDuration, in seconds."""
    weight: int
    """The candidate's, of 10,000, that routers are told, or are about to be."""
    applied: bool
    """Whether all of them say that they keep to it."""
    applied_since: float | None
    """Since when the step's weight has been kept to, seconds since 1970, by the rollout's record; None: not known."""
    step: int
    """Which of the weights it is at, from 0."""
    begins: bool
    """Whether the candidate is to get its first weight: from here on evidence is counted, and figures are frozen."""
    pods: tuple[int, int]
    """Ready pods: the champion's, the candidate's."""
    warm_at: float
    """When the youngest of them has been ready for warmUp, seconds since 1970."""
    resumed: str = ""
    """A person's last `resume`: another one ends an alarm on the sample ratio."""
    resumed_at: float = 0.0
    """When it was taken, seconds since 1970: where measuring goes on from a ledger, it ends an alarm that is older."""
    stored: Ledger | None = None
    """What stands in the cluster and is to be gone on from, where nobody has measured yet and it can be trusted."""
    changed: str = ""
    """Why the one that stands there cannot be; empty if it can, or there is none."""
    counting: Mapping[str, Counting] = field(default_factory=dict)
    """By revision how its pods say what they have answered; needed where they are what is read."""


@dataclass(frozen=True)
class Snapshot:
    """A ledger, and the state that it comes to."""

    ledger: Ledger
    state: State
    traffic: Traffic = NO_TRAFFIC
    """Requests a second of each arm, in the minute before."""

    # What follows from it is asked for at every pass, and takes milliseconds: once is enough.

    @cached_property
    def decision(self) -> Decision:
        """What the evidence comes to, were the steps over."""
        return decide(self.ledger.plan, self.state, Circumstances(steps_over=True))

    @cached_property
    def reports(self) -> tuple[Report, ...]:
        """Of each metric of the plan."""
        return reports(self.ledger.plan, self.state, self.decision)

    @cached_property
    def seconds_left(self) -> float:
        """Until a promotion can be expected at the present traffic; infinity where it cannot."""
        return seconds_to_promotion(self.ledger.plan, self.state, self.traffic)

    @cached_property
    def text(self) -> str:
        """The ledger as it is stored."""
        return self.ledger.to_text()

    def digest(self, rollout: str) -> str:
        """Of that text and the rollout's id."""
        return digest(self.text, rollout)


@dataclass(frozen=True)
class Findings:
    """What measuring has come to."""

    live: Snapshot | None = None
    """After the last round; None before evidence is counted."""
    published: Snapshot | None = None
    """At the last checkpoint."""
    holds: tuple[str, ...] = ()
    """Why no figures come, a sentence each, at the last round."""
    unreachable: str = ""
    """Which routers or pods have not been read for a minute, and why; empty if none."""
    silent: str = ""
    """Which revision has had no request for a minute although its weight should bring it some; empty if none."""
    kept: bool = True
    """Whether the ledger, or one before it, stands in the cluster."""
    stored: Ledger | None = None
    """What they were read from, where nobody has measured yet."""
    changed: str = ""
    """Why this operator did not go on from the ledger that it found; empty if it did, or found none."""
    unread_since: float | None = None
    """Since when none of the candidate's ready pods could be read while some of the champion's could, seconds since
    1970; None where it is not so, and where routers are read."""


def opened(text: str, recorded: str, rollout: str) -> Snapshot:
    """A stored ledger and what it comes to. Raises LedgerChanged, and LedgerUnreadable."""
    ledger = read(text, recorded, rollout)
    try:
        snapshot = Snapshot(ledger, replay(ledger))
        _ = snapshot.reports  # what cannot be decided from is no ledger either
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise LedgerUnreadable(f"nothing can be decided from it: {error!r}") from error
    return snapshot


def unread(asked: Asked) -> tuple[str, ...]:
    """What has not been read yet, a sentence each, where nobody has begun to measure."""
    return (UNREAD, UNASKED) if any(wish.queried for wish in asked.wishes) else (UNREAD,)


def restored(text: str, recorded: str, rollout: str, asked: Asked = NOTHING_ASKED) -> Findings:
    """What a stored ledger says, until the routers have been read again, or why that counts for nothing."""
    try:
        snapshot = opened(text, recorded, rollout)
    except (LedgerChanged, LedgerUnreadable) as error:
        return Findings(holds=unread(asked), changed=str(error))
    return Findings(snapshot, snapshot, unread(asked), stored=snapshot.ledger)
