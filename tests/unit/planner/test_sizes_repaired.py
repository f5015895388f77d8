"""A person's hand on a Deployment in the middle of a rollout: put back within one pass, paused or not."""

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS
from tests.unit.planner.given import AUTOSCALING, MANUAL, rolled_back, serving, switched, updating
from tests.unit.planner.world import NAME, NAMESPACE, World, model

HALF: Object = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def scale(world: World, revision: str, replicas: int) -> None:
    world.change(DEPLOYMENTS, revision, lambda o: o["spec"].update(replicas=replicas))


def half_way(**rollout: object) -> World:
    """Four pods, of which version 2 has one and cannot get its next ready."""
    world = updating(replicas=4, rollout=rollout)
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 1)
    world.behave("2", ready_after=None)
    world.advance(30)
    return world


@pytest.mark.parametrize("paused", [False, True])
def test_a_champions_Deployment_that_is_deleted_in_a_RollingUpdate_comes_back_with_all_that_is_missing(
    paused: bool,
) -> None:
    world = half_way()
    champion, candidate = world.revision("1"), world.revision("2")
    world.edit(paused=paused)
    world.advance(5)
    available = len(world.ready_pods(candidate))

    world.api.delete(DEPLOYMENTS, NAMESPACE, champion)
    world.advance(5)

    assert world.replicas(champion) == 4 - available
    world.advance(60)
    assert len(world.ready_pods()) >= 4


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(("version", "replicas"), [("1", 1), ("1", 9), ("2", 50), ("2", 0)])
def test_a_Deployment_that_is_scaled_by_hand_in_a_RollingUpdate_is_put_back(
    version: str, replicas: int, paused: bool
) -> None:
    world = half_way()
    world.edit(paused=paused)
    world.advance(5)
    before = {v: world.replicas(world.revision(v)) for v in ("1", "2")}

    scale(world, world.revision(version), replicas)
    world.advance(5)

    assert {v: world.replicas(world.revision(v)) for v in ("1", "2")} == before


def test_a_warm_loser_that_is_scaled_by_hand_is_put_back() -> None:
    world = switched(replicas=3)
    scale(world, world.revision("1"), 0)
    world.advance(5)
    assert world.replicas(world.revision("1")) == 3


def test_what_an_HPA_makes_of_replicas_is_no_drift() -> None:
    world = serving(autoscaling=AUTOSCALING)
    champion = world.revision("1")
    world.cluster.demand[""] = 6
    world.advance(120)
    assert world.replicas(champion) == 6
    annotations = world.need(DEPLOYMENTS, champion)["metadata"]["annotations"]
    assert annotations[names.ANNOTATION_REPLICAS] == "", "only while Podium decides does it say how many"


def test_a_number_that_somebody_else_keeps_beside_an_HPAs_is_not_taken_for_Podiums() -> None:
    world = serving(autoscaling=AUTOSCALING)
    champion = world.revision("1")
    world.cluster.demand[""] = 6
    world.until(lambda: world.replicas(champion) == 6)
    world.change(
        DEPLOYMENTS, champion, lambda o: o["metadata"]["annotations"].update({names.ANNOTATION_REPLICAS: "2"}), "backup"
    )
    world.rest()
    assert world.status["champion"]["desired"] == 6
    assert world.replicas(champion) == 6


def test_an_annotation_of_replicas_that_is_no_number_is_put_right_and_harms_nothing() -> None:
    world = half_way()
    candidate = world.revision("2")
    before = world.replicas(candidate)
    world.change(
        DEPLOYMENTS, candidate, lambda o: o["metadata"]["annotations"].update({names.ANNOTATION_REPLICAS: "many"})
    )
    world.advance(5)
    assert world.replicas(candidate) == before
    assert world.need(DEPLOYMENTS, candidate)["metadata"]["annotations"][names.ANNOTATION_REPLICAS] == str(before)


# --- BlueGreen follows the scale


def test_bluegreen_the_candidate_follows_a_champion_that_its_HPA_raises_while_a_person_is_waited_for() -> None:
    world = updating(rollout=MANUAL, autoscaling=AUTOSCALING, replicas=2)
    world.until(lambda: world.phase == "Paused")
    world.cluster.demand[""] = 8
    world.until(lambda: world.replicas(world.revision("1")) == 8)

    world.command("promote", world.revision("2"), "too-early")
    world.advance(1)
    assert "2 of 8 pods are available" in world.status["lastCommand"]["message"]
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 8)
    world.advance(15)
    world.command("promote", world.revision("2"), "now")
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")

    assert len(world.ready_pods(world.revision("2"))) >= 8, "it takes all traffic only with the pods for it"


def test_bluegreen_a_change_of_replicas_counts_for_both_while_a_person_is_waited_for() -> None:
    world = updating(rollout=MANUAL, replicas=2)
    world.until(lambda: world.phase == "Paused")
    world.edit(replicas=5)
    world.advance(60)
    assert [world.replicas(world.revision(v)) for v in ("1", "2")] == [5, 5]
    assert "edited since it started" not in world.message()


def test_bluegreen_taking_autoscaling_away_leaves_the_champion_what_spec_says() -> None:
    world = updating(rollout=MANUAL, autoscaling=AUTOSCALING, replicas=2)
    world.until(lambda: world.phase == "Paused")
    world.cluster.demand[""] = 8
    world.until(lambda: world.replicas(world.revision("1")) == 8)
    seen: list[int | None] = []
    world.after_pass.append(lambda: seen.append(world.replicas(world.revision("1"))))

    world.edit(autoscaling=None, replicas=8)
    world.advance(120)

    assert set(seen) == {8}


# --- the warm loser


@pytest.mark.parametrize(
    "edit", [{"runtime": {"name": "unknown"}}, {"model": model("3"), "paused": True}], ids=["unknown-runtime", "paused"]
)
def test_a_spec_that_cannot_start_leaves_the_warm_loser_to_go_back_to(edit: Object) -> None:
    world = switched(replicas=2)
    old, new = world.revision("1"), world.revision("2")
    world.edit(**edit)
    world.advance(30)
    assert world.replicas(old) == 2
    world.command("abort", new)
    world.advance(10)
    assert world.status["champion"]["revision"] == old
    assert world.selector() == {names.LABEL_MODEL: NAME, names.LABEL_REVISION: old}


def test_a_loser_keeps_its_pods_until_the_EndpointSlices_no_longer_list_them() -> None:
    world = updating(replicas=2, rollout={"strategy": "BlueGreen", "scaleDownDelay": "0s"})
    old = world.revision("1")
    world.cluster.endpoints_frozen = True
    world.until(lambda: world.outcome(world.revision("2")) == "Promoted")
    world.advance(60)
    assert world.backends() == {old}
    assert len(world.ready_pods(old)) == 2, "what still gets the traffic is not taken away"

    world.cluster.endpoints_frozen = False
    world.until(lambda: world.replicas(old) is None, within=60)
    assert world.backends() == {world.revision("2")}


# --- traffic and capacity together


def test_nothing_moves_while_a_third_revisions_pods_keep_the_candidate_out_of_the_Service() -> None:
    # Given a champion that was down when version 3 came, so that it started beside version 2's pods, which take long,
    world = updating(replicas=4, rollout={"progressDeadline": "1h"})
    world.cluster.grace = 600
    for version in ("1", "2", "3"):
        world.behave(version, ready_after=None)
    world.advance(10)
    world.edit(model=model("3"))
    world.until(lambda: any(r["data"]["version"] == "3" for r in world.api.all(CONTROLLER_REVISIONS)), within=120)
    champion, candidate = world.revision("1"), world.revision("3")
    # when the champion is well again before the candidate,
    world.behave("1")
    world.until(lambda: world.selector() == {names.LABEL_MODEL: NAME, names.LABEL_REVISION: champion})
    before = world.replicas(champion)
    world.behave("3")
    # then it keeps the pods that all of the traffic goes to,
    world.advance(400)
    assert world.replicas(champion) == before
    # and gives them up once the candidate may serve beside it.
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.status["champion"]["revision"] == candidate


def test_a_stray_pod_in_the_middle_of_a_RollingUpdate_takes_the_traffic_from_nobody() -> None:
    world = switched(replicas=4, rollout={"scaleDownDelay": "0s"})
    world.advance(60)
    world.rollout(strategy="RollingUpdate")
    world.edit(model=model("3"))
    world.until(lambda: world.replicas(world.revision("2")) == 1)
    labels = {names.LABEL_MODEL: NAME, names.LABEL_REVISION: world.revision("1")}
    meta = {"name": "debug", "namespace": NAMESPACE, "labels": labels}
    world.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {}}, "kubectl")
    world.advance(3)
    assert world.selector() == {names.LABEL_MODEL: NAME}


def test_a_retired_candidate_that_serves_alone_stays_until_somebody_can_take_its_place() -> None:
    # Given a RollingUpdate in which the champion has just given up its last pod,
    world = updating(replicas=1, rollout={"progressDeadline": "1h"})
    champion, second = world.revision("1"), world.revision("2")
    world.until(lambda: world.replicas(champion) == 0)
    # when the spec changes, and neither the champion's new pod nor any of version 3 comes up,
    world.behave("1", ready_after=None)
    world.behave("3", ready_after=None)
    world.edit(model=model("3"))
    world.until(lambda: any(r["data"]["version"] == "3" for r in world.api.all(CONTROLLER_REVISIONS)), within=120)
    world.advance(120)
    # then what serves goes on serving,
    assert world.backends() == {second}
    assert world.condition("Available")[0] == "True"  # type: ignore[index]
    # until version 3 does.
    world.behave("3")
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.backends() == {world.revision("3")}


def test_a_late_rollback_says_available_as_long_as_any_pod_serves() -> None:
    world = updating(replicas=4, rollout=HALF)
    champion, candidate = world.revision("1"), world.revision("2")
    while not world.outcome(candidate):
        for pod in world.pods(candidate)[3:]:
            world.behave(pod["metadata"]["name"], failure="crash")
        world.advance(1)
    assert not world.ready_pods(champion)
    while world.phase == "RollingBack":
        assert world.condition("Available")[0] == "True"  # type: ignore[index]
        world.advance(1)
    assert world.phase == "RolledBack"


def test_a_rolled_back_rollout_leaves_the_champion_at_its_size_whatever_was_scaled_by_hand() -> None:
    world = rolled_back(replicas=3)
    scale(world, world.revision("1"), 1)
    world.advance(5)
    assert world.replicas(world.revision("1")) == 3
