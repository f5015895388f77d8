"""Where pods count, errors may stop a candidate, and nothing waits for the evidence."""

from dataclasses import replace
from typing import Any

import pytest

from podium.analysis.metrics import Kind
from podium.kube.client import Object
from podium.kube.resources import CONFIG_MAPS, MODEL_RUNTIMES
from podium.rollout.asked import Asked, Where
from podium.rollout.wish import Wish
from tests.unit.planner.test_canary import record, two
from tests.unit.planner.weighed import outcome
from tests.unit.planner.world import RUNTIMES, World, model

STEPS: list[Object] = [{"weight": 25, "for": "20s"}, {"weight": 50, "for": "20s"}]
ERRORS: Object = {"metrics": [{"name": "errors", "type": "ErrorRate"}]}
CANARY: Object = {"strategy": "Canary", "steps": STEPS}
WATCHED = [
    {"strategy": "RollingUpdate", "analysis": ERRORS},
    {"strategy": "BlueGreen", "promotion": "Manual", "analysis": ERRORS},
    CANARY,
]


METRICS: Object = next(r for r in RUNTIMES if r["metadata"]["name"] == "onnxruntime")["spec"]["metrics"]


def maps(world: World, says: bool) -> None:
    """Whether the ModelRuntime says from now on where its pods count."""

    def change(runtime: Object) -> None:
        runtime["spec"] = {k: v for k, v in runtime["spec"].items() if k != "metrics"}
        runtime["spec"] |= {"metrics": METRICS} if says else {}

    world.api.update(MODEL_RUNTIMES, "", "onnxruntime", change, "chart")


def watched(rollout: Object, *, candidate: float = 0.01, without: str = "", **spec: Any) -> World:
    """Version 2 is on its way beside version 1, and so many of its answers fail; `without`: a version whose
    ModelRuntime has no metrics as it is made.
    """
    world = World()
    maps(world, without != "1")
    world.create(replicas=4, rollout=rollout, **spec)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    maps(world, without != "2")
    world.measuring.callers.candidate = candidate
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    return world


@pytest.mark.parametrize("rollout", WATCHED, ids=lambda rollout: rollout["strategy"])
def test_a_candidate_that_fails_is_rolled_back_by_what_its_pods_say(rollout: Object) -> None:
    world = watched(rollout, candidate=1.0)
    world.measuring.callers.preview = 1.0 if rollout["strategy"] == "BlueGreen" else 0.0
    world.until(lambda: world.phase == "RolledBack")
    assert outcome(world) == ("RolledBack", "harm: errors")
    assert world.live(CONFIG_MAPS, f"{two(world)}-ledger")
    said = world.events("RolledBack")[0]
    assert "of 400 (approximate: errors counted at the pods)" in said


@pytest.mark.parametrize(
    ("rollout", "rule"),
    [(WATCHED[0], "rolling-complete"), (CANARY, "steps-complete"),
     ({"strategy": "BlueGreen", "analysis": ERRORS}, "blue-green-available")],
    ids=lambda what: what if isinstance(what, str) else "",
)  # fmt: skip
def test_nothing_waits_for_the_evidence(rollout: Object, rule: str) -> None:
    world = watched(rollout)
    world.measuring.deaf = True
    world.until(lambda: world.condition("Ready") == ("True", "Serving"), within=300)
    assert outcome(world) == ("Promoted", rule)


def test_a_rolling_update_is_watched_only_if_it_says_so() -> None:
    world = watched({"strategy": "RollingUpdate"}, candidate=1.0)
    assert world.measuring.task is None
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))


def test_behind_routers_too_pods_count_for_a_rolling_update() -> None:
    world = World()
    world.routers.start()
    world.create(replicas=4, rollout=WATCHED[0], traffic={"router": "Envoy"})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    world.edit(model=model("2"))
    world.until(lambda: world.measuring.task)
    assert world.measuring.task is not None
    assert world.measuring.task.asked.at is Where.PODS


def test_status_says_how_strong_the_evidence_is_and_that_it_is_approximate() -> None:
    world = watched({"strategy": "BlueGreen", "promotion": "Manual", "analysis": ERRORS})
    world.until(lambda: world.status["rollout"].get("metrics"))
    (entry,) = world.status["rollout"]["metrics"]
    assert entry["evidence"]["needed"] == "400 (approximate)"
    assert "noHarm" not in entry["evidence"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_without_a_mapping_nothing_is_weighed_and_the_rollout_goes_on(version: str) -> None:
    world = watched(CANARY, candidate=1.0, without=version)
    assert world.condition("NotMeasured") == ("True", "NotMeasured")
    assert f"no metrics when version {version} was rolled out" in world.message("NotMeasured")
    assert f"restart {world.revision('1')}" in world.message("NotMeasured")
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.condition("NotMeasured") is None


def test_a_candidate_that_alone_cannot_be_read_is_rolled_back_at_the_deadline() -> None:
    world = watched({**CANARY, "steps": [{"pause": True}], "progressDeadline": "2m"})
    world.until(lambda: world.status["candidate"]["ready"])
    world.measuring.unreachable = "pod fraud-2: 10.0.0.7:8080 did not answer within 1 s"
    world.measuring.unread_since = world.now.timestamp()
    world.advance(100)
    assert world.condition("MetricsUnreachable") == ("True", "MetricsUnreachable")
    assert "Pods cannot be read: pod fraud-2: 10.0.0.7:8080" in world.message("MetricsUnreachable")
    assert not outcome(world)[0]
    world.until(lambda: outcome(world) == ("RolledBack", "unreachable"), within=60)


def test_the_reason_is_a_whole_sentence_where_no_pod_was_asked_in_the_last_round() -> None:
    world = watched({**CANARY, "steps": [{"pause": True}], "progressDeadline": "2m"})
    world.until(lambda: world.status["candidate"]["ready"])
    world.measuring.unread_since = world.now.timestamp()
    world.until(lambda: outcome(world) == ("RolledBack", "unreachable"), within=180)
    (said,) = world.events("RolledBack")
    assert "(the champion's could). " in said


def test_an_upgrade_of_the_runtime_by_a_mapping_starts_nothing() -> None:
    world = World()
    maps(world, False)
    world.create(replicas=1)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    first = world.revision("1")
    maps(world, True)
    world.advance(60)
    assert world.revision("1") == first
    assert world.condition("Ready") == ("True", "Serving")
    assert world.condition("RuntimeOutdated") is None


def test_what_is_asked_comes_back_from_the_record_as_it_was() -> None:
    found = Asked(wishes=(Wish("errors", Kind.ERROR_RATE, 1.5, 1.0, 0.001),), at=Where.PODS)
    assert Asked.from_json(found.to_json()) == found
    at_routers = replace(found, at=Where.ROUTERS)
    assert "countedAt" not in at_routers.to_json(), "as records of earlier versions have it"
    assert Asked.from_json(at_routers.to_json()) == at_routers


def test_the_record_says_where_it_is_counted() -> None:
    world = watched(CANARY)
    assert record(world)["analysis"]["countedAt"] == "Pods"
    assert [each["name"] for each in record(world)["analysis"]["metrics"]] == ["errors"]
