"""A pause: what stands still meanwhile, and what goes on."""

from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS
from tests.unit.planner.given import BLUE_GREEN, created, serving, updating
from tests.unit.planner.test_gates import verdict_on
from tests.unit.planner.world import model


def test_pause_no_start() -> None:
    world = serving(paused=False)
    world.edit(paused=True, model=model("2"))
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 1
    assert world.phase == "Paused"


def test_pause_no_step() -> None:
    world = updating(replicas=4)
    world.edit(paused=True)
    world.advance(120)
    assert (world.replicas(world.revision("1")), world.replicas(world.revision("2"))) == (4, 1)


def test_pause_no_promotion() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.edit(paused=True)
    world.rest()
    assert verdict_on(world) == ("", "")
    world.edit(paused=False)
    world.rest()
    assert verdict_on(world) == ("Promoted", "blue-green-available")


def test_pause_crash_rollback_goes_on() -> None:
    world = updating(replicas=2, paused=False)
    world.edit(paused=True)
    world.behave("2", failure="crash")
    world.until(lambda: verdict_on(world)[0] == "RolledBack")


def test_pause_drift_repair_goes_on() -> None:
    world = serving(replicas=2)
    world.edit(paused=True)
    one = world.revision("1")
    world.change(DEPLOYMENTS, one, lambda o: o["spec"].update(minReadySeconds=0))
    world.advance(2)
    assert world.need(DEPLOYMENTS, one)["spec"]["minReadySeconds"] == 10


def test_pause_scaling_goes_on() -> None:
    world = serving(replicas=2)
    world.edit(paused=True, replicas=5)
    world.rest()
    assert len(world.ready_pods()) == 5


def test_pause_progressDeadline_runs_on() -> None:
    world = updating(replicas=2)
    world.behave("2", ready_after=None)
    world.edit(paused=True)
    world.advance(620)
    assert verdict_on(world) == ("RolledBack", "deadline")


def test_a_first_revision_is_not_started_while_paused() -> None:
    world = created(paused=True)
    world.rest()
    assert world.api.all(CONTROLLER_REVISIONS) == []
    assert world.phase == "Paused"
    world.edit(paused=False)
    world.rest()
    assert world.phase == "Healthy"
