"""What the tests start from: worlds that are watched for the invariants all the time."""

from typing import Any

from podium.kube.client import Object
from tests.unit.planner.invariants import Invariants
from tests.unit.planner.world import World, model

BLUE_GREEN: Object = {"strategy": "BlueGreen"}
MANUAL: Object = {"strategy": "BlueGreen", "promotion": "Manual"}
AUTOSCALING: Object = {"minReplicas": 2, "maxReplicas": 8}


def empty(**settings: Any) -> World:
    """A world without a ModelDeployment."""
    world = World(**settings)
    Invariants(world)
    return world


def created(**spec: Any) -> World:
    """Version 1 has been created, and the operator has not looked yet."""
    world = empty()
    world.create(**spec)
    return world


def serving(**spec: Any) -> World:
    """Version 1 serves, in full."""
    world = created(**spec)
    world.until(lambda: world.condition("Ready") in (("True", "Serving"), ("True", "ScaledToZero")))
    return world


def updating(**spec: Any) -> World:
    """Version 1 serves, and version 2 has just been asked for: its first pods are on their way."""
    world = serving(**spec)
    world.edit(model=model("2"))
    world.until(lambda: len(world.pods()) > len(world.pods(world.revision("1"))))
    return world


def switched(**spec: Any) -> World:
    """Version 2 has replaced version 1 by BlueGreen; version 1 is warm."""
    rollout = {**BLUE_GREEN, **spec.pop("rollout", {})}
    world = updating(rollout=rollout, **spec)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    return world


def rolled_back(**spec: Any) -> World:
    """Version 2 crashed and was rolled back; version 1 serves."""
    world = serving(**spec)
    world.behave("2", failure="crash")
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "RolledBack")
    return world
