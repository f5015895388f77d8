"""Conditions: the table row by row, as kstatus and a person read it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from podium.api import names
from podium.kube.resources import DEPLOYMENTS, MODEL_RUNTIMES, SERVICES
from tests.unit.planner.apiserver import clone
from tests.unit.planner.given import BLUE_GREEN, MANUAL, created, empty, rolled_back, serving, switched, updating
from tests.unit.planner.kstatus import kstatus
from tests.unit.planner.world import NAME, NAMESPACE, World, model


@dataclass(frozen=True)
class Row:
    """A row of the table: what it looks like, and how a world gets there."""

    given: Callable[[], World]
    phase: str
    available: str
    ready: str
    reconciling: bool = False
    stalled: bool = False
    paused: bool = False
    kstatus: str = "InProgress"


def _seen(world: World, seconds: float = 3) -> World:
    world.advance(seconds)
    return world


def _first_failed() -> World:
    world = created(replicas=2)
    world.behave("1", failure="crash")
    world.until(lambda: world.phase == "Failed")
    return world


def _pods_lost() -> World:
    world = serving(replicas=2)
    world.behave(world.pods()[0]["metadata"]["name"], ready_after=None)
    return _seen(world)


def _all_pods_lost() -> World:
    world = serving(replicas=2)
    world.behave("1", ready_after=None)
    return _seen(world)


def _waiting() -> World:
    world = updating(replicas=2, rollout=MANUAL)
    world.rest()
    return world


def _paused_idle() -> World:
    world = serving()
    world.edit(paused=True)
    return _seen(world)


def _paused_pending() -> World:
    world = _paused_idle()
    world.edit(model=model("2"))
    return _seen(world)


def _paused_midway() -> World:
    world = updating(replicas=3)
    world.edit(paused=True)
    return _seen(world)


def _going_back() -> World:
    world = updating(replicas=4)
    two = world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 2)
    world.command("abort", two)
    world.until(lambda: world.outcome(two) == "RolledBack")
    return world


def _unknown_runtime() -> World:
    world = serving()
    world.edit(runtime={"name": "triton"})
    return _seen(world)


def _name_taken() -> World:
    world = empty()
    _foreign_service(world)
    world.create()
    return _seen(world)


def _foreign_service(world: World) -> None:
    spec = {"selector": {"app": "other"}, "ports": [{"port": 80}]}
    meta = {"name": NAME, "namespace": NAMESPACE}
    world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}, "helm")


ROWS = {
    "created, not seen": Row(created, "Pending", "Unknown", "Unknown"),
    "first revision coming up": Row(lambda: _seen(created()), "Progressing", "False", "False", reconciling=True),
    "first revision failed": Row(_first_failed, "Failed", "False", "False", stalled=True, kstatus="Failed"),
    "healthy": Row(serving, "Healthy", "True", "True", kstatus="Current"),
    "healthy, predecessor warm": Row(lambda: switched(replicas=2), "Healthy", "True", "True", kstatus="Current"),
    "pods lost, available < T": Row(_pods_lost, "Healthy", "True", "False", reconciling=True),
    "pods lost, none available": Row(_all_pods_lost, "Healthy", "False", "False", reconciling=True),
    "replicas 0": Row(lambda: _seen(created(replicas=0)), "Healthy", "True", "True", kstatus="Current"),
    "rolling": Row(lambda: updating(replicas=2), "Progressing", "True", "False", reconciling=True),
    "rolling, BlueGreen": Row(
        lambda: updating(replicas=2, rollout=BLUE_GREEN), "Progressing", "True", "False", reconciling=True
    ),
    "rolling back": Row(_going_back, "RollingBack", "True", "False", reconciling=True),
    "waiting for a person": Row(_waiting, "Paused", "True", "False", paused=True),
    "paused, something pending": Row(_paused_pending, "Paused", "True", "False", paused=True),
    "paused midway": Row(_paused_midway, "Paused", "True", "False", paused=True),
    "paused, nothing pending": Row(_paused_idle, "Healthy", "True", "True", paused=True, kstatus="Current"),
    "rolled back, champion serves": Row(rolled_back, "RolledBack", "True", "False", stalled=True, kstatus="Failed"),
    "invalid, as is": Row(_unknown_runtime, "Healthy", "True", "False", stalled=True, kstatus="Failed"),
    "names taken, as is": Row(_name_taken, "Progressing", "False", "False", stalled=True, kstatus="Failed"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_row_of_the_table(row: Row) -> None:
    world = row.given()

    def said(kind: str) -> str:
        return (world.condition(kind) or ("-", ""))[0]

    expected = (row.phase, row.available, row.ready, row.reconciling, row.stalled, row.paused, row.kstatus)
    found = [world.phase, said("Available"), said("Ready")]
    found += [said(kind) == "True" for kind in ("Reconciling", "Stalled", "Paused")]
    assert (*found, kstatus(world.md)) == expected


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_no_condition_that_the_table_leaves_out_is_written_and_each_has_observedGeneration(row: Row) -> None:
    world = row.given()
    if row.phase == "Pending" and not row.stalled:
        return  # the CRD's default, written by the API server before any operator
    for condition in world.status["conditions"]:
        assert condition["observedGeneration"] == world.md["metadata"]["generation"]
        assert condition["status"] != "False" or condition["type"] in ("Ready", "Available")
        assert condition["reason"]
        assert condition["message"]


def test_Reconciling_and_Stalled_are_never_both_True() -> None:
    for row in ROWS.values():
        world = row.given()
        assert not (world.condition("Reconciling") and world.condition("Stalled"))


def test_the_reasons_that_the_table_names() -> None:
    reasons = {
        "pods lost, available < T": ("Ready", "Degraded"),
        "replicas 0": ("Available", "ScaledToZero"),
        "rolled back, champion serves": ("Ready", "RolledBack"),
        "names taken, as is": ("Ready", "NameConflict"),
    }
    for row, (kind, reason) in reasons.items():
        found = ROWS[row].given().condition(kind)
        assert found is not None
        assert found[1] == reason, row


def test_a_spec_that_cannot_be_read_is_InvalidSpec_and_the_champion_keeps_serving() -> None:
    world = serving(replicas=2)
    world.edit(rollout={"strategy": "Magic"})
    world.advance(3)
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert world.condition("Available") == ("True", "Available")
    assert "rollout.strategy" in world.message()
    assert kstatus(world.md) == "Failed"
    assert len(world.ready_pods()) == 2
    world.edit(rollout={})
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_a_ModelRuntime_that_appears_later_wakes_those_that_wait_for_it() -> None:
    world = _unknown_runtime()
    assert world.condition("Ready") == ("False", "RuntimeNotFound")
    runtime = clone(world.api.get(MODEL_RUNTIMES, None, "onnxruntime"))
    meta = {"name": "triton"}
    world.api.create({**runtime, "metadata": meta}, "kubectl")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_an_unsupported_format_names_field_value_and_way_out() -> None:
    world = serving()
    world.edit(model={**model("2"), "format": "gguf"})
    world.advance(3)
    assert world.condition("Ready") == ("False", "UnsupportedFormat")
    assert "spec.model.format" in world.message()
    assert "gguf" in world.message()


def test_between_a_spec_write_and_the_next_status_write_kstatus_says_InProgress() -> None:
    world = serving()
    world.edit(model=model("2"))
    assert world.condition("Ready") == ("True", "Serving")
    assert kstatus(world.md) == "InProgress"


def test_Ready_is_not_True_before_an_endpoint_is_listed_behind_the_stable_Service() -> None:
    world = created()
    world.cluster.list_endpoints = lambda: None  # type: ignore[method-assign]
    world.advance(120)
    assert world.rule(world.revision("1")) == "first"
    assert world.condition("Ready") == ("False", "TrafficMoving")


def test_lastTransitionTime_changes_with_status_alone() -> None:
    world = updating(replicas=2)

    def since() -> str:
        return next(str(c["lastTransitionTime"]) for c in world.status["conditions"] if c["type"] == "Ready")

    before = since()
    world.advance(20)
    assert since() == before
    world.until(lambda: world.phase == "Healthy")
    assert since() > before


def test_the_message_says_what_it_waits_for_and_until_when() -> None:
    world = updating(replicas=2)
    assert "0 of 2 pods" in world.status["message"]
    assert "12:10:" in world.status["message"]


def test_status_names_the_url_champion_candidate_and_replicas() -> None:
    world = updating(replicas=2)
    world.advance(5)
    status = world.status
    assert status["url"] == "http://fraud.ml.svc"
    assert status["champion"]["version"] == "1"
    assert status["candidate"]["version"] == "2"
    assert status["replicas"] == 3
    assert status["selector"] == f"{names.LABEL_MODEL}=fraud"
    assert status["controller"] == "podium-system/podium"


def test_history_is_the_newest_first() -> None:
    world = rolled_back()
    assert [(h["version"], h["outcome"]) for h in world.status["history"]] == [("2", "RolledBack"), ("1", "Promoted")]


def test_a_Service_that_is_lost_is_made_again_before_Ready_is_said() -> None:
    world = serving()
    world.api.delete(SERVICES, NAMESPACE, NAME)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")
    assert world.backends() == {world.revision("1")}


def test_a_pod_that_has_just_become_ready_is_not_available_while_a_write_of_ours_is_on_its_way() -> None:
    world = serving(replicas=1, rollout={"minReadySeconds": 10})
    one = world.revision("1")
    world.api.delete(DEPLOYMENTS, NAMESPACE, one)  # the one that is made again has pods that are seconds old
    world.until(lambda: (world.live(DEPLOYMENTS, one) or {"status": {}})["status"].get("readyReplicas"))
    world.change(DEPLOYMENTS, one, lambda o: o["spec"].update(replicas=2))
    world.deliver()

    world.reconcile()  # writes 1, which the Deployment's controller has not seen yet

    assert world.replicas(one) == 1
    assert world.condition("Ready") == ("False", "Degraded")


def _unreadable() -> World:
    world = serving(replicas=2)
    world.edit(rollout={"strategy": "Magic"})
    return _seen(world)


ABOUT_SOMETHING_ELSE: dict[str, Callable[[], World]] = {
    "rolled back": lambda: rolled_back(replicas=2),
    "a spec that cannot be read": _unreadable,
    "an unknown runtime": lambda: _seen(_edited_to(runtime={"name": "triton"})),
    "paused with a change pending": lambda: _seen(_edited_to(paused=True, model=model("2"))),
    "a promotion awaited": _waiting,
    "rolling": lambda: updating(replicas=2),
}


def _edited_to(**spec: object) -> World:
    world = serving(replicas=2)
    world.edit(**spec)
    return world


@pytest.mark.parametrize("given", ABOUT_SOMETHING_ELSE.values(), ids=ABOUT_SOMETHING_ELSE)
def test_when_nothing_serves_any_more_that_is_told_first_whatever_Ready_is_about(given: Callable[[], World]) -> None:
    world = given()
    before, reason = world.condition("Ready"), "NoAvailablePod"
    assert world.condition("Available") == ("True", "Available")

    world.behave("1", ready_after=None)
    world.advance(3)

    assert world.condition("Ready") == before
    assert world.condition("Available") == ("False", reason)
    assert world.message().startswith("Version 1 has 0 of 2 pods available. "), world.message()
    assert "Version 1 serves" not in world.message()
    assert world.events(reason) == ["Version 1 has 0 of 2 pods available."]


def test_when_the_first_pod_is_back_that_is_told_too() -> None:
    world = rolled_back(replicas=2)
    told = world.message()
    world.behave("1", ready_after=None)
    world.advance(3)

    world.behave("1", ready_after=5)
    world.rest()

    assert world.condition("Available") == ("True", "Available")
    assert world.message() == told
    assert world.events("Available")


def test_after_a_rollback_a_pod_that_is_lost_is_told_of_beside_what_serves() -> None:
    world = rolled_back(replicas=2)

    world.behave(world.pods(world.revision("1"))[0]["metadata"]["name"], ready_after=None)
    world.advance(3)

    assert world.condition("Available") == ("True", "Available")
    assert world.message().startswith("Version 1 has 1 of 2 pods available. Version 2 was rolled back")
    assert "Version 1 serves." in world.message()


def test_scaled_to_zero_after_a_rollback_is_available_and_no_outage() -> None:
    world = rolled_back(replicas=2)

    world.edit(replicas=0)
    world.rest()

    assert world.condition("Ready") == ("False", "RolledBack")
    assert world.condition("Available") == ("True", "ScaledToZero")
    assert world.message().startswith("Version 1 is scaled to zero. Version 2 was rolled back")
    assert not world.events("NoAvailablePod")
