"""Worlds in which every ModelDeployment has a router that keeps weights."""

from typing import Any

import pytest

from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS
from podium.manifests.routing import read_routing, told_in
from podium.rollout.traffic import WHOLE
from tests.unit.planner.world import NAME, World


def given(world: World) -> dict[str, int]:
    """Parts of 10,000 by revision, as the routers are told."""
    told = read_routing(told_in(world.live(CONFIG_MAPS, f"{NAME}-router")))
    found = {share.revision: share.weight for share in told.split if share.weight} if told else {}
    assert not found or sum(found.values()) == WHOLE
    return found


@pytest.fixture
def weighing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every world of the test has two routers, and a ModelDeployment that is led to them."""
    create = World.create

    def routed(world: World, **spec: Any) -> Object:
        world.routers.start()
        return create(world, traffic={"router": "Envoy"}, **spec)

    monkeypatch.setattr(World, "create", routed)
