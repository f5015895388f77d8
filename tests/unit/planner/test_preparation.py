"""A pod that its node cannot prepare (a missing Secret among its volumes, a broken network) says so nowhere itself."""

from tests.unit.planner.given import updating
from tests.unit.planner.world import World


def _failure(world: World) -> tuple[str, str] | None:
    return world.condition("PodFailure")


def test_a_pod_that_waits_for_its_volumes_is_a_condition_within_30_s_and_rolled_back_at_the_deadline() -> None:
    world = updating(replicas=2)
    world.behave("2", failure="volumes")
    world.advance(30)
    assert _failure(world) == ("True", "ConfigError")
    pod = world.pods(world.revision("2"))[0]["metadata"]["name"]
    expected = f"pod {pod} waits for its volumes or its network: kubectl describe pod {pod} -n ml says what is missing"
    assert expected in world.message("PodFailure")
    assert expected.removeprefix("pod") in world.status["message"]
    assert len(world.ready_pods(world.revision("1"))) == 2
    world.advance(600)
    assert world.phase == "RolledBack"
    assert world.rule(world.revision("2")) == "deadline"


def test_a_pod_that_waits_as_long_as_pods_do_is_no_failure() -> None:
    world = updating(replicas=2)
    seen: list[object] = []
    world.after_pass.append(lambda: seen.append(_failure(world)))
    world.behave("2", failure="volumes", until=15)
    world.rest()
    assert world.status["champion"]["version"] == "2"
    assert set(seen) == {None}


def test_it_goes_as_soon_as_the_volume_is_there() -> None:
    world = updating(replicas=2)
    world.behave("2", failure="volumes", until=60)
    world.advance(30)
    assert _failure(world) is not None
    world.rest()
    assert _failure(world) is None
    assert world.status["champion"]["version"] == "2"
