"""What a router is told may be refused: the last weights serve on, and a rollback does not wait for it for long."""

from podium.api import names
from podium.kube.client import ApiError, Object
from podium.kube.resources import CONFIG_MAPS, SERVICES, Resource
from tests.unit.planner.test_envoy import is_routed, routed, weights
from tests.unit.planner.world import World, model

SENTENCE = "admission webhook denied the request: no ConfigMaps today"


class Refusal:
    """Refuses what routers are told, for as long as `on`."""

    def __init__(self, world: World, resource: Resource = CONFIG_MAPS) -> None:
        self.on = True
        self._resource = resource
        world.api.admit.append(self._admit)

    def _admit(self, resource: Resource, obj: Object) -> None:
        if self.on and resource is self._resource:
            raise ApiError(403, "Forbidden", SENTENCE)


def halfway(**spec: object) -> World:
    """Version 2 has a part of the requests."""
    world = routed(replicas=4, rollout={"minReadySeconds": 5}, **spec)
    world.edit(model=model("2"))
    world.until(lambda: len(weights(world)) == 2 and min(weights(world).values()) > 0)
    return world


def test_the_last_weights_serve_on_and_nobody_gives_pods_up() -> None:
    world = halfway()
    refusal = Refusal(world)
    world.advance(30)  # to what these weights allow
    before, pods = weights(world), world.replicas(world.revision("1"))
    world.advance(120)
    assert weights(world) == before
    assert world.replicas(world.revision("1")) == pods
    assert is_routed(world)
    assert world.condition("Ready") == ("False", "Forbidden")
    assert SENTENCE in world.message()
    refusal.on = False
    world.rest()
    assert world.outcome(world.revision("2")) == "Promoted"
    assert world.condition("Ready") == ("True", "Serving")


def test_a_rollback_that_is_refused_for_10_s_goes_past_the_routers_until_it_is_taken() -> None:
    world = halfway()
    one, two = world.revision("1"), world.revision("2")
    refusal, before = Refusal(world), weights(world)
    world.command("abort", two)
    world.until(lambda: world.outcome(two) == "RolledBack", within=5)
    at = world.now
    world.advance(7)
    assert is_routed(world), "not before 10 s"
    world.until(lambda: world.selector() == names.revision_selector("fraud", one), within=10)
    assert 9 <= (world.now - at).total_seconds() <= 13
    world.advance(60)
    assert world.selector() == names.revision_selector("fraud", one)
    assert world.replicas(two), "callers that routers still send there are answered"
    refusal.on, seen = False, []
    world.client.after.append(lambda _: seen.append(weights(world)))
    world.until(lambda: is_routed(world), within=60)
    assert {each[one] for each in seen if each != before} == {10_000}, "what was rolled back gets nothing again"
    world.rest()
    assert world.live(SERVICES, two) is None
    assert weights(world) == {one: 10_000}


def test_a_ModelDeployment_whose_ConfigMap_was_never_taken_is_served_without_routers() -> None:
    world = World()
    Refusal(world)
    world.create(traffic={"router": "Envoy"}, replicas=2)
    world.routers.start()
    world.advance(120)
    assert world.selector() == names.revision_selector("fraud", world.revision("1"))
    assert world.condition("Ready") == ("False", "Forbidden")
    assert world.condition("Available") == ("True", "Available")


def test_a_Service_of_a_revision_that_is_refused_keeps_the_stable_one_from_being_switched() -> None:
    world = routed(replicas=2)
    taken = [world.revision("1")]

    def admit(resource: Resource, obj: Object) -> None:
        if resource is SERVICES and obj["metadata"]["name"] not in ("fraud", *taken):
            raise ApiError(403, "Forbidden", SENTENCE)

    world.api.admit.append(admit)
    world.edit(model=model("2"))
    world.advance(60)
    assert weights(world)[taken[0]] == 10_000
    assert world.condition("Ready") == ("False", "Forbidden")
