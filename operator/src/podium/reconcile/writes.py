"""What one pass wants written: an ordered list of writes, each with what it relies on. Pure."""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto

from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.rollout.revision import RevisionState

Place = tuple[Resource, str]
"""Kind and name of an object in the ModelDeployment's namespace."""


class Stage(IntEnum):
    """The order of writes: an outcome stands before traffic moves, and traffic leaves before capacity does."""

    RECORD = auto()
    """The durable record: ControllerRevisions and their annotations."""
    TRAFFIC = auto()
    """Where requests go."""
    ROOM = auto()
    """What gives way before others grow: an HPA that lets go of a size, pods whose place a surge limit gives away."""
    GROW = auto()
    """Deployments that are made, repaired or enlarged."""
    POLICY = auto()
    """HPAs and the PodDisruptionBudget."""
    SHRINK = auto()
    """Pods that are no longer needed."""
    REMOVE = auto()
    """Objects that are no longer needed."""


class Told(Enum):
    """Where status tells of a refusal."""

    READY = "Ready"
    PREVIEW = "Preview"
    DISRUPTION = "Disruption"
    SCALING = "ScalingActive"
    MESSAGE = "message"
    """In status.message alone, as what is not deleted yet: nothing waits for it."""
    RECORD = "record"
    """In status.message alone, as what is not recorded yet: nothing relies on it."""


DECIDED = frozenset({"Decide", "Rollout"})
"""Actions of the notes that tell of an outcome or a start."""


@dataclass(frozen=True)
class Note:
    """An Event to be."""

    reason: str
    message: str
    action: str
    revision: str = ""
    warning: bool = False
    rule: str = ""
    fault: str = ""
    """What lasts, or comes again: notes that name the same are one Event with a count. Else their sentence decides."""


@dataclass(frozen=True)
class Entry:
    """One write of the durable record of one revision."""

    revision: str
    """Name of the ControllerRevision."""
    annotations: dict[str, str]
    """What it says; for a new ControllerRevision they are part of `obj` already."""
    obj: Object | None
    """The whole ControllerRevision where a rollout starts with it; None where it exists."""
    state: RevisionState
    """The revision once it stands."""
    notes: tuple[Note, ...] = ()
    """Events to emit once it is written, and not before."""
    relied_on: bool = True
    """Whether what comes after it follows from it; the others stand for themselves, and come last."""
    needs: frozenset[Place] = field(default_factory=frozenset)
    """Writes that must be made first: for a promotion by evidence, the ledger that it was decided from."""

    def answers(self, command: str) -> bool:
        """Whether it records what became of a person's command."""
        return self.state.command is not None and self.state.command.value == command


@dataclass(frozen=True)
class Enter:
    """Write an entry of the durable record. If it is relied on, what it decides and all that follows waits for it."""

    entry: Entry


@dataclass(frozen=True)
class Seek:
    """Look for a ControllerRevision that the cache does not know though its Deployment is there.

    Somebody may have taken its label away. Once found, it gets the label back, and the pass ends: the plan is outdated.
    """


@dataclass(frozen=True)
class Claim:
    """Give an orphaned ControllerRevision its owner and its labels back."""


@dataclass(frozen=True)
class Apply:
    """Make the object what it should be, if it is not."""

    obj: Object
    handover: int | None = None
    """Pods to hand over to an HPA just before (None: no hand-over)."""
    meanwhile: Object | None = None
    """What it should be while something that the write needs is refused: a Deployment at its present size."""


@dataclass(frozen=True)
class Remove:
    """Delete the object if it is there."""

    instead: Object | None = None
    """What it should be if its deletion is refused: a Deployment without pods is in nobody's way."""


@dataclass(frozen=True)
class Write:
    """One write. It is left out while any of what it needs is refused, or left out itself."""

    stage: Stage
    resource: Resource
    name: str
    action: Enter | Seek | Claim | Apply | Remove
    told: Told = Told.READY
    needs: frozenset[Place] = field(default_factory=frozenset)
    owed: bool = False
    """Whether it is still to be made once it was refused, since no later plan comes to it by itself."""

    @property
    def place(self) -> Place:
        """What it writes."""
        return self.resource, self.name
