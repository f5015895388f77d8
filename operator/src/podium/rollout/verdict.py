"""What a gate can say. The planner writes it down; nothing here reaches the cluster."""

from dataclasses import dataclass
from datetime import datetime

from podium.api.reasons import Reason
from podium.rollout.record import CommandRecord, Outcome, RolloutRecord
from podium.rollout.rule import Rule


@dataclass(frozen=True)
class Mark:
    """Write these annotations on a revision. None leaves what is there."""

    revision: str
    message: str = ""
    """The Event's note; empty for bookkeeping that nobody needs to hear of."""
    outcome: Outcome | None = None
    rule: Rule | None = None
    command: CommandRecord | None = None
    record: RolloutRecord | None = None
    reason: str = ""
    """Of the Event, where neither an outcome nor a command gives it."""
    relied_on: bool = True
    """Whether what is decided after it follows from it; if not, a refusal of it stops this mark alone."""


@dataclass(frozen=True)
class Start:
    """Begin a rollout of what the spec says now."""

    request: CommandRecord | None = None
    """The command that asks for it; None when spec does."""


@dataclass(frozen=True)
class Decline:
    """A command that names no revision which could record that it is declined."""

    command: str
    message: str
    at: datetime
    """Its stamp, later than every one before."""


@dataclass(frozen=True)
class Hold:
    """Why a gate does not act; no decision, so the gates after it are still asked, and it stands if none decides.

    `message` is for a person: the cause, and the way out if there is one.
    """

    reason: Reason
    message: str


Verdict = Mark | Start | Decline | Hold
