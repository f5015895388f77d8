"""What one pass decides from, as one value: observe.py gathers it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from podium.api.reasons import Reason
from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.manifests.owner import Owner
from podium.manifests.revision import Revision
from podium.reconcile.routers import Seen
from podium.reconcile.setaside import SetAside
from podium.reconcile.writes import Write
from podium.rollout.state import Situation

PENDING = "Pending"
"""status.lastCommand.result of a command whose record was refused: it has not been acted on."""


@dataclass(frozen=True)
class Observed:
    """One ModelDeployment with its children as last seen."""

    obj: Object
    owner: Owner
    children: Mapping[tuple[Resource, str], Object]
    """Live children by kind and name; what is under another controller, or a person's own, is none of them."""
    situation: Situation | None = None
    """None when nothing can be planned: the spec, or the champion's record, cannot be read; `invalid` says why."""
    invalid: str = ""
    reason: Reason = Reason.INVALID_SPEC
    """Of `invalid`."""
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    runtime: Object | None = None
    resolved: Revision | None = None
    """What the spec makes with this runtime, not numbered yet; None when it cannot be, or was told at an earlier pass.

    It is large, and whoever needs it later can resolve it again.
    """
    aside: SetAside = field(default_factory=SetAside)
    """ControllerRevisions whose data is no revision; their Deployments are none of the children either."""
    replicas_before: int | None = None
    """spec.replicas at the last pass; None at the first."""
    seen: Seen | None = None
    """What the situation's traffic was read from."""
    port: int | None = None
    """The listener at the routers; None where no router is asked for."""
    unreachable: str = ""
    """Why requests cannot go through the routers, or what is not known of them, once that has lasted; else empty."""
    left_to: str = ""
    """Why another installation's routers carry the requests, once that has lasted; else empty."""
    left_out: str = ""
    """Name of the candidate's ledger, if the cache has no more than its metadata: it is to be read before anything."""
    refused: Mapping[tuple[Resource, str], datetime] = field(default_factory=dict)
    """What was refused at the last pass, and since when."""
    owed: tuple[Write, ...] = ()
    """Ledgers that this operator was refused, and that only it can still write."""

    @property
    def status(self) -> dict[str, Any]:
        """The status as last seen."""
        return self.obj.get("status") or {}

    @property
    def generation(self) -> int:
        """Of the spec that this was computed from."""
        return int(self.obj["metadata"].get("generation", 0))

    @property
    def deleting(self) -> bool:
        """Whether its deletion has begun: then nothing is planned."""
        return "deletionTimestamp" in self.obj["metadata"]

    def child(self, resource: Resource, name: str) -> Object | None:
        """One live child."""
        return self.children.get((resource, name))
