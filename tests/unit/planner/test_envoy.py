"""`router: Envoy`: weights count when every router has confirmed them, and no pod goes before that."""

from datetime import timedelta
from typing import Any

import pytest

from podium.api import names
from podium.api.v1alpha1 import Traffic
from podium.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES
from podium.manifests.owner import Owner
from podium.manifests.router import RouterPods, deployment
from podium.manifests.routing import config_map, read_routing, routing, told_in
from podium.reconcile import ports
from podium.reconcile.routers.base import RouterPod, Seen
from podium.reconcile.routers.reading import weighted
from podium.rollout.traffic import Applied, Split
from podium.router.agent import UNHEARD
from podium.router.routing import LEAST_PORT, Routing
from podium.router.said import Said
from tests.unit.planner.apiserver import Call
from tests.unit.planner.given import created, empty
from tests.unit.planner.world import NAME, NAMESPACE, World, model

ENVOY = {"router": "Envoy"}
TOLD = names.routing_name(NAME)


def routed(**spec: Any) -> World:
    """Version 1 serves through two routers."""
    world = created(traffic=spec.pop("traffic", ENVOY), **spec)
    world.routers.start()
    world.until(lambda: is_routed(world) and world.condition("Ready") == ("True", "Serving"))
    world.until(lambda: listed(world) == set(world.routers.loaded))
    return world


def is_routed(world: World) -> bool:
    return world.selector() == names.router_selector()


def told(world: World) -> Routing:
    """What the ConfigMap says."""
    found = read_routing(told_in(world.need(CONFIG_MAPS, TOLD)))
    assert found is not None
    return found


def weights(world: World) -> dict[str, int]:
    return {share.revision: share.weight for share in told(world).split}


def listed(world: World) -> set[str]:
    """Pods behind the stable Service."""
    from podium.kube.resources import ENDPOINT_SLICES

    piece = world.need(ENDPOINT_SLICES, f"{NAME}-slice")
    return {e["targetRef"]["name"] for e in piece["endpoints"] if e["conditions"]["ready"]}


# --- which port is its


def test_without_a_port_that_is_free_a_person_is_told_the_ways_out_and_what_runs_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = created(replicas=2)
    world.advance(60)
    one = world.revision("1")
    monkeypatch.setattr(ports, "LAST_PORT", LEAST_PORT - 1)
    world.edit(traffic=ENVOY)
    world.advance(60)

    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert world.message().startswith("spec.traffic.router: 'Envoy': the routers of namespace ml have ")
    assert world.message().endswith(
        "To go on: remove traffic.router: Envoy from ModelDeployments that can do without it, or use another namespace."
    )
    world.edit(replicas=5)
    world.api.delete(DEPLOYMENTS, NAMESPACE, one)
    world.advance(60)
    assert world.replicas(one) == 5, "what runs is repaired, and follows spec"
    assert len(listed(world)) == 5
    world.edit(model=model("2"))
    world.advance(60)
    assert "candidate" not in world.status

    monkeypatch.undo()
    world.edit(traffic={"router": "None"})
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert world.status["champion"]["version"] == "2"


# --- whose the routers are


def kept_by_another() -> World:
    """Another installation of Podium has just taken the routers."""
    world = created(traffic=ENVOY, replicas=2)
    pods = deployment(NAMESPACE, RouterPods(), replicas=0)
    pods["metadata"]["annotations"] = {names.ANNOTATION_INSTALLATION: "podium-gold/podium"}
    world.api.create(pods, "podium")
    return world


def test_routers_that_another_installation_keeps_are_told_once_that_has_lasted() -> None:
    world = kept_by_another()
    world.advance(9)
    assert world.condition("DriftContested") is None
    world.advance(3)
    assert world.condition("DriftContested") == ("True", "AnotherWriter")

    ours = {names.ANNOTATION_INSTALLATION: world.settings.installation}
    world.change(DEPLOYMENTS, names.ROUTER, lambda o: o["metadata"]["annotations"].update(ours))
    world.advance(3)
    assert world.condition("DriftContested") is None


# --- the switch


def test_the_Service_leads_to_the_routers_once_all_have_loaded_and_reached_the_pods() -> None:
    world = routed(replicas=2)
    one = world.revision("1")
    assert weights(world) == {one: 10_000}
    service = world.need(SERVICES)["spec"]
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(80, 20_000)]
    assert world.need(SERVICES, one)["spec"]["selector"] == names.revision_selector(NAME, one)
    assert world.condition("RouterUnreachable") is None


def test_without_routers_the_pods_serve_and_RouterUnreachable_says_why() -> None:
    world = created(traffic=ENVOY, replicas=2)
    world.advance(120)
    assert world.selector() == names.revision_selector(NAME, world.revision("1"))
    assert world.condition("Ready") == ("True", "Serving")
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    assert "No pod of Deployment podium-router is Ready" in world.message("RouterUnreachable")


def test_one_router_that_does_not_answer_keeps_the_Service_from_being_switched() -> None:
    world = created(traffic=ENVOY)
    _, second = world.routers.start()
    world.routers.silent.add(second)
    world.advance(120)
    assert not is_routed(world)
    assert second in world.message("RouterUnreachable")
    world.routers.silent.clear()
    world.until(lambda: is_routed(world), within=5)
    world.rest()
    assert world.condition("RouterUnreachable") is None


def cut_off() -> World:
    """No pod of the first revision lets routers in."""
    world = empty()
    world.create(traffic=ENVOY)
    world.routers.start()
    world.until(lambda: bool(world.pods()))
    world.routers.cut_off.add(("", world.revision("1")))
    world.advance(120)
    return world


def test_a_revision_that_no_router_reaches_keeps_the_Service_from_being_switched() -> None:
    world = cut_off()
    assert not is_routed(world)
    assert "does not reach any pod" in world.message("RouterUnreachable")
    assert "NetworkPolicies" in world.message("RouterUnreachable")


def test_one_router_that_does_not_reach_the_champion_keeps_the_Service_from_being_switched() -> None:
    world = empty()
    world.create(traffic=ENVOY)
    _, second = world.routers.start()
    world.until(lambda: bool(world.pods()))
    one = world.revision("1")
    world.routers.cut_off.add((second, one))
    world.advance(120)
    assert not is_routed(world)
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    assert f"Router pod {second} does not reach any pod of revision {one}" in world.message("RouterUnreachable")
    world.routers.cut_off.clear()
    world.until(lambda: is_routed(world), within=5)


def test_a_router_that_is_late_is_waited_for() -> None:
    world = created(traffic=ENVOY)
    first, _ = world.routers.start()
    world.routers.late[first] = 40.0
    world.advance(30)
    assert not is_routed(world)
    world.until(lambda: is_routed(world), within=30)


def test_a_live_ModelDeployment_is_switched_to_the_routers_and_back() -> None:
    world = created(replicas=2)
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    one = world.revision("1")
    world.routers.start()
    world.edit(traffic=ENVOY)
    world.until(lambda: is_routed(world))
    world.rest()
    world.edit(traffic={"router": "None"})
    world.until(lambda: not is_routed(world), within=5)
    assert world.selector() == names.revision_selector(NAME, one)
    at = world.now
    world.advance(45)
    assert weights(world) == {one: 10_000}, "callers that keep their connection to a router are served on"
    assert world.live(SERVICES, one) is not None
    world.rest()
    assert world.live(CONFIG_MAPS, TOLD) is None
    assert world.live(SERVICES, one) is None
    assert (world.now - at).total_seconds() > 60


def test_pods_that_take_long_to_start_are_not_out_of_the_routers_reach() -> None:
    world = empty()
    world.behave("1", ready_after=90)
    world.create(traffic=ENVOY)
    world.routers.start()
    world.advance(80)
    assert world.condition("RouterUnreachable") is None
    assert not is_routed(world)
    world.until(lambda: is_routed(world), within=30)


def test_a_router_that_reaches_nobody_for_its_agent_lacks_the_API_server_says_that() -> None:
    world = routed()
    second = max(world.routers.loaded)
    world.routers.anew.add(second)
    world.advance(60)
    assert second in world.message("RouterUnreachable")
    assert UNHEARD in world.message("RouterUnreachable")


def test_the_routers_are_told_what_spec_says_of_time_and_size() -> None:
    world = routed(traffic={"router": "Envoy", "timeout": "7s", "idleTimeout": "8s", "maxRequestBytes": "9Mi"})
    assert (told(world).timeout, told(world).idle_timeout, told(world).max_request_bytes) == (7, 8, 9 * 2**20)
    world.edit(traffic={"router": "Envoy", "timeout": "17s", "idleTimeout": "18s", "maxRequestBytes": "1Gi"})
    world.advance(5)
    assert (told(world).timeout, told(world).idle_timeout, told(world).max_request_bytes) == (17, 18, 2**30)


def test_an_answer_under_way_at_a_router_keeps_the_time_that_it_was_promised() -> None:
    world = routed(replicas=2, traffic={"router": "Envoy", "timeout": "5m"})
    world.edit(traffic={"router": "None"})
    world.until(lambda: not is_routed(world), within=5)
    world.advance(300)
    assert told(world).timeout == 300, "spec says no more how long"
    world.rest()
    assert world.live(CONFIG_MAPS, TOLD) is None


def test_callers_that_keep_their_connections_are_asked_to_leave_before_the_routers_forget_the_model() -> None:
    world = routed(replicas=2)
    world.edit(traffic={"router": "None"})
    world.until(lambda: not is_routed(world), within=5)
    world.advance(85)
    assert not told(world).leaving, "answers under way have the time that they were promised"
    world.until(lambda: told(world).leaving, within=10)
    world.advance(140)
    assert told(world).leaving, "for as long as a router drains"
    assert world.live(SERVICES, world.revision("1")) is not None, "what they still ask is answered"
    world.until(lambda: world.live(CONFIG_MAPS, TOLD) is None, within=20)
    world.rest()
    assert world.live(SERVICES, world.revision("1")) is None


def test_who_comes_back_to_routers_that_have_closed_is_led_there_once_they_listen_again() -> None:
    world = routed(replicas=2)
    world.edit(traffic={"router": "None"})
    world.until(lambda: told(world).leaving, within=120)
    world.advance(5)
    world.routers.late[""] = 7
    world.edit(traffic=ENVOY)
    world.advance(6)
    assert not told(world).leaving
    assert not is_routed(world)
    world.until(lambda: is_routed(world), within=10)


def test_a_long_time_without_an_operator_leaves_out_nothing_of_it() -> None:
    world = routed(replicas=2)
    world.edit(traffic={"router": "None"})
    world.until(lambda: not is_routed(world), within=5)
    world.advance(10)
    world.now += timedelta(minutes=15)
    world.restart_operator()
    world.advance(2)
    assert told(world).leaving
    world.advance(140)
    assert told(world).leaving
    world.rest()
    assert world.live(CONFIG_MAPS, TOLD) is None


def test_a_rollout_while_callers_leave_the_routers_is_followed_there() -> None:
    world = routed(replicas=2)
    world.edit(traffic={"router": "None"}, model=model("2"), rollout={"minReadySeconds": 0})
    world.rest()
    assert world.outcome(world.revision("2")) == "Promoted"
    assert world.condition("Ready") == ("True", "Serving")
    assert world.live(CONFIG_MAPS, TOLD) is None


def test_what_has_no_pods_is_led_to_the_routers_all_the_same() -> None:
    world = created(traffic=ENVOY, replicas=0)
    world.routers.start()
    world.rest()
    assert is_routed(world)
    assert world.condition("RouterUnreachable") is None


def test_a_restart_of_the_operator_does_not_unsay_that_routers_are_unreachable() -> None:
    world = created(traffic=ENVOY)
    world.rest()
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    world.restart_operator()
    world.rest()
    assert [str(call) for call in world.client.calls] == []


# --- rollouts


def test_a_RollingUpdate_moves_weights_with_available_pods_and_ends_at_the_candidate() -> None:
    world = routed(replicas=4)
    one = world.revision("1")
    world.edit(model=model("2"))
    seen = []

    def look() -> bool:
        now = weights(world)
        if not seen or seen[-1] != now:
            seen.append(now)
        return world.condition("Ready") == ("True", "Serving") and world.status["champion"]["version"] == "2"

    world.until(look)
    two = world.revision("2")
    shares = [each.get(two, 0) for each in seen]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 10_000
    assert len(set(shares)) >= 4
    world.rest()
    assert weights(world) == {two: 10_000}
    assert world.live(SERVICES, one) is None


def test_the_candidate_is_listed_first() -> None:
    world = routed(replicas=2)
    world.edit(model=model("2"))
    world.until(lambda: len(told(world).split) == 2)
    assert [share.revision for share in told(world).split] == [world.revision("2"), world.revision("1")]


def test_a_candidate_without_a_ready_pod_gets_nothing() -> None:
    world = routed(replicas=2)
    world.behave("2", ready_after=None)
    world.edit(model=model("2"))
    world.advance(60)
    assert weights(world) == {world.revision("2"): 0, world.revision("1"): 10_000}


@pytest.mark.parametrize("strategy", ["RollingUpdate", "BlueGreen", "Canary"])
def test_a_candidate_that_one_router_does_not_reach_gets_nothing_until_it_does(strategy: str) -> None:
    unweighed = {"analysis": {"metrics": []}} if strategy == "Canary" else {}
    world = routed(replicas=2, rollout={"strategy": strategy, **unweighed})
    second = sorted(world.routers.loaded)[1]
    world.edit(model=model("2"))
    world.until(lambda: len(weights(world)) == 2)
    one, two = world.revision("1"), world.revision("2")
    world.routers.cut_off.add((second, two))
    world.advance(120)
    assert world.ready_pods(two)
    assert weights(world) == {two: 0, one: 10_000}
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    assert f"Router pod {second} does not reach any pod of revision {two}" in world.message("RouterUnreachable")
    world.routers.cut_off.clear()
    world.until(lambda: world.condition("RouterUnreachable") is None, within=5)
    world.until(lambda: weights(world).get(two) == 10_000)


def test_BlueGreen_moves_all_at_once_and_an_abort_moves_it_back() -> None:
    world = routed(replicas=2, rollout={"strategy": "BlueGreen", "scaleDownDelay": "5m"})
    one = world.revision("1")
    world.edit(model=model("2"))
    seen = set()

    def look() -> bool:
        seen.add(tuple(sorted(weights(world).values())))
        return world.condition("Ready") == ("True", "Serving") and world.status["champion"]["version"] == "2"

    world.until(look)
    two = world.revision("2")
    assert seen <= {(10_000,), (0, 10_000)}
    assert weights(world) == {two: 10_000, one: 0}
    world.command("abort", two)
    world.until(lambda: weights(world)[one] == 10_000, within=5)
    world.rest()
    assert weights(world) == {one: 10_000}


@pytest.mark.parametrize("strategy", ["RollingUpdate", "BlueGreen"])
def test_routers_that_are_late_lose_nothing(strategy: str) -> None:
    world = routed(replicas=2, rollout={"strategy": strategy})
    world.routers.late[""] = 7.0
    world.edit(model=model("2"))
    world.rest()
    assert world.outcome(world.revision("2")) == "Promoted"
    assert world.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("strategy", ["RollingUpdate", "BlueGreen"])
def test_a_candidate_that_is_taken_back_keeps_its_pods_until_late_routers_have_let_go_of_it(strategy: str) -> None:
    world = routed(replicas=2, rollout={"strategy": strategy, "scaleDownDelay": "0s"})
    world.routers.late[""] = 7.0
    world.edit(model=model("2"))
    world.until(lambda: "candidate" in world.status)
    two = world.revision("2")
    world.until(lambda: any(each.get(two) for each in world.routers.weights(NAME)))
    world.edit(model=model("3"))
    world.rest()
    assert weights(world) == {world.revision("3"): 10_000}


def test_a_router_that_has_gone_and_is_listed_a_moment_longer_leads_nowhere_else() -> None:
    revision = f"{NAME}-bbbbbbbbbb"
    told = config_map(Owner(NAME, "ml", "uid"), routing(NAME, 20_000, {revision: 10_000}, [revision], Traffic()))
    text = told_in(told)
    ready = [{"targetRef": {"name": name}, "conditions": {"ready": True}} for name in ("podium-router-1", "gone")]
    piece = {"metadata": {"labels": {"kubernetes.io/service-name": NAME}}, "endpoints": ready}
    said = Said(applied={TOLD: text}, reached=frozenset({revision}))
    router = RouterPod("podium-router-1", ready=True, terminating=False, said=said)
    service = {"metadata": {}, "spec": {"selector": names.router_selector()}}
    seen = Seen(NAME, [piece], [], service=service, config_map=told, routers=[router])

    assert weighted(seen, asked_for=True).applied(Split.to(revision)) is Applied.YES


OTHER = f"{NAME}-cccccccccc"


@pytest.mark.parametrize(
    ("said", "applied"),
    [
        pytest.param({OTHER: 10_000}, Applied.NO, id="it keeps the old weights"),
        pytest.param({f"{NAME}-bbbbbbbbbb": 10_000}, Applied.YES, id="it has the new ones"),
        pytest.param({}, Applied.YES, id="it has just started"),
        pytest.param(None, Applied.YES, id="it is dead"),
    ],
)
def test_a_router_that_is_not_ready_counts_for_as_long_as_it_says_what_it_goes_on_with(
    said: dict[str, int] | None, applied: Applied
) -> None:
    revision = f"{NAME}-bbbbbbbbbb"
    told = config_map(Owner(NAME, "ml", "uid"), routing(NAME, 20_000, {revision: 10_000}, [revision], Traffic()))
    answer = Said(applied={TOLD: told_in(told)}, reached=frozenset({revision}))
    late = None if said is None else Said()
    if said:
        late = Said(applied={TOLD: routing(NAME, 20_000, said, [*said], Traffic()).to_json()})
    routers = [RouterPod("podium-router-1", ready=True, terminating=False, said=answer),
               RouterPod("podium-router-2", ready=False, terminating=False, said=late)]  # fmt: skip
    ready = [{"targetRef": {"name": "podium-router-1"}, "conditions": {"ready": True}}]
    piece = {"metadata": {"labels": {"kubernetes.io/service-name": NAME}}, "endpoints": ready}
    service = {"metadata": {}, "spec": {"selector": names.router_selector()}}
    seen = Seen(NAME, [piece], [], service=service, config_map=told, routers=routers)

    found = weighted(seen, asked_for=True)
    assert found.applied(Split.to(revision)) is applied
    assert found.sends(OTHER) is (applied is Applied.NO)
    assert ("podium-router-2 has not loaded" in found.doubt) is (applied is Applied.NO)


def test_while_a_router_does_not_answer_nobody_gives_up_a_pod() -> None:
    world = routed(replicas=2)
    one = world.revision("1")
    first = next(iter(world.routers.loaded))
    world.routers.silent.add(first)
    world.edit(model=model("2"))
    world.advance(300)
    assert world.replicas(one) == 2
    assert world.outcome(world.revision("2")) == ""
    assert first in world.message("RouterUnreachable")
    world.routers.silent.clear()
    world.rest()
    assert world.outcome(world.revision("2")) == "Promoted"


def test_a_router_whose_agent_was_started_anew_keeps_the_pods_that_its_Envoy_still_sends_requests_to() -> None:
    world = routed(replicas=4)
    world.edit(model=model("2"))
    world.until(lambda: "candidate" in world.status)
    world.until(lambda: 0 < weights(world).get(world.revision("2"), 0) < 10_000)
    two, (_, second) = world.revision("2"), sorted(world.routers.loaded)
    world.routers.anew.add(second)
    world.step()
    assert world.routers.weights(NAME)[1][two] > 0

    world.command("abort", two)
    world.advance(300)
    assert weights(world)[two] == 0
    assert world.routers.weights(NAME)[1][two] > 0
    assert any(world.ready_pods(two))
    assert f"{second} has not loaded ConfigMap {TOLD} yet" in world.message("RouterUnreachable")

    world.routers.anew.clear()
    world.rest()
    assert weights(world) == {world.revision("1"): 10_000}
    assert not any(world.ready_pods(two))


def test_at_rest_a_router_that_stops_answering_is_told_and_Ready_stays() -> None:
    world = routed(replicas=2)
    world.routers.silent.add(next(iter(world.routers.loaded)))
    world.advance(60)
    assert world.condition("Ready") == ("True", "Serving")
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")


def test_a_crashed_candidate_loses_its_weight_before_its_pods() -> None:
    world = routed(replicas=4)
    world.edit(model=model("2"))
    world.until(lambda: len(weights(world)) == 2 and min(weights(world).values()) > 0)
    world.behave("2", failure="crash")
    world.until(lambda: world.phase == "RolledBack")
    world.rest()
    assert weights(world) == {world.revision("1"): 10_000}


def test_without_any_router_left_the_champions_pods_are_asked_until_one_is_back() -> None:
    world = routed(replicas=2)
    for name in list(world.routers.loaded):
        world.routers.stop(name)
    world.until(lambda: world.selector() == names.revision_selector(NAME, world.revision("1")), within=15)
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    world.routers.start()
    world.until(lambda: is_routed(world), within=30)
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


# --- what others do


def test_nonsense_in_the_ConfigMap_is_put_back() -> None:
    world = routed(replicas=2)
    before = told(world)
    world.change(CONFIG_MAPS, TOLD, lambda o: o["data"].update({"routing.json": "{}"}))
    world.advance(5)
    assert told(world) == before


def test_nonsense_that_is_written_again_and_again_is_told_with_who_writes_it_and_the_next_routing_replaces_it() -> None:
    world = routed(replicas=2)
    before = told(world)
    for again in range(6):
        assert told(world) == before
        assert world.condition("DriftContested") is None, again
        world.change(CONFIG_MAPS, TOLD, lambda o: o["data"].update({"routing.json": "{"}))
        world.advance(5)
    assert told_in(world.need(CONFIG_MAPS, TOLD)) == "{"
    assert world.condition("DriftContested") == ("True", "AnotherWriter")
    assert "ConfigMap fraud-router: data.routing.json changed by kubectl" in world.message("DriftContested")
    world.advance(10)  # what passes by itself is told of by nobody
    assert world.condition("RouterUnreachable") == ("True", "RouterUnreachable")
    assert "do not understand ConfigMap fraud-router" in world.message("RouterUnreachable")
    assert all(found == {world.revision("1"): 10_000} for found in world.routers.weights(NAME))

    world.edit(model=model("2"))
    world.until(lambda: told_in(world.need(CONFIG_MAPS, TOLD)) != "{")
    world.until(lambda: world.condition("Ready") == ("True", "Serving"))
    assert weights(world) == {world.revision("2"): 10_000}


def test_nonsense_in_the_ConfigMap_takes_no_weight_from_whom_a_new_router_has_not_reached_yet() -> None:
    world = routed(replicas=4)
    world.edit(model=model("2"))
    world.advance(1)
    two = world.revision("2")
    world.until(lambda: 0 < weights(world).get(two, 0) < 10_000)
    world.routers.cut_off.add(("", two))
    least = weights(world)[two]
    seen = []

    def look(call: Call) -> None:
        if call.resource is CONFIG_MAPS:
            seen.append(weights(world)[two])

    world.client.after.append(look)
    world.change(CONFIG_MAPS, TOLD, lambda o: o["data"].update({"routing.json": "{}"}))
    world.advance(5)
    assert seen
    assert min(seen) >= least


def test_a_port_that_somebody_edits_is_put_back() -> None:
    world = routed()
    text = told(world).to_json().replace("20000", "20007")
    world.change(CONFIG_MAPS, TOLD, lambda o: o["data"].update({"routing.json": text}))
    world.advance(5)
    assert told(world).port == 20_000


def test_after_a_restart_nothing_is_written() -> None:
    world = routed(replicas=2)
    world.rest()
    world.restart_operator()
    world.rest()
    assert [str(call) for call in world.client.calls] == []


def test_a_champion_that_lost_its_pods_is_not_out_of_the_routers_reach() -> None:
    """It is nobody's fault but the pods': no NetworkPolicy is to be looked for."""
    world = routed(replicas=1)
    world.behave("1", ready_after=None)
    for pod in world.ready_pods(world.revision("1")):
        world.api.purge((PODS, NAMESPACE, pod["metadata"]["name"]))
    world.advance(120)
    assert world.condition("Available") == ("False", "NoAvailablePod")
    assert world.condition("RouterUnreachable") is None
