"""ControllerRevisions whose data cannot be read: ignored but reported, and what serves keeps serving. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from podium.api import names
from podium.kube.client import Object
from podium.kube.reading import unreadable
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS
from podium.manifests.errors import MalformedRevision
from podium.reconcile.readings import controller_of
from podium.reconcile.writes import Place
from podium.rollout.record import Outcome
from podium.rollout.wire import EARLIEST, LATEST, read_time
from podium.rollout.words import sentences

WAYS_OUT = (
    "to go on: install the Podium that wrote it; or, if it is not the champion's: "
    "kubectl delete controllerrevision {name} -n {namespace}"
)


@dataclass(frozen=True)
class SetAside:
    """Of one ModelDeployment."""

    names: frozenset[str] = frozenset()
    places: frozenset[Place] = frozenset()
    """These, and their Deployments and HPAs, whose desired state is not known."""
    sentences: tuple[str, ...] = ()
    holds: str = ""
    """The sentence on one that may be the champion's: then nothing is decided, and nothing touched but what surely
    serves. Empty if none may be."""


def set_aside(children: Mapping[Place, Object], read: Callable[[Object], object]) -> SetAside:
    """Those that `read` raises MalformedRevision for.

    Outcome and time of the decision are annotations, and can be read whatever the data is: only the latest that was
    promoted is the champion's. Anybody can write any other one.
    """
    records = [
        child
        for (resource, _), child in children.items()
        if resource is CONTROLLER_REVISIONS and "deletionTimestamp" not in child["metadata"]
    ]
    why: dict[str, str] = {}
    for record in records:
        try:
            read(record)
        except MalformedRevision as error:
            meta, cause = record["metadata"], unreadable(record)
            place = f"ControllerRevision {meta['namespace']}/{meta['name']}"
            why[meta["name"]] = f"{place} is not one that Podium wrote: {cause}" if cause else str(error)
    if not why:
        return SetAside()
    namespace = records[0]["metadata"]["namespace"]
    ways = {name: WAYS_OUT.format(name=name, namespace=namespace) for name in why}
    told = {name: sentences(text, ways[name]) for name, text in sorted(why.items())}
    champions = _champions(records, why)
    holds = next((told[name] for name in champions), "")
    places = frozenset((kind, name) for name in why for kind in (CONTROLLER_REVISIONS, DEPLOYMENTS, HPAS))
    return SetAside(frozenset(why), places, tuple(told.values()), holds)


def _champions(records: Collection[Object], unread: Collection[str]) -> list[str]:
    """Those that cannot be read and of which one may be the champion's."""
    readable = [record for record in records if record["metadata"]["name"] not in unread]
    known = [record for record in readable if _says(record, names.ANNOTATION_OUTCOME) == PROMOTED]
    latest = max(map(_decided, known), default=EARLIEST)
    found = []
    for record in records:
        ours = controller_of(record) is not None and _says(record, names.ANNOTATION_INPUTS)
        if record["metadata"]["name"] in unread and ours:
            promoted = _says(record, names.ANNOTATION_OUTCOME) == PROMOTED
            later = promoted and _decided(record, unknown=LATEST) > latest
            first = not known and (promoted or not _says(record, names.ANNOTATION_OUTCOME))
            if later or first:
                found.append(record["metadata"]["name"])
    return found


PROMOTED = Outcome.PROMOTED.value


def _decided(record: Object, *, unknown: datetime = EARLIEST) -> datetime:
    """When it was decided; `unknown` where that cannot be read: of what is known it then is not the latest."""
    try:
        return read_time(_says(record, names.ANNOTATION_DECIDED_AT))
    except (ValueError, OverflowError):
        return unknown


def _says(record: Object, annotation: str) -> str:
    return str((record["metadata"].get("annotations") or {}).get(annotation, ""))
