"""A resync comes by every ModelDeployment: one about which nothing has changed is not planned again, for an hour."""

from datetime import timedelta

import pytest

from podium.kube.client import Object
from podium.kube.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    MODEL_DEPLOYMENTS,
    MODEL_RUNTIMES,
    PODS,
    SERVICES,
    Resource,
)
from podium.reconcile import loop
from tests.unit.planner.given import MANUAL, serving, updating
from tests.unit.planner.world import World


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each plan that is made."""
    made: list[object] = []
    original = loop.plan

    def counted(*given: object) -> object:
        made.append(given)
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "plan", counted)
    return made


def at_rest(planned: list[object]) -> World:
    world = serving()
    world.rest()
    world.after_pass = []  # the invariants plan again, too
    world.reconcile()
    planned.clear()
    return world


def touched(world: World, resource: Resource, obj: Object) -> None:
    def touch(live: Object) -> None:
        live["metadata"].setdefault("annotations", {})["team"] = "fraud"

    meta = obj["metadata"]
    world.api.update(resource, meta.get("namespace", ""), meta["name"], touch, "kubectl")
    world.deliver(resource)


def test_what_waits_for_nothing_and_has_not_changed_is_planned_once_an_hour(planned: list[object]) -> None:
    world = at_rest(planned)
    for _ in range(6):
        world.now += timedelta(minutes=9)
        assert world.reconcile() is None
    assert planned == []
    world.now += timedelta(minutes=9)
    world.reconcile()
    assert len(planned) == 1


@pytest.mark.parametrize("resource", [MODEL_DEPLOYMENTS, SERVICES, DEPLOYMENTS, PODS, ENDPOINT_SLICES, MODEL_RUNTIMES])
def test_whatever_changes_about_it_is_looked_at_by_the_next_pass(resource: Resource, planned: list[object]) -> None:
    world = at_rest(planned)
    found = next(obj for obj in world.api.all(resource) if resource is not MODEL_RUNTIMES or runs(world, obj))
    touched(world, resource, found)
    world.wakes.at = None  # the event's own wake-up is lost
    world.reconcile()
    assert len(planned) == 1


def runs(world: World, runtime: Object) -> bool:
    return bool(runtime["metadata"]["name"] == world.status["runtime"])


def test_another_runtime_changes_nothing_about_it(planned: list[object]) -> None:
    world = at_rest(planned)
    other = next(r for r in world.api.all(MODEL_RUNTIMES) if not runs(world, r))
    touched(world, MODEL_RUNTIMES, other)
    world.reconcile()
    assert planned == []


def test_what_waits_for_a_moment_is_planned_by_every_pass(planned: list[object]) -> None:
    world = updating(rollout=MANUAL)
    world.after_pass = []
    planned.clear()
    assert world.reconcile() is not None
    assert world.reconcile() is not None
    assert len(planned) == 2
