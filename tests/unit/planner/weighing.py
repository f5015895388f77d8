"""A router that keeps weights, as far as the planner can tell: the Service carries them, and whoever asks is told."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from podium.api import names
from podium.kube.resources import SERVICES
from podium.manifests.owner import Owner
from podium.reconcile import routers
from podium.reconcile.routers import Seen, ServiceSelector
from podium.reconcile.writes import Apply, Write
from podium.rollout.traffic import WHOLE, Applied, Split, Traffic
from tests.unit.planner.controllers import is_ready
from tests.unit.planner.world import KEY, NAME, World

WEIGHTS = "test/weights"


class Weighing(ServiceSelector):
    """The stable Service selects all pods of those with a weight, and says in an annotation how much each gets."""

    exact = True

    def __init__(self) -> None:
        self.confirmed: dict[str, int] = {}
        """What the routers have taken over: not within a pass."""

    def follow(self, world: World) -> None:
        """What its routers do each time the cluster's controllers act."""
        if self.confirmed != given(world):
            self.confirmed = given(world)
            world.wakes.add(KEY)

    def writes(self, owner: Owner, split: Split, ports: Mapping[str, Mapping[str, int]], lead: str) -> Iterator[Write]:
        for write in super().writes(owner, split, ports, lead):
            if write.name == owner.name and isinstance(write.action, Apply):
                annotations = write.action.obj["metadata"].setdefault("annotations", {})
                annotations[WEIGHTS] = json.dumps(dict(split.weights), sort_keys=True)
            yield write

    def traffic(self, seen: Seen) -> Traffic:
        ready: dict[str, int] = {}
        for pod in seen.pods:
            if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
                revision = pod["metadata"]["labels"][names.LABEL_REVISION]
                ready[revision] = ready.get(revision, 0) + 1
        return Weights(self.confirmed, ready)


@dataclass(frozen=True)
class Weights:
    """Traffic by the weights that the Service says."""

    weights: dict[str, int]
    ready: dict[str, int]
    """Pods by revision."""

    def serves(self, revision: str) -> bool:
        return self.weights.get(revision, 0) > 0 and self.ready.get(revision, 0) > 0

    def applied(self, split: Split) -> Applied:
        return Applied.YES if self.weights == dict(split.weights) else Applied.NO

    def others(self, revision: str) -> int:
        return sum(count for name, count in self.ready.items() if name != revision and self.weights.get(name))


def given(world: World) -> dict[str, int]:
    """Parts of 10,000 by revision, as they stand."""
    service = world.live(SERVICES, NAME)
    found: dict[str, int] = json.loads(
        ((service or {"metadata": {}})["metadata"].get("annotations") or {}).get(WEIGHTS, "{}")
    )
    assert not found or sum(found.values()) == WHOLE
    return found


@pytest.fixture
def weighing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every world of the test has such a router in the place of none."""
    router = Weighing()
    monkeypatch.setitem(routers.ROUTERS, "None", router)
    act = World.step

    def acting(world: World) -> bool:
        router.follow(world)
        return act(world)

    monkeypatch.setattr(World, "step", acting)
    return router
