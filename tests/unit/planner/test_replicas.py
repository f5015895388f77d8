"""Replicas: who decides the number of pods, and how it is handed over."""

from podium.kube.client import Object
from podium.kube.resources import DEPLOYMENTS, HPAS, PDBS
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import AUTOSCALING, BLUE_GREEN, MANUAL, created, serving, updating
from tests.unit.planner.world import World, model


def _steps(calls: list[Call]) -> list[str]:
    """Writes that concern the number of pods, in their order."""
    found = []
    for call in calls:
        if call.resource is HPAS and call.verb in ("apply", "delete"):
            found.append(f"{call.verb} HPA")
        elif call.resource is DEPLOYMENTS and call.verb == "apply":
            count = call.body["spec"].get("replicas", "-")
            found.append(f"{call.manager} {count}")
    return found


def _never_fell_below(world: World, revision: str, least: int) -> None:
    def check() -> None:
        replicas = world.replicas(revision)
        assert replicas is None or replicas >= least

    world.client.after.append(lambda _: check())


def _hpa(world: World, revision: str) -> Object:
    found: Object = world.need(HPAS, revision)["spec"]
    return found


# --- no candidate


def test_without_autoscaling_the_operator_decides() -> None:
    world = serving(replicas=3)
    one = world.revision("1")
    assert world.managers(one) == {"podium"}
    world.edit(replicas=5)
    world.rest()
    assert world.replicas(one) == 5
    assert world.hpas() == []


def test_with_autoscaling_an_HPA_decides_and_replicas_is_the_first_revisions_initial_size() -> None:
    world = created(replicas=3, autoscaling=AUTOSCALING)
    world.advance(3)
    one = world.revision("1")
    assert world.replicas(one) == 3
    world.until(lambda: world.hpas() == [one])
    world.cluster.demand[""] = 6
    world.rest()
    assert world.replicas(one) == 6
    assert world.phase == "Healthy"
    assert (_hpa(world, one)["minReplicas"], _hpa(world, one)["maxReplicas"]) == (2, 8)


def test_hand_over_applies_the_live_replicas_as_podium_handover_then_without_the_field_then_makes_the_HPA() -> None:
    world = serving(replicas=4)
    one = world.revision("1")
    _never_fell_below(world, one, 4)
    first = len(world.client.calls)
    world.edit(autoscaling=AUTOSCALING)
    world.advance(3)
    assert _steps(world.client.calls[first:]) == ["podium-handover 4", "podium -", "apply HPA"]
    assert world.managers(one) == {"podium-handover"}


def test_taking_back_deletes_the_HPA_and_applies_the_live_value() -> None:
    world = serving(replicas=4, autoscaling=AUTOSCALING)
    one = world.revision("1")
    world.cluster.demand[""] = 6
    world.rest()
    _never_fell_below(world, one, 4)
    first = len(world.client.calls)
    world.edit(autoscaling=None)
    world.advance(2)
    assert _steps(world.client.calls[first:])[:2] == ["delete HPA", "podium 4"]
    assert world.replicas(one) == 4
    assert world.hpas() == []


def test_killed_after_any_write_of_a_hand_over_the_number_of_pods_stays() -> None:
    for nth in range(1, 6):
        world = serving(replicas=4)
        one = world.revision("1")
        _never_fell_below(world, one, 4)
        world.edit(autoscaling=AUTOSCALING)
        world.client.kill_after = nth
        world.rest()
        assert world.hpas() == [one]
        assert world.replicas(one) == 4


def test_a_later_change_of_replicas_under_autoscaling_is_the_Event_ReplicasIgnored_naming_the_HPA() -> None:
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    world.edit(replicas=7)
    world.rest()
    (note,) = world.events("ReplicasIgnored")
    assert world.revision("1") in note
    assert world.replicas(world.revision("1")) == 3


def test_HPA_ScalingActive_False_is_a_condition() -> None:
    world = serving(replicas=2, autoscaling=AUTOSCALING)
    world.cluster.metrics_api = False
    world.advance(30)
    assert world.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    assert "no metrics API" in world.message("ScalingActive")
    world.cluster.metrics_api = True
    world.advance(30)
    assert world.condition("ScalingActive") is None


def test_an_edited_autoscaling_reaches_the_HPA() -> None:
    world = serving(replicas=2, autoscaling=AUTOSCALING)
    world.edit(autoscaling={"minReplicas": 3, "maxReplicas": 4})
    world.rest()
    assert world.replicas(world.revision("1")) == 3


# --- RollingUpdate


def test_rolling_T_is_the_champions_live_replicas_frozen_at_the_start_and_the_message_says_so() -> None:
    world = serving(replicas=2, autoscaling=AUTOSCALING)
    world.cluster.demand[""] = 6
    world.rest()
    world.edit(model=model("2"))
    world.advance(4)
    assert world.hpas() == []
    assert "of 6 pods" in world.status["message"]
    assert "size is frozen" in world.status["message"]
    world.cluster.demand[""] = 2
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    assert len(world.ready_pods(two)) == 6


def test_rolling_a_change_of_replicas_counts_afterwards_and_is_the_Event_ReplicasPending_with_both_numbers() -> None:
    world = updating(replicas=4)
    world.edit(replicas=2)
    world.advance(2)
    (note,) = world.events("ReplicasPending")
    assert "spec.replicas: 2 counts once" in note
    assert "it is 4" in note
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.rest()
    assert world.replicas(two) == 2


def test_rolling_the_HPA_lets_go_before_any_Deployment_is_sized() -> None:
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    world.advance(30)
    one = world.revision("1")
    _never_fell_below(world, one, 3)
    first = len(world.client.calls)
    world.edit(model=model("2"))
    world.advance(2)
    assert _steps(world.client.calls[first:])[0] == "delete HPA"
    assert world.managers(one) >= {"podium"}


def test_rolling_afterwards_the_HPA_of_the_new_champion_decides() -> None:
    world = updating(replicas=3, autoscaling=AUTOSCALING)
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.rest()
    assert world.hpas() == [two]
    assert world.replicas(two) == 3
    assert world.phase == "Healthy"


def test_rolling_back_hands_the_champion_to_its_HPA_again() -> None:
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    world.behave("2", failure="crash")
    world.edit(model=model("2"))
    world.rest()
    assert world.hpas() == [world.revision("1")]
    assert world.replicas(world.revision("1")) == 3


# --- BlueGreen


def test_bluegreen_the_champions_HPA_may_not_scale_down_and_keeps_at_least_the_count_at_the_start() -> None:
    world = serving(replicas=5, autoscaling=AUTOSCALING, rollout=MANUAL)
    one = world.revision("1")
    world.edit(model=model("2"))
    world.advance(5)
    assert _hpa(world, one)["minReplicas"] == 5
    assert _hpa(world, one)["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    world.cluster.demand[""] = 2
    world.advance(60)
    assert world.replicas(one) == 5
    world.cluster.demand[""] = 7
    world.advance(60)
    assert world.replicas(one) == 7


def test_bluegreen_the_candidate_is_at_T_by_the_operator_until_the_traffic_has_moved() -> None:
    world = updating(replicas=4, autoscaling=AUTOSCALING, rollout=MANUAL)
    two = world.revision("2")
    world.rest()
    assert world.hpas() == [world.revision("1")]
    assert world.replicas(two) == 4
    assert world.managers(two) == {"podium"}


def test_bluegreen_then_the_HPA_of_the_spec_with_scale_down_disabled_for_its_stabilisation_window() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 120}}
    world = updating(replicas=4, autoscaling={**AUTOSCALING, "behavior": behavior}, rollout=BLUE_GREEN)
    two = world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.cluster.demand[""] = 2
    world.advance(60)
    assert world.hpas() == [two]
    assert world.replicas(two) == 4
    assert _hpa(world, two)["minReplicas"] == 2
    world.advance(70)
    assert world.replicas(two) == 2


def test_bluegreen_the_candidate_has_no_HPA_before_all_traffic_has_moved() -> None:
    world = updating(replicas=3, autoscaling=AUTOSCALING, rollout=BLUE_GREEN)
    one, two = world.revision("1"), world.revision("2")

    def check(call: Call) -> None:
        if call.resource is HPAS and call.verb == "apply" and call.name == two:
            assert world.backends() == {two}

    world.client.before.append(check)
    world.until(lambda: two in world.hpas())
    assert one not in world.hpas()


def test_bluegreen_a_warm_loser_has_no_HPA_and_keeps_its_count() -> None:
    world = updating(replicas=4, autoscaling=AUTOSCALING, rollout=BLUE_GREEN)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.cluster.demand[""] = 2
    world.advance(120)
    assert world.replicas(one) == 4
    assert world.hpas() == [two]


def test_bluegreen_undone_the_old_champion_gets_its_HPA_back() -> None:
    world = updating(replicas=4, autoscaling=AUTOSCALING, rollout=BLUE_GREEN)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.advance(30)
    _never_fell_below(world, one, 4)
    world.command("abort", two)
    world.advance(60)
    assert world.hpas() == [one]
    assert world.backends() == {one}


def test_bluegreen_undone_the_HPA_may_not_scale_down_for_its_stabilisation_window_either() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    world = updating(replicas=4, autoscaling={**AUTOSCALING, "behavior": behavior}, rollout=BLUE_GREEN)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.outcome(two) == "Promoted")
    world.advance(90)
    world.cluster.demand[""] = 2
    world.command("abort", two)
    world.until(lambda: world.hpas() == [one])
    world.advance(40)
    assert world.replicas(one) == 4
    world.advance(40)
    assert world.replicas(one) == 2


# --- the user's own autoscaler, PDB


def test_the_users_own_HPA_targets_the_scale_subresource_so_spec_replicas_is_followed_at_once() -> None:
    world = serving(replicas=2)
    for replicas in (3, 5, 4):
        world.edit(replicas=replicas)
        world.advance(2)
        assert world.replicas(world.revision("1")) == replicas
    world.rest()
    assert world.status["replicas"] == 4


def test_a_PDB_from_two_replicas_on() -> None:
    world = serving(replicas=1)
    assert world.live(PDBS) is None
    world.edit(replicas=2)
    world.advance(2)
    assert world.need(PDBS)["spec"]["maxUnavailable"] == 1
    assert world.need(PDBS)["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    world.edit(replicas=1)
    world.rest()
    assert world.live(PDBS) is None


def test_a_Deployment_that_is_lost_comes_back_at_its_size() -> None:
    world = serving(replicas=3)
    one = world.revision("1")
    world.api.delete(DEPLOYMENTS, "ml", one)
    world.rest()
    assert world.replicas(one) == 3
    assert world.phase == "Healthy"


def test_a_Deployment_that_is_lost_under_autoscaling_is_handed_over_again() -> None:
    world = serving(replicas=3, autoscaling=AUTOSCALING)
    one = world.revision("1")
    world.api.delete(DEPLOYMENTS, "ml", one)
    world.rest()
    assert world.replicas(one) == 3
    assert world.hpas() == [one]


def test_a_champions_Deployment_that_is_lost_in_a_blue_green_rollout_comes_back_at_its_size_and_is_handed_over() -> (
    None
):
    world = updating(replicas=4, autoscaling=AUTOSCALING, rollout=MANUAL)
    world.advance(30)
    one = world.revision("1")
    _never_fell_below(world, one, 4)
    world.api.delete(DEPLOYMENTS, "ml", one)
    world.rest()
    assert world.replicas(one) == 4
    assert world.hpas() == [one]
    assert world.managers(one) == {"podium-handover"}


def test_autoscaling_switched_on_at_replicas_0_brings_pods_up_first_since_an_HPA_does_not() -> None:
    world = serving(replicas=0)
    world.edit(replicas=1, autoscaling=AUTOSCALING)
    world.rest()
    assert len(world.ready_pods()) == 2
    assert world.hpas() == [world.revision("1")]
    assert world.condition("Ready") == ("True", "Serving")
