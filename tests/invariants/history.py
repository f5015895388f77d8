"""A history of object versions, and the state that it leads to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final, Protocol

from podium.api import names

Object = dict[str, Any]
MODEL_DEPLOYMENT: Final = "ModelDeployment"
SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"
LISTED: Final = "LISTED"
"""The event of what a watcher found when it began: from then on it is known."""
LOST: Final = "LOST"
"""The event of what had gone by then. Neither is judged: nobody knows when it happened."""


@dataclass(frozen=True)
class Version:
    """One version of one object, as the API server's watch told it."""

    revision: int
    """resourceVersion: one order over all kinds."""
    at: float
    """Seconds, by any clock that is the same for the whole history."""
    event: str
    """ADDED, MODIFIED, DELETED, LISTED or LOST."""
    kind: str
    obj: Object
    ours: bool | None = None
    """Whether Podium wrote this version; None where nobody knows."""

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.obj["metadata"]["name"])

    @property
    def gone(self) -> bool:
        """Whether the object is no longer there."""
        return self.event in ("DELETED", LOST)


_TELLING: Final = {
    "Deployment": ("f:spec", "f:replicas"),
    "Service": ("f:spec", "f:selector"),
    "ControllerRevision": ("f:metadata", "f:annotations", f"f:{names.ANNOTATION_OUTCOME}"),
}
"""By kind the field whose manager has made of the object what the rules judge."""


def author(event: str, kind: str, obj: Object) -> bool | None:
    """Whether an object is as Podium wrote it, by the managers of its fields; None where they do not tell.

    Who deleted an object no object tells, nor who marked it for deletion.
    """
    if event in ("DELETED", LOST) or "deletionTimestamp" in obj["metadata"]:
        return None
    owners = [one["manager"] for one in obj["metadata"].get("managedFields") or [] if _owns(one, _TELLING.get(kind))]
    return any(one in (names.FIELD_MANAGER, names.HANDOVER_MANAGER) for one in owners) if owners else None


def _owns(entry: Object, path: tuple[str, ...] | None) -> bool:
    fields = entry.get("fieldsV1") or {}
    for key in path or ():
        fields = fields.get(key)
        if fields is None:
            return False
    return path is not None


@dataclass(frozen=True)
class State:
    """All objects of one ModelDeployment at one moment, and what must be remembered of the moments before."""

    objects: Mapping[str, Mapping[str, Object]] = field(default_factory=dict)
    """By kind and name."""
    ready_since: Mapping[str, float] = field(default_factory=dict)
    """Of ready pods, by uid."""
    told: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    """By revision the outcome that its record had before its last change, and when that was."""
    commands: frozenset[tuple[str, str]] = frozenset()
    """(value, result) of every command that a record has held."""
    served_until: float = float("-inf")
    """When the stable Service last had a ready endpoint; infinite while it has one."""
    expected: bool = False
    """Whether a ready endpoint is due at every moment: from the first Ready=True on, unless scaled to zero."""
    excused: bool = False
    """Whether a third revision's pods are left from a time in which the champion was down."""

    def of(self, kind: str) -> Iterable[Object]:
        """All objects of a kind."""
        return self.objects.get(kind, {}).values()

    def get(self, kind: str, name: str) -> Object | None:
        """An object; None without it."""
        return self.objects.get(kind, {}).get(name)

    @property
    def model(self) -> Object | None:
        """The ModelDeployment, while it is to stay: what is being deleted has no more claims."""
        found = next(iter(self.of(MODEL_DEPLOYMENT)), None)
        return None if found is None or "deletionTimestamp" in found["metadata"] else found

    def after(self, version: Version) -> "State":
        """The state once that version is there."""
        found = {name: obj for name, obj in self.objects.get(version.kind, {}).items() if name != version.name}
        if not version.gone:
            found[version.name] = version.obj
        return replace(self, objects={**self.objects, version.kind: found})


@dataclass(frozen=True)
class Change:
    """One version, what was before it, and what is after it."""

    version: Version
    before: Object | None
    """The object's version before; None for a new one."""
    was: State
    now: State
    late: float
    """Seconds by which Podium's view of what others write may be late."""
    slack: float
    """Seconds by which times of the history may be wrong."""


class Blame(Enum):
    """Whose change a rule judges."""

    PODIUM = auto()
    """Every one, unless somebody else made it, or may have: a deletion where others delete, too."""
    CERTAIN = auto()
    """Only if it is known that Podium made it, or that nobody else takes anything away."""


class Check(Protocol):
    """A rule: the sentences that say how a change breaks it."""

    def __call__(self, change: Change) -> Iterable[str]:
        """Judge a change."""
        ...


@dataclass(frozen=True)
class Rule:
    """A sentence, and how it is checked."""

    sentence: str
    check: Check
    blame: Blame = Blame.PODIUM


def model_of(kind: str, obj: Object) -> str:
    """The ModelDeployment that an object belongs to; empty if it belongs to none."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    if kind == MODEL_DEPLOYMENT:
        return str(meta["name"])
    if kind == "EndpointSlice":
        return str(labels.get(SERVICE_OF_SLICE, "")).removesuffix(names.PREVIEW_SUFFIX)
    if kind == "Service":
        return str(meta["name"]).removesuffix(names.PREVIEW_SUFFIX)
    owners = [one["name"] for one in meta.get("ownerReferences") or [] if one.get("kind") == MODEL_DEPLOYMENT]
    return str(labels.get(names.LABEL_MODEL) or next(iter(owners), ""))
