"""What a router's Envoy is told: checked as documents here, and by a real Envoy in tests/integration."""

from dataclasses import replace
from pathlib import PurePath
from typing import Any

import pytest

from podium.metrics.reading import Ended
from podium.router.bootstrap import bootstrap
from podium.router.bounds import CONNECTIONS, EXEMPT
from podium.router.documents import Pods
from podium.router.endpoints import GRPC, HTTP, Endpoint
from podium.router.places import FIGURES, READY, READY_PORT
from podium.router.routing import Mirror, Routing, Share, Sticky
from podium.router.xds import Config, render
from tests.unit.metrics.given import cluster, reading

OLD, NEW = "fraud-b57wq4c9d2", "fraud-6f9c4d2b7k"
MIB = 2**20
FOLDER = PurePath("/etc/podium-router")
PODS: Pods = {(revision, port): (Endpoint("10.0.0.1", 80),) for revision in (OLD, NEW) for port in (HTTP, GRPC)}
ROUTING = Routing("fraud", 20_000, (Share(NEW, 500), Share(OLD, 9_500)))


def rendered(routing: Routing = ROUTING, pods: Pods = PODS) -> Config:
    return render([routing], pods, address="::", ready=True)


def started(**bounds: int) -> dict[str, Any]:
    return bootstrap(FOLDER, address="::", node="router", **bounds)


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    """The one filter of a listener: its HttpConnectionManager."""
    (chain,) = listener["filter_chains"]
    (found,) = chain["filters"]
    return dict(found["typed_config"])


def port_of(listener: dict[str, Any]) -> int:
    return int(listener["address"]["socket_address"]["port_value"])


def test_listeners_of_model_deployments_count_how_requests_end_and_no_others() -> None:
    listeners = rendered().listeners
    (figures,) = started()["static_resources"]["listeners"]

    assert [each["name"] for each in manager(listeners["fraud"])["access_log"]] == ["envoy.access_loggers.stats"]
    assert "access_log" not in manager(listeners[READY])
    assert "access_log" not in manager(figures)


@pytest.mark.parametrize("model", ["ready", "figures", "admin", "agent", "podium"])
def test_no_name_of_a_model_deployment_is_one_of_the_routers_own(model: str) -> None:
    revision = f"{model}-b57wq4c9d2"
    routing = Routing(model, 20_000, (Share(revision, 10_000),))
    config = rendered(routing, {(revision, port): PODS[OLD, port] for port in (HTTP, GRPC)})
    own = started()["static_resources"]
    (ready,) = (name for name, each in config.listeners.items() if port_of(each) == READY_PORT)

    assert port_of(config.listeners[model]) == routing.port
    assert len({model, ready, *(each["name"] for each in own["listeners"])}) == 3
    assert not config.clusters.keys() & {each["name"] for each in own["clusters"]}
    for each in (config.listeners[ready], *own["listeners"]):
        said = manager(each)
        assert said["stat_prefix"] not in (f"to.{model}", model)
        assert "rds" not in said  # nothing that is asked for by a name that a model may have


def test_what_is_counted_is_shown_under_a_name_that_the_operator_reads() -> None:
    (log,) = manager(rendered().listeners["fraud"])["access_log"]
    config = log["typed_config"]
    ((counter,), prefix) = config["counters"], config["stats_scope"]["prefix"]
    values = {"%UPSTREAM_CLUSTER_RAW%": f"{NEW}.http", "%RESPONSE_CODE%": "200", "%RESPONSE_FLAGS%": "UC",
              "%GRPC_STATUS_NUMBER%": "-"}  # fmt: skip
    tags = [part for tag in counter["stat"]["tags"] for part in (tag["name"], values[tag["value_format"]])]
    name = ".".join([prefix, counter["stat"]["name"], *tags])
    shown = started()["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]

    read = reading(cluster(f"{NEW}.http"), f"{name}: {counter['value_fixed']}\n").clusters[f"{NEW}.http"]
    assert read.ended == {Ended(200, frozenset({"UC"}), None): 1}
    assert any(name.startswith(each["prefix"]) for each in shown)


def routes(routing: Routing, pods: Pods = PODS) -> list[dict[str, Any]]:
    """The routes of its requests, without the refusal of large ones."""
    (host,) = rendered(routing, pods).routes["fraud"]["virtual_hosts"]
    return [each for each in host["routes"] if "route" in each]


def test_without_a_key_and_a_mirror_nothing_of_them_is_told() -> None:
    assert [list(each["match"]) for each in routes(ROUTING)] == [["prefix", "grpc"], ["prefix"]]
    for name in ("hash_policy", "request_mirror_policies"):
        assert not [each for each in routes(ROUTING) if name in each["route"]]
    assert all("use_hash_policy" not in each["route"]["weighted_clusters"] for each in routes(ROUTING))


@pytest.mark.parametrize("sticky", [Sticky("r-1", header="x-user"), Sticky("r-1", cookie="uid")])
def test_requests_with_a_key_have_the_same_route_as_others_but_for_the_draw(sticky: Sticky) -> None:
    grpc, drawn_grpc, http, drawn_http = (each["route"] for each in routes(replace(ROUTING, sticky=sticky)))

    assert [drawn_grpc, drawn_http] == [each["route"] for each in routes(ROUTING)]
    for hashed, drawn in ((grpc, drawn_grpc), (http, drawn_http)):
        assert hashed["weighted_clusters"] == drawn["weighted_clusters"] | {"use_hash_policy": True}
        assert hashed.keys() - drawn.keys() == {"hash_policy"}
        assert hashed["hash_policy"][0]["header"]["regex_rewrite"]["substitution"].startswith("r-1:")


def test_a_mirror_gets_copies_where_it_takes_such_requests() -> None:
    mirrored = replace(ROUTING, split=(Share(NEW, 0), Share(OLD, 10_000)), mirror=Mirror(NEW, 30))

    for port, each in zip((GRPC, HTTP), routes(mirrored), strict=True):
        (copies,) = each["route"]["request_mirror_policies"]
        assert copies["cluster"] == f"{NEW}.{port}"
        assert copies["runtime_fraction"]["default_value"] == {"numerator": 30, "denominator": "HUNDRED"}
    without = {(NEW, HTTP): (), (OLD, HTTP): (), (OLD, GRPC): ()}
    grpc, http = (each["route"] for each in routes(mirrored, without))
    assert "request_mirror_policies" not in grpc
    assert "request_mirror_policies" in http


@pytest.mark.parametrize("without", [NEW, OLD])
def test_gRPC_of_a_revision_that_takes_none_goes_to_its_other_port_where_failures_count_against_it(
    without: str,
) -> None:
    pods = {place: found for place, found in PODS.items() if place != (without, GRPC)}
    grpc, http = routes(ROUTING, pods)

    named = [[each["name"] for each in route["route"]["weighted_clusters"]["clusters"]] for route in (grpc, http)]
    assert named == [[f"{name}.http" if name == without else f"{name}.grpc" for name in (NEW, OLD)],
                     [f"{NEW}.http", f"{OLD}.http"]]  # fmt: skip
    assert {name for names in named for name in names} == rendered(pods=pods).clusters.keys()


def test_what_spec_traffic_says_changes_no_listener_since_that_would_cut_off_what_is_under_way() -> None:
    other = replace(ROUTING, split=(Share(OLD, 10_000),), timeout=7.0, idle_timeout=8.0, max_request_bytes=9,
                    sticky=Sticky("r-1", cookie="uid"))  # fmt: skip

    assert rendered(other).listeners == rendered().listeners
    assert rendered(other, {(OLD, HTTP): ()}).listeners == rendered().listeners


def test_a_model_that_is_leaving_has_no_listener_and_all_the_rest_for_those_who_have_not_left_yet() -> None:
    leaving, before = rendered(replace(ROUTING, leaving=True)), rendered()

    assert leaving.listeners.keys() == before.listeners.keys() - {"fraud"}
    assert replace(leaving, listeners=before.listeners) == before


def test_every_route_has_the_idle_time_out() -> None:
    patient = replace(ROUTING, idle_timeout=8.0, sticky=Sticky("r-1", cookie="uid"))

    assert [each["route"]["idle_timeout"] for each in routes(patient)] == ["8.000s"] * 4


def test_every_listener_bounds_the_time_for_a_head_and_those_of_its_own_answer_without_memory() -> None:
    (figures,) = started()["static_resources"]["listeners"]
    listeners = rendered().listeners

    for each in (figures, *listeners.values()):
        assert manager(each)["request_headers_timeout"] == "10.000s"
    exempt = [each["name"] for each in (figures, *listeners.values()) if EXEMPT.items() <= each.items()]
    assert exempt == [FIGURES, READY]
    assert not EXEMPT.keys() & listeners["fraud"].keys()


@pytest.mark.parametrize(
    ("memory", "most"), [(512 * MIB, 416 * MIB), (192 * MIB, 96 * MIB), (128 * MIB, 64 * MIB)]
)  # fmt: skip
def test_the_heap_is_bounded_below_the_containers_limit(memory: int, most: int) -> None:
    manager = started(memory=memory)["overload_manager"]

    values = [each["typed_config"] for each in manager["resource_monitors"]]
    assert [each["max_heap_size_bytes"] for each in values if "max_heap_size_bytes" in each] == [most]
    assert {each["name"]: each["triggers"][0]["threshold"]["value"] for each in manager["actions"]} == {
        "envoy.overload_actions.shrink_heap": 0.9,
        "envoy.overload_actions.stop_accepting_requests": 0.95,
    }


def test_without_a_limit_of_memory_connections_alone_are_bounded() -> None:
    manager = started()["overload_manager"]

    (connections,) = manager["resource_monitors"]
    assert connections["typed_config"]["max_active_downstream_connections"] == CONNECTIONS
    assert manager["actions"] == []
