"""A candidate's container that ends by itself a second time under analysis is a crash."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, PODS
from podium.reconcile.sightings import Sightings
from podium.reconcile.symptoms import ended, symptom
from podium.rollout.moment import Moment
from tests.unit.planner.given import serving
from tests.unit.planner.test_canary import one, record, two
from tests.unit.planner.test_canary_envoy import shares
from tests.unit.planner.weighed import ALL_FAIL, outcome, until_weighed, weighed
from tests.unit.planner.world import START, World, model

ENOUGH = {"rate": 2000.0, "steps": [{"weight": 50, "for": "10s"}]}
"""Evidence is enough as soon as the steps are over."""


def end(world: World, revision: str, code: int = 137, reason: str = "OOMKilled") -> None:
    """The server of one of its pods ends, and is started again at once."""
    world.cluster.end(world.ready_pods(revision)[0], code, reason)
    world.advance(1)


def ends(world: World) -> tuple[int, int]:
    """The candidate's and the champion's, as version 2's record has them."""
    found = record(world)["ends"]
    return found["candidate"], found["champion"]


def promoted_after(world: World) -> timedelta:
    """How long from now until version 2 is promoted by evidence."""
    begun = world.now
    world.until(lambda: bool(record(world).get("promoting")))
    assert record(world)["promoting"] == "evidence"
    return world.now - begun


def test_a_second_end_rolls_back_and_the_reason_says_how_it_ended() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world), 139, "Error")
    assert world.phase == "Analyzing"
    end(world, two(world))
    assert world.phase == "RolledBack"
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")
    assert world.status["rollout"]["decision"]["by"] == "crash"
    said = (
        "its container model ended by itself twice under analysis (exit code 137, OOMKilled), that of version 1 did not"
    )
    assert said in world.status["message"]
    assert "Version 1 serves." in world.status["message"]
    (told,) = world.events("RolledBack")
    assert said in told


def test_two_pods_that_end_once_each_are_two_ends() -> None:
    world = weighed(rate=20.0, steps=[{"weight": 50}, {"pause": True}])
    world.until(lambda: shares(world)[1] == 5_000)
    for pod in world.ready_pods(two(world)):
        world.cluster.end(pod)
    world.advance(1)
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_an_end_with_exit_code_0_is_one_too() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    for _ in range(2):
        end(world, two(world), 0, "Completed")
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_the_first_end_holds_the_promotion_for_5_minutes_and_says_so() -> None:
    world = weighed(**ENOUGH)
    until_weighed(world)
    ended = world.now
    end(world, two(world))
    (told,) = world.events("ContainerEnded")
    assert "ended by itself under analysis (exit code 137, OOMKilled): it is not promoted for 5 min" in told
    assert "a second end rolls it back" in told
    assert "it is not promoted before" in world.status["message"], "while its steps last"
    world.until(lambda: world.condition("Ready") == ("False", "ContainerEnded"))
    assert "it is not promoted before" in world.status["message"], "once they are over"
    assert world.phase == "Analyzing"
    promoted_after(world)
    assert timedelta(minutes=5) <= world.now - ended < timedelta(minutes=5, seconds=10)


def test_without_an_end_the_same_is_promoted_within_a_minute() -> None:
    world = weighed(**ENOUGH)
    until_weighed(world)
    assert promoted_after(world) < timedelta(minutes=1)


def test_the_end_of_the_time_promotes_nothing_within_5_minutes_of_an_end() -> None:
    world = weighed(rate=0.1, maxDuration="5m", onInconclusive="Promote")
    until_weighed(world)
    world.advance(3 * 60)
    end(world, two(world))
    world.advance(4 * 60)
    assert not record(world).get("promoting")
    world.until(lambda: outcome(world) == ("Promoted", "max-duration"), within=90)


def test_a_person_promotes_at_once_after_an_end() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    world.command("promote", two(world))
    world.until(lambda: outcome(world) == ("Promoted", "person"), within=60)


def test_a_person_s_promotion_stands_whatever_ends() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    world.cluster.refused = "exceeded quota"  # it cannot grow, so that the promotion lasts
    world.command("promote", two(world))
    world.advance(1)
    for _ in range(2):
        end(world, two(world))
    assert world.condition("Ready") == ("False", "PromotionStands")
    assert not outcome(world)[0]


def test_an_end_while_it_grows_to_its_promotion_holds_that_and_a_second_rolls_back() -> None:
    world = weighed(**ENOUGH)
    world.until(lambda: record(world).get("promoting") == "evidence")
    end(world, two(world))
    world.advance(60)
    assert not world.outcome(two(world))
    end(world, two(world))
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_champion_s_pods_that_end_too_are_no_evidence_against_the_candidate() -> None:
    world = weighed(rate=2000.0)
    until_weighed(world)
    end(world, one(world))
    for _ in range(3):
        end(world, two(world))
    assert ends(world) == (3, 1)
    assert "rolls it back" not in world.events("ContainerEnded")[-1]
    world.until(lambda: outcome(world) == ("Promoted", "evidence"))


def test_what_ended_before_the_first_weight_does_not_count_on_either_side() -> None:
    world = weighed(rate=2000.0)
    world.measuring.deaf = True  # no weight is given before the routers are read
    world.until(lambda: bool(world.ready_pods(two(world))))
    for _ in range(2):
        end(world, two(world))
    end(world, one(world))
    world.measuring.deaf = False
    until_weighed(world)
    assert ends(world) == (0, 0)
    for _ in range(2):
        end(world, two(world))
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded"), "the champion's was before that time"


def test_a_new_operator_counts_on_and_takes_none_twice() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    world.hand_over()
    world.advance(5)
    assert ends(world) == (1, 0)
    assert world.phase == "Analyzing"
    end(world, two(world))
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_an_end_that_no_operator_saw_is_told_by_the_pod_s_own_count() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    world.cluster.end(world.ready_pods(two(world))[0])
    world.cluster.act()
    world.hand_over()
    world.advance(5)
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_the_end_of_a_pod_that_was_replaced_counts_with_its_successor_s() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    world.cluster.stop(world.ready_pods(two(world))[0])
    world.advance(30)
    end(world, two(world))
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def deleted(world: World) -> None:
    """A drain of its node deletes the pod: its server ends by SIGTERM."""
    pod = world.ready_pods(two(world))[0]
    world.cluster.stop(pod)

    def end_it(obj: Object) -> None:
        (container,) = obj["status"]["containerStatuses"]
        container["state"] = {"terminated": {"exitCode": 143, "reason": "Error"}}

    world.change(PODS, pod["metadata"]["name"], end_it, "kubelet")
    world.advance(1)


def evicted(world: World) -> None:
    """Its node is short of memory."""
    world.cluster.evict(world.ready_pods(two(world))[0])
    world.advance(30)


def lost(world: World) -> None:
    """Its node was restarted."""
    end(world, two(world), 255, "Unknown")


@pytest.mark.parametrize("happen", [deleted, evicted, lost])
def test_what_others_end_is_no_end_of_its_own(happen: Callable[[World], None]) -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    for _ in range(3):
        happen(world)
        world.until(lambda: bool(world.ready_pods(two(world))))
    assert ends(world) == (0, 0)
    assert not outcome(world)[0]


def test_no_rollback_while_the_champion_has_no_available_pod() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    world.behave("1", ready_after=None)
    for pod in world.pods(one(world)):
        world.behave(pod["metadata"]["name"], ready_after=None)
    world.advance(2)
    end(world, two(world))
    assert not outcome(world)[0]
    world.until(lambda: outcome(world) == ("Promoted", "champion-down"), within=90)


def test_without_an_analysis_ends_are_not_counted() -> None:
    world = weighed(rate=20.0, analysis={"metrics": []})
    until_weighed(world)
    for _ in range(2):
        end(world, two(world))
    assert "ends" not in record(world)
    assert not outcome(world)[0]


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Canary"])
def test_without_a_router_the_same_counts_from_the_first_pod_behind_the_service_on(strategy: str) -> None:
    steps = {"steps": [{"weight": 50, "for": "10m"}]} if strategy == "Canary" else {}
    analysis = {"metrics": [{"name": "errors", "type": "ErrorRate"}]}
    world = serving(replicas=4, rollout={"strategy": strategy, "minReadySeconds": 30, "analysis": analysis, **steps})
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    world.until(lambda: "ends" in record(world))
    for _ in range(2):
        end(world, two(world))
    assert outcome(world) == ("RolledBack", "crash: ContainerEnded")


def test_harm_is_told_before_ends_hold_anything() -> None:
    world = weighed(rate=500.0)
    until_weighed(world)
    end(world, two(world))
    world.measuring.callers.candidate = ALL_FAIL
    world.until(lambda: outcome(world) == ("RolledBack", "harm: errors"), within=30)


def test_the_record_is_read_as_it_was_written_and_nonsense_is_unreadable() -> None:
    world = weighed(rate=20.0)
    until_weighed(world)
    end(world, two(world))
    before = record(world)

    def spoil(obj: Object) -> None:
        text = json.dumps(before | {"ends": {"candidate": 1, "champion": 0, "seen": "many"}})
        obj["metadata"]["annotations"][names.ANNOTATION_ROLLOUT] = text

    world.change(CONTROLLER_REVISIONS, two(world), spoil)
    world.advance(1)
    assert world.condition("RecordUnreadable") == ("True", "RecordUnreadable")


RUNNING, OOM = {"running": {}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
ERROR = {"terminated": {"exitCode": 1, "reason": "Error"}}
BACKING_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
GOING = {"deletionTimestamp": "2030-01-01T12:00:30Z"}


@pytest.mark.parametrize(
    ("state", "last", "restarts", "meta", "found"),
    [
        (RUNNING, {}, 0, {}, (0, "")),
        (OOM, {}, 0, {}, (1, "exit code 137, OOMKilled")),
        (BACKING_OFF, OOM, 0, {}, (1, "exit code 137, OOMKilled")),
        (RUNNING, OOM, 1, {}, (1, "exit code 137, OOMKilled")),
        (OOM, OOM, 1, {}, (2, "exit code 137, OOMKilled")),
        (OOM, {}, 0, GOING, (0, "")),
        (RUNNING, OOM, 1, GOING, (1, "exit code 137, OOMKilled")),
        (RUNNING, {"terminated": {"exitCode": 0}}, 1, {}, (1, "exit code 0, Error")),
        (RUNNING, {"terminated": {"exitCode": 255, "reason": "Unknown"}}, 1, {}, (1, "")),
        (RUNNING, {}, 1, {}, (1, "")),
    ],
)
def test_a_pod_s_ends_are_its_restarts_and_the_one_that_it_has_not_been_started_after(
    state: Object, last: Object, restarts: int, meta: Object, found: tuple[int, str]
) -> None:
    model = {"name": names.MODEL_CONTAINER, "state": state, "lastState": last, "restartCount": restarts}
    sidecar = {"name": "istio-proxy", "state": OOM, "lastState": OOM, "restartCount": 9}
    status = {"containerStatuses": [sidecar, model], "initContainerStatuses": [sidecar | {"name": "fetch-model"}]}
    assert ended({"metadata": meta, "status": status}) == found


@pytest.mark.parametrize(
    ("state", "restarts"), [(ERROR, 2), (BACKING_OFF, 2), (RUNNING, 3)], ids=["ended", "backing off", "running again"]
)
def test_how_often_a_container_ended_is_told_alike_whatever_it_does_at_this_moment(
    state: Object, restarts: int
) -> None:
    model = {"name": names.MODEL_CONTAINER, "state": state, "lastState": ERROR, "restartCount": restarts}
    pod = {"metadata": {"name": "a"}, "status": {"containerStatuses": [model | {"ready": False}]}}
    found = symptom(pod, Sightings.after(None, Moment(START)))
    assert found is not None
    assert found[1] == "container model of pod a ended 3 times with exit code 1"
