"""The strategy BlueGreen."""

from podium.kube.resources import DEPLOYMENTS, SERVICES
from tests.unit.planner.given import BLUE_GREEN, MANUAL, switched, updating
from tests.unit.planner.world import World, model


def _available(world: World, version: str) -> None:
    world.until(lambda: world.status.get("candidate", {}).get("available") == world.replicas(world.revision(version)))


def test_the_candidate_comes_up_in_full_beside_the_champion() -> None:
    world = updating(replicas=3, rollout=MANUAL)
    _available(world, "2")
    assert (world.replicas(world.revision("1")), world.replicas(world.revision("2"))) == (3, 3)


def test_the_candidate_is_behind_the_preview_Service_and_not_behind_the_stable_one() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    one, two = world.revision("1"), world.revision("2")
    _available(world, "2")
    world.advance(2)
    assert world.backends("fraud-preview") == {two}
    assert world.backends() == {one}


def test_all_traffic_moves_at_once_when_the_candidate_is_available_in_full() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    assert world.rule(two) == "blue-green-available"
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": two}
    world.advance(2)
    assert world.backends() == {two}


def test_with_promotion_Manual_it_waits_for_a_person() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    world.rest()
    assert world.outcome(world.revision("2")) == ""
    assert f"promote {world.revision('2')}" in world.message()


def test_a_person_promotes() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    world.command("promote", two)
    world.until(lambda: world.outcome(two) == "Promoted", within=5)
    assert world.rule(two) == "person"


def test_promotion_changed_to_Automatic_mid_rollout_counts() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    world.rollout(promotion="Automatic")
    world.until(lambda: world.rule(world.revision("2")) == "blue-green-available", within=5)


def test_a_candidate_that_waits_for_a_person_is_not_judged_by_its_deadline() -> None:
    world = updating(replicas=2, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    world.advance(3600)
    assert world.phase == "Paused"
    assert world.outcome(world.revision("2")) == ""


def test_the_loser_stays_warm_for_scaleDownDelay_and_the_phase_is_Healthy() -> None:
    world = switched(replicas=2)
    one = world.revision("1")
    world.advance(200)
    assert world.phase == "Healthy"
    assert len(world.ready_pods(one)) == 2
    assert world.status["previous"]["revision"] == one
    world.advance(120)
    assert world.live(DEPLOYMENTS, one) is None
    assert "previous" not in world.status


def test_the_preview_Service_goes_with_the_promotion() -> None:
    world = switched(replicas=2)
    assert world.live(SERVICES, "fraud-preview") is None


def test_in_the_warm_window_abort_of_the_promoted_revision_moves_back_at_once() -> None:
    world = switched(replicas=2)
    one, two = world.revision("1"), world.revision("2")
    world.advance(60)
    world.command("abort", two)
    world.advance(3)
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": one}
    assert world.backends() == {one}


def test_abort_of_the_promoted_revision_marks_it_RolledBack() -> None:
    world = switched(replicas=2)
    two = world.revision("2")
    world.command("abort", two)
    world.rest()
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "person")
    assert world.phase == "RolledBack"
    assert world.status["champion"]["revision"] == world.revision("1")
    assert world.live(DEPLOYMENTS, two) is None


def test_after_the_warm_window_abort_of_the_promoted_revision_is_refused() -> None:
    world = switched(replicas=2)
    two = world.revision("2")
    world.advance(400)
    world.command("abort", two)
    world.advance(3)
    assert world.outcome(two) == "Promoted"
    assert world.status["lastCommand"]["result"] == "Refused"


def test_a_new_rollout_ends_the_warm_window_first() -> None:
    world = switched(replicas=2)
    one = world.revision("1")
    world.edit(model=model("3"))
    world.until(lambda: world.pods(one) == [], within=30)
    world.until(lambda: world.outcome(world.revision("3")) == "Promoted")


def test_a_candidate_that_crashes_never_gets_traffic() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    one, two = world.revision("1"), world.revision("2")
    world.behave("2", failure="crash")
    seen: set[str] = set()
    world.after_pass.append(lambda: seen.update(world.backends()))
    world.until(lambda: world.phase == "RolledBack")
    assert seen == {one}
    assert world.outcome(two) == "RolledBack"
    assert world.live(DEPLOYMENTS, two) is None
