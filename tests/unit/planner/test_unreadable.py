"""An object of which the metadata alone is known (kube/reading.py): nothing is guessed, changed or lost for it."""

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.reading import UNREADABLE
from podium.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PDBS,
    SERVICES,
    Resource,
)
from tests.unit.planner.given import AUTOSCALING, serving, updating
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import NAME, NAMESPACE, World, model

WHY = "it holds 120000 values, and Podium reads no more than 100000"


def spoil(world: World, resource: Resource, name: str, why: str = WHY) -> None:
    """From now on nobody gets more of it than its metadata; an empty `why`: all of it again."""

    def change(obj: Object) -> None:
        obj.update({UNREADABLE: why})
        if not why:
            del obj[UNREADABLE]

    world.api.update(resource, "" if resource is MODEL_RUNTIMES else NAMESPACE, name, change, "kubectl")
    world.advance(5)


def unreadable_deployment() -> World:
    world = serving(replicas=2)
    spoil(world, DEPLOYMENTS, world.revision("1"))
    return world


def unreadable_runtime() -> World:
    world = serving(replicas=2)
    spoil(world, MODEL_RUNTIMES, "onnxruntime")
    world.edit(model=model("2"))
    world.advance(5)
    return world


def unreadable_model_deployment() -> World:
    world = serving(replicas=2)
    spoil(world, MODEL_DEPLOYMENTS, NAME)
    return world


def children(world: World) -> dict[str, Object]:
    kinds = (DEPLOYMENTS, SERVICES, HPAS, PDBS, CONFIG_MAPS)
    return {f"{kind.kind}/{o['metadata']['name']}": o for kind in kinds for o in world.api.all(kind)}


@pytest.mark.parametrize("spec", [{"replicas": 4}, {"autoscaling": AUTOSCALING}, {"suspend": True, "replicas": 2}])
def test_a_model_deployment_that_cannot_be_read_is_not_taken_for_an_empty_one(spec: Object) -> None:
    world = serving(**{field: value for field, value in spec.items() if field != "suspend"})
    world.edit(**spec)
    world.rest()
    before, status = children(world), world.status
    spoil(world, MODEL_DEPLOYMENTS, NAME)
    world.advance(900)
    assert children(world) == before
    assert world.status == status
    assert world.events("Unreadable")[-1].startswith(f"ModelDeployment ml/{NAME} cannot be read: {WHY};")
    spoil(world, MODEL_DEPLOYMENTS, NAME, "")
    world.edit(model=model("2"), suspend=False)
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_a_candidate_is_not_superseded_while_the_spec_cannot_be_read() -> None:
    world = updating(replicas=4, rollout={"strategy": "BlueGreen", "promotion": "Manual"})
    world.until(lambda: world.phase == "Paused")
    spoil(world, MODEL_DEPLOYMENTS, NAME)
    world.advance(900)
    assert world.outcome(world.revision("2")) == ""
    assert world.backends() == {world.revision("1")}


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        (DEPLOYMENTS, "{revision}"),
        (SERVICES, NAME),
        (PDBS, NAME),
        (HPAS, "{revision}"),
        (CONFIG_MAPS, names.routing_name(NAME)),
    ],
)
def test_a_child_that_cannot_be_read_is_named_and_nothing_is_changed(resource: Resource, name: str) -> None:
    world = serving(autoscaling=AUTOSCALING) if resource is HPAS else routed(replicas=2)
    name = name.format(revision=world.revision("1"))
    spoil(world, resource, name)
    before = children(world)
    world.edit(model=model("2"))
    world.advance(300)
    assert children(world) == before
    assert world.condition("Ready") == ("False", "Unreadable")
    assert world.condition("Available") == ("True", "Available")
    assert f"{resource.kind} ml/{name} cannot be read: {WHY}" in world.message()
    spoil(world, resource, name, "")
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_a_runtime_that_cannot_be_read_is_named_and_what_serves_goes_on() -> None:
    world = unreadable_runtime()
    world.advance(60)
    assert world.condition("Ready") == ("False", "InvalidRuntime")
    assert world.backends() == {world.revision("1")}
    spoil(world, MODEL_RUNTIMES, "onnxruntime", "")
    world.rest()
    assert world.status["champion"]["version"] == "2"
