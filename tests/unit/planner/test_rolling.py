"""The strategy RollingUpdate."""

import pytest

from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, PODS, SERVICES
from podium.rollout.strategies import STRATEGIES, Frozen
from tests.unit.planner.given import rolled_back, serving, updating
from tests.unit.planner.world import World, model


@pytest.mark.parametrize(
    ("size", "surge", "unavailable", "expected"),
    [
        (4, "25%", 0, Frozen(4, 1, 0)),
        (10, "25%", "25%", Frozen(10, 3, 2)),  # S = ceil(2.5), U = floor(2.5)
        (3, 1, "50%", Frozen(3, 1, 1)),
        (1, "25%", 0, Frozen(1, 1, 0)),
        (2, 0, "100%", Frozen(2, 0, 2)),
        (2, 0, 5, Frozen(2, 0, 2)),  # no more than there are
        (3, 0, "25%", Frozen(3, 0, 1)),  # both round to 0
    ],
)
def test_surge_rounds_up_and_unavailable_down_and_both_coming_to_0_gives_1_unavailable(
    size: int, surge: int | str, unavailable: int | str, expected: Frozen
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = ModelDeploymentSpec.parse({"model": model("1"), "rollout": {"rollingUpdate": rolling}})
    assert STRATEGIES["RollingUpdate"].freeze(spec, size) == expected


def _totals(world: World) -> list[tuple[int, int]]:
    """(pods asked for, available) after each pass of the rollout from here on."""
    found = []

    def note() -> None:
        asked = sum(d["spec"]["replicas"] for d in world.api.all(DEPLOYMENTS))
        available = sum(1 for pod in world.api.all(PODS) if world.cluster.is_available(pod, 10))
        found.append((asked, available))

    world.after_pass.append(note)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    return found


def test_no_more_than_T_plus_S_pods_are_asked_for_and_never_fewer_than_T_minus_U_are_available() -> None:
    world = updating(replicas=10, rollout={"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": "20%"}})
    totals = _totals(world)
    assert max(asked for asked, _ in totals) == 13
    assert min(available for _, available in totals) >= 8


def test_with_maxSurge_0_the_champion_gives_pods_up_before_the_candidate_gets_any() -> None:
    world = serving(replicas=4, rollout={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})
    world.edit(model=model("2"))
    world.until(lambda: world.phase == "Progressing")
    totals = _totals(world)
    assert max(asked for asked, _ in totals) == 4
    assert min(available for _, available in totals) >= 3


def test_with_maxUnavailable_0_a_candidate_pod_is_available_before_a_champion_pod_goes() -> None:
    world = updating(replicas=1)
    assert world.replicas(world.revision("1")) == 1
    assert min(available for _, available in _totals(world)) >= 1


def test_available_means_ready_for_minReadySeconds() -> None:
    world = updating(replicas=1, rollout={"minReadySeconds": 60})
    two = world.revision("2")
    world.until(lambda: world.ready_pods(two))
    world.advance(50)
    assert world.replicas(world.revision("1")) == 1
    world.until(lambda: world.outcome(two) == "Promoted", within=30)


def test_champion_pods_that_are_not_Ready_go_without_waiting_for_the_candidate() -> None:
    world = serving(replicas=4, rollout={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}})
    for pod in world.pods()[:2]:
        world.behave(pod["metadata"]["name"], ready_after=None)
    world.advance(3)
    world.behave("2", ready_after=None)
    world.edit(model=model("2"))
    world.advance(5)
    assert world.replicas(world.revision("1")) == 2
    assert len(world.ready_pods(world.revision("1"))) == 2


def test_it_is_done_once_the_candidate_is_available_in_full_and_the_champion_has_no_pods() -> None:
    world = updating(replicas=3)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    assert world.rule(two) == "rolling-complete"
    assert world.pods(one, terminating=False) == []
    assert len(world.ready_pods(two)) == 3


def test_the_stable_Service_selects_the_champion_alone_without_a_rollout() -> None:
    world = serving(replicas=2)
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": world.revision("1")}


def test_the_stable_Service_selects_all_pods_only_while_the_candidate_has_pods() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    assert world.selector() == {"podium.dev/model": "fraud"}
    world.until(lambda: world.outcome(two) == "Promoted")
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": two}


def test_the_stable_Service_selects_all_pods_until_a_rolled_back_candidate_has_none() -> None:
    world = updating(replicas=4)
    two = world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 2)
    world.command("abort", two)
    world.until(lambda: world.outcome(two) == "RolledBack")
    assert world.selector() == {"podium.dev/model": "fraud"}
    world.until(lambda: world.phase == "RolledBack")
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": world.revision("1")}


def test_there_is_no_preview_Service_for_a_RollingUpdate() -> None:
    assert updating(replicas=2).live(SERVICES, "fraud-preview") is None


def test_rollback_is_the_mirror_image_and_keeps_T_minus_U_available() -> None:
    world = updating(replicas=6, rollout={"rollingUpdate": {"maxSurge": "20%", "maxUnavailable": "20%"}})
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 3)
    world.command("abort", two)
    lowest = 6

    def note() -> None:
        nonlocal lowest
        lowest = min(lowest, sum(1 for pod in world.api.all(PODS) if world.cluster.is_available(pod, 10)))

    world.after_pass.append(note)
    world.until(lambda: world.phase == "RolledBack")
    world.rest()
    assert lowest >= 5
    assert (world.replicas(one), world.replicas(two)) == (6, None)


def test_a_third_revision_has_no_pods_before_the_stable_Service_selects_all() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.until(lambda: world.ready_pods(two))
    world.edit(model=model("3"))
    world.until(lambda: any(r["data"]["version"] == "3" for r in world.api.all(CONTROLLER_REVISIONS)))
    assert world.pods(two) == []
    world.until(lambda: world.outcome(world.revision("3")) == "Promoted")


def test_nothing_shrinks_while_the_Deployments_status_is_of_an_older_generation() -> None:
    world = updating(replicas=3)
    world.lag[DEPLOYMENTS] = 60
    one = world.revision("1")
    world.advance(50)
    assert world.replicas(one) == 3
    world.lag[DEPLOYMENTS] = 0
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")


def test_T_and_the_sizes_are_frozen_at_the_start() -> None:
    world = updating(replicas=3)
    two = world.revision("2")
    world.edit(replicas=6)
    asked: set[int | None] = set()
    world.until(lambda: asked.add(world.replicas(two)) or len(world.pods(two)) == 3)
    assert asked == {1, 2, 3}
    world.until(lambda: world.condition("Ready") == ("True", "Serving") and world.replicas(two) == 6)


def test_a_crashed_candidates_Deployment_goes_at_once() -> None:
    world = rolled_back(replicas=2)
    world.rest()
    assert world.live(DEPLOYMENTS, world.revision("2")) is None
    assert len(world.ready_pods(world.revision("1"))) == 2
