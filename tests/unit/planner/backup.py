"""A backup of the namespace, and its restore as Velero does one: kind by kind, into a cluster that knows nothing of it.

What is restored has new uids and creation times, no owner references and no status, and what is there already by its
name is left as it is. Kept are names, labels, annotations and what is in an object. ReplicaSets stand in no world of
this folder (a Deployment makes its pods itself), so they are no step of their own here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from podium.kube.client import ApiError, Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    PODS,
    SERVICES,
    Resource,
)
from tests.unit.planner.apiserver import clone
from tests.unit.planner.world import World

KINDS: tuple[Resource, ...] = (
    PODS,
    SERVICES,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
)
"""In Velero's own order: pods and Services by its list of priorities, then all others by their names."""
_OF_ONE_LIFE = ("uid", "resourceVersion", "generation", "creationTimestamp", "ownerReferences")


@dataclass(frozen=True)
class Backup:
    """All objects of the kinds above, as they were."""

    objects: tuple[Object, ...]

    @staticmethod
    def of(world: World) -> "Backup":
        found = [obj for kind in KINDS for obj in world.api.all(kind) if "deletionTimestamp" not in obj["metadata"]]
        return Backup(tuple(clone(obj) for obj in found))

    def restore(self, world: World, order: Sequence[Resource], *, pause: float) -> None:
        """Create one object after the other; `pause` seconds pass after each, in which everybody acts."""
        for kind in order:
            for obj in self.objects:
                if obj["kind"] == kind.kind:
                    _create(world, obj)
                    world.advance(pause)

    def restore_at_once(self, world: World) -> None:
        """Create all of them in one moment."""
        for obj in self.objects:
            _create(world, obj)


def _create(world: World, obj: Object) -> None:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _OF_ONE_LIFE}
    new = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}
    if obj["kind"] == PODS.kind:
        new["status"] = {"phase": "Pending"}
    try:
        world.api.create(new, "velero")
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
