"""What a replica parses before it leads: a pass then finds what it would have made itself, and makes it no more."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from podium.kube.resources import CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS
from podium.manifests.fetch import Fetcher
from podium.reconcile.observe import Observed, Observer
from podium.rollout.moment import Moment
from tests.unit.planner.given import serving
from tests.unit.planner.world import KEY, World, model


def _observer(world: World) -> Observer:
    return Observer(world.cache, world.settings, Fetcher(world.settings.fetcher_image), world.routers)


def _seen(observer: Observer, world: World) -> Observed:
    found = observer.observe(KEY, Moment(world.now))
    assert found is not None
    return found


def test_a_pass_after_reading_ahead_sees_what_it_would_see_without_and_resolves_nothing() -> None:
    world = serving(replicas=2)
    ahead = _observer(world)
    ahead.read_ahead(KEY)
    with_it, without = _seen(ahead, world), _seen(_observer(world), world)
    assert with_it.situation == without.situation
    assert with_it.revisions == without.revisions
    assert (with_it.resolved is None, without.resolved is None) == (True, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.edit(model=model("2")),
        lambda world: world.edit(runtime={"name": "nowhere"}),
        lambda world: world.edit(replicas=5),
    ],
)
def test_what_changes_after_it_was_read_ahead_is_seen_as_it_is(change: Callable[[World], None]) -> None:
    world = serving(replicas=2)
    ahead = _observer(world)
    ahead.read_ahead(KEY)
    change(world)
    world.deliver()
    assert _seen(ahead, world).situation == _seen(_observer(world), world).situation


def test_reading_ahead_counts_as_no_first_look() -> None:
    """Symptoms count from when they are seen, and who does not lead does not look."""
    world = serving(replicas=2)
    ahead = _observer(world)
    ahead.read_ahead(KEY)
    world.now += timedelta(seconds=90)
    situation = _seen(ahead, world).situation
    assert situation is not None
    assert situation.looking_since == world.now


def test_a_record_that_cannot_be_read_is_left_to_the_pass() -> None:
    world = serving(replicas=2)
    record = world.need(CONTROLLER_REVISIONS, world.revision("1"))
    world.cache.drop(CONTROLLER_REVISIONS, record)
    world.cache.put(CONTROLLER_REVISIONS, {**record, "data": {}, "metadata": {**record["metadata"], "uid": "another"}})
    ahead = _observer(world)
    ahead.read_ahead(KEY)
    assert _seen(ahead, world).invalid == _seen(_observer(world), world).invalid != ""


def test_what_is_gone_is_forgotten() -> None:
    world = serving(replicas=2)
    ahead = _observer(world)
    ahead.read_ahead(KEY)
    world.cache.drop(MODEL_DEPLOYMENTS, world.md)
    ahead.read_ahead(KEY)
    assert not ahead._memories
