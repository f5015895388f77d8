"""By which rule a revision's outcome was decided (annotation `podium.dev/rule`, and status)."""

from dataclasses import dataclass
from enum import StrEnum

from podium.api.status import WORD_LENGTH


class Kind(StrEnum):
    """What decided it."""

    FIRST = "first"
    NO_REPLICAS = "no-replicas"
    ROLLING_COMPLETE = "rolling-complete"
    BLUE_GREEN_AVAILABLE = "blue-green-available"
    STEPS_COMPLETE = "steps-complete"
    EVIDENCE = "evidence"
    MAX_DURATION = "max-duration"
    """Promotes, and rolls back: rollout.onInconclusive says which."""
    CHAMPION_DOWN = "champion-down"
    PERSON = "person"
    """Promotes, and rolls back."""
    CRASH = "crash"
    """`about`: the condition reason of the pod that crashed."""
    HARM = "harm"
    """`about`: the name of the metric that got worse most surely."""
    UNREACHABLE = "unreachable"
    """Its pods say nothing of what they answered, and the champion's do."""
    DEADLINE = "deadline"
    SPEC_CHANGED = "spec-changed"
    RESTORED = "restored"
    """Records that a restore brought later say otherwise, or may have said so."""
    UNKNOWN = ""
    """`about` is the whole text: another version wrote it, or nobody did."""


PROMOTES = frozenset(
    {
        Kind.FIRST,
        Kind.NO_REPLICAS,
        Kind.ROLLING_COMPLETE,
        Kind.BLUE_GREEN_AVAILABLE,
        Kind.STEPS_COMPLETE,
        Kind.EVIDENCE,
        Kind.MAX_DURATION,
        Kind.CHAMPION_DOWN,
        Kind.PERSON,
    }
)

_KNOWN = frozenset(kind.value for kind in Kind if kind is not Kind.UNKNOWN)
_AT_ONCE = frozenset({Kind.BLUE_GREEN_AVAILABLE, Kind.STEPS_COMPLETE, Kind.EVIDENCE, Kind.MAX_DURATION, Kind.PERSON})


@dataclass(frozen=True)
class Rule:
    """A kind, and what it is about where that is not said by the kind."""

    kind: Kind
    about: str = ""

    def __str__(self) -> str:
        """As it stands in the annotation: `deadline`, `crash: CrashLoopBackOff`."""
        return ": ".join(part for part in (self.kind, self.about) if part)

    @staticmethod
    def parse(text: str) -> "Rule":
        """The inverse; what this version does not know is kept as it is."""
        word, _, about = text.partition(": ")
        return Rule(Kind(word), about) if word in _KNOWN else Rule(Kind.UNKNOWN, text)

    @property
    def by(self) -> str:
        """What decided, in a word: status.rollout.decision.by."""
        if self.kind in (Kind.EVIDENCE, Kind.HARM):
            return "evidence"
        if self.kind is Kind.UNKNOWN:
            return self.about.partition(": ")[0][:WORD_LENGTH]
        return "timeout" if self.kind is Kind.MAX_DURATION else self.kind.value

    @property
    def proven(self) -> bool:
        """Whether a promotion by it stands on a ledger, without which it must not be."""
        return self.kind is Kind.EVIDENCE

    @property
    def promotes(self) -> bool:
        """Whether revisions are promoted by it."""
        return self.kind in PROMOTES

    @property
    def at_once(self) -> bool:
        """Whether a promotion by it moves all traffic at once from a champion that was well, and can be taken back."""
        return self.kind in _AT_ONCE

    @property
    def first(self) -> bool:
        """Whether a promotion by it took no traffic from anybody: there was no champion before."""
        return self.kind is Kind.FIRST

    @property
    def undoes(self) -> bool:
        """Whether a rollback by it may take a promotion back, which moves all traffic at once."""
        return self.kind is Kind.PERSON

    @property
    def lasts(self) -> bool:
        """Whether it says something of a revision how long its rollout had lasted then: not where a restore decides."""
        return self.kind is not Kind.RESTORED

    @property
    def stands(self) -> bool:
        """Whether only a person takes back what was decided by it."""
        return self.kind is Kind.PERSON
