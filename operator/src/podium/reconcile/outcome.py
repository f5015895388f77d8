"""What came of a plan: what was refused, by whose fault, and what a person should hear of it. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Self

from podium.api import names
from podium.api.reasons import Reason
from podium.kube.client import ApiError
from podium.kube.resources import CONFIG_MAPS, DEPLOYMENTS
from podium.reconcile.observed import Observed
from podium.reconcile.writes import Entry, Place, Told

PATIENCE = timedelta(seconds=5)
"""How long a refusal that may clear by itself lasts before status tells of it."""


_LACKS = re.compile(r'forbidden: (?:User ".*?" cannot |cannot set blockOwnerDeletion )')
GIVEN_BY = "the chart's roles have it; docs/security.md says what each is for"
_JUDGED = "admission webhook "
"""How the API server begins whatever a webhook says."""


class Fault(Enum):
    """Who can end a refusal."""

    PERSON = auto()
    """Only somebody who changes something: a name that is taken, a policy, a quota, an invalid value."""
    RIGHTS = auto()
    """Only somebody who gives Podium a right that it lacks: never the candidate's fault."""
    ENVIRONMENT = auto()
    """The cluster: an admission webhook that cannot be called, an API server that fails or answers too late."""
    PASSING = auto()
    """Nobody: an object that changed meanwhile, or is not there yet."""

    @property
    def clears(self) -> bool:
        """Whether the same write may succeed later although nobody changes anything."""
        return self in (Fault.ENVIRONMENT, Fault.PASSING)


class Outdated(Exception):
    """The plan is based on an object that is gone: nothing of it may be written or reported."""


class Refused(Exception):
    """A write that cannot be done as things are; `message` names what stands in the way and the way out."""

    def __init__(self, reason: Reason, message: str, fault: Fault, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fault = fault
        self.retry_after = retry_after


@dataclass(frozen=True)
class Refusal:
    """One write that was refused."""

    told: Told
    reason: Reason
    message: str
    fault: Fault
    since: datetime
    """When this operator was first refused it, without a success since."""
    retry_after: float = 0.0
    """Seconds that the API server asked to wait."""
    kept_out_since: datetime | None = None
    """Since when it has been refused for a reason other than its content; None while its content is refused."""

    @classmethod
    def of(cls, told: Told, refused: Refused, before: "Refusal | None", now: datetime) -> Self:
        """The refusal of a write that was refused before, or was not."""
        kept_out = None
        if refused.fault is not Fault.PERSON:
            kept_out = (before.kept_out_since if before else None) or now
        since = before.since if before else now
        return cls(told, refused.reason, refused.message, refused.fault, since, refused.retry_after, kept_out)

    def is_told(self, now: datetime) -> bool:
        """Whether status tells of it; what may clear by itself gets a moment first."""
        return not self.fault.clears or now - self.since >= PATIENCE


@dataclass
class Report:
    """What came of a plan."""

    ended: datetime
    """When the last write was answered: a write that hangs may take longer than the wait after a refusal."""
    refusals: dict[Place, Refusal] = field(default_factory=dict)
    left_out: set[Place] = field(default_factory=set)
    """Writes that waited for what was refused."""
    entered: int = 0
    """Entries of the record that were written and are relied on, counted from the first."""
    unsure: set[str] = field(default_factory=set)
    """Revisions of which nobody could tell whether there is a record."""
    halted: bool = False
    """Whether the record could not be written or looked for: what follows from it must not be done."""
    cut: bool = False
    """Whether the rest was left to the next pass, so that a first refusal which took long is told of now."""
    unwritten: tuple[Entry, ...] = ()
    """Entries that were not: they were refused, or rely on one that was."""
    decided: set[str] = field(default_factory=set)
    """Revisions of which an outcome or a start was written, and told by its Event."""
    contested: list[str] = field(default_factory=list)
    """Sentences on fields that another writer keeps changing back."""
    terminating: bool = False
    """The namespace is going: nothing more is to be done, nor to be said."""
    again: bool = False
    """Plan again at once: a child is gone and has made room, or the plan did not know a child."""
    outdated: bool = False
    """A record was found that the plan knew nothing of, or it was made of what is there no more: see Outdated."""

    @property
    def clears(self) -> bool:
        """Whether anything was refused that may clear by itself."""
        return any(refusal.fault.clears for refusal in self.refusals.values())

    def kept_back(self, places: frozenset[Place]) -> bool:
        """Whether any of these was refused, or waits for what was."""
        return any(place in self.refusals or place in self.left_out for place in places)

    @property
    def settling(self) -> bool:
        """Whether status is written later: it must report a refusal, but that may end by itself in a moment."""
        return any(r.told is Told.READY and not r.is_told(self.ended) for r in self.refusals.values())

    def told(self, where: Told) -> Refusal | None:
        """The refusal that status tells of there: first one that only a person can end."""
        found = [r for r in self.refusals.values() if r.told is where and r.is_told(self.ended)]
        return min(found, key=lambda r: (r.fault.clears, r.since), default=None)


class PassRefused(Exception):
    """A pass that did what it could, and was refused something that may clear by itself: it comes again."""

    def __init__(self, message: str, *, retry_after: float, wake_in: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the API server asked to wait."""
        self.wake_in = wake_in
        """Seconds until the plan wants the next pass in any case; None if it does not."""


def refusal_of(error: ApiError, what: str) -> Refused:
    """Whose fault it is that the API server refused a write; `what` could not be done, in words.

    403 is told apart by the sentence: the authorizer's names the user that lacks the right (kubernetes'
    responsewriters.Forbidden), every other one is an admission plugin's about what was written. A webhook's sentence is
    its author's, and may speak of a user who cannot do something, too.
    """
    message = f"{what}: {error.message}"
    wait = error.retry_after or 0.0
    if error.status == 403 and "cannot find RESTMapping" in error.message:
        # OwnerReferencesPermissionEnforcement learns of a CRD by up to half a minute later than everybody else.
        text = f"the CRDs are new, and the API server's admission does not know them yet: {message}"
        return Refused(Reason.PENDING, text, Fault.PASSING)
    if error.status in (404, 409, 429):
        return Refused(Reason.REJECTED, message, Fault.PASSING, retry_after=wait)
    if error.status == 0 or error.status >= 500:
        return Refused(Reason.ENVIRONMENT, message, Fault.ENVIRONMENT, retry_after=wait)
    if error.status == 403:
        rights = not error.message.startswith(_JUDGED) and _LACKS.search(error.message)
        if rights:
            return Refused(Reason.FORBIDDEN, f"{message}; to go on: give it that right ({GIVEN_BY})", Fault.RIGHTS)
        return Refused(Reason.FORBIDDEN, message, Fault.PERSON)
    return Refused(Reason.REJECTED, message, Fault.PERSON)


def with_refusals(observed: Observed, refusals: Mapping[Place, Refusal]) -> Observed:
    """What was refused at the last pass, as the gates see it: the candidate's Deployment that could not be written.

    A policy that says no to it is the candidate's own fault, at its deadline. For all else its time stands still.
    """
    observed = replace(observed, refused={place: refusal.since for place, refusal in refusals.items()})
    situation = observed.situation
    candidate = situation.candidate if situation else None
    if situation is None or candidate is None:
        return observed
    ledger = refusals.get((CONFIG_MAPS, names.ledger_name(candidate.name)))
    if ledger is not None and situation.findings is not None:
        holds = (*situation.findings.holds, f"the ledger cannot be written: {ledger.message}")
        situation = replace(situation, findings=replace(situation.findings, holds=holds))
        observed = replace(observed, situation=situation)
    found = refusals.get((DEPLOYMENTS, candidate.name))
    if found is None:
        return observed
    known = [at for at in (found.kept_out_since, situation.candidate_kept_out_since) if at]
    changed = replace(situation, candidate_refused=found.message, candidate_kept_out_since=min(known, default=None))
    return replace(observed, situation=changed)


def may_be_the_champions(observed: Observed, unsure: Collection[str]) -> bool:
    """Whether one of the records that nobody could look for may be the champion's: then nothing may be touched."""
    known = observed.situation is not None and observed.situation.champion is not None
    named = (observed.status.get("champion") or {}).get("revision")
    return bool(unsure) and (not known or named is None or named in unsure)
