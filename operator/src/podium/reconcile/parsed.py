"""What is kept of a ModelDeployment from pass to pass, so that what has not changed is not parsed again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from podium.kube.client import Object
from podium.manifests.errors import MalformedRevision
from podium.manifests.revision import Revision, revision_of
from podium.reconcile import readings
from podium.reconcile.sightings import Sightings

T = TypeVar("T")


@dataclass(slots=True)
class Memory:
    """Kept of one ModelDeployment from pass to pass: nothing that could not be found out again."""

    replicas: int | None = None
    sightings: Sightings | None = None
    parsed: dict[str, tuple[object, object]] = field(default_factory=dict)

    def once(self, what: str, version: object, make: Callable[[], T]) -> T:
        """`make()`, made anew only when `version` is another one."""
        known = self.parsed.get(what)
        if known is None or known[0] != version:
            known = self.parsed[what] = (version, make())
        return known[1]  # type: ignore[return-value]

    def revision(self, record: Object) -> tuple[Revision, str]:
        """What a ControllerRevision holds, and its template's digest; MalformedRevision."""
        found = self.once(record["metadata"]["name"], record["metadata"]["uid"], lambda: _read(record))
        if isinstance(found, MalformedRevision):
            raise found
        return found

    def keep(self, what: set[str]) -> None:
        """Drop everything parsed that is not of these."""
        self.parsed = {name: known for name, known in self.parsed.items() if name in what}


def _read(obj: Object) -> tuple[Revision, str] | MalformedRevision:
    """Or why there is none: what cannot be read is not read again at each pass, for it may be large."""
    try:
        revision = revision_of(obj)
        return revision, readings.template_digest(revision)
    except MalformedRevision as error:
        return MalformedRevision(str(error))  # without the traceback, which holds what was read
    except (AttributeError, TypeError):
        return MalformedRevision(f"ControllerRevision {obj['metadata']['name']}: data.template is no pod template")
