"""What a router's Envoy is told: checked as documents here, and by a real Envoy in tests/integration."""

from pathlib import PurePath
from typing import Any

from podium.metrics.reading import Ended
from podium.router.bootstrap import bootstrap
from podium.router.endpoints import GRPC, HTTP, Endpoint
from podium.router.routing import Routing, Share
from podium.router.xds import Config, render
from tests.unit.metrics.given import cluster, reading

OLD, NEW = "fraud-b57wq4c9d2", "fraud-6f9c4d2b7k"
FOLDER = PurePath("/etc/podium-router/xds")
ROUTING = Routing("fraud", 20_000, (Share(NEW, 500), Share(OLD, 9_500)))


def rendered(routing: Routing = ROUTING) -> Config:
    pods = {(revision, port): (Endpoint("10.0.0.1", 80),) for revision in (OLD, NEW) for port in (HTTP, GRPC)}
    return render([routing], pods, folder=FOLDER, address="::", ready=True)


def started() -> dict[str, Any]:
    return bootstrap(FOLDER, PurePath("/admin.sock"), address="::", node="router")


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    """The one filter of a listener: its HttpConnectionManager."""
    (chain,) = listener["filter_chains"]
    (found,) = chain["filters"]
    return dict(found["typed_config"])


def test_listeners_of_model_deployments_count_how_requests_end_and_no_others() -> None:
    listeners = rendered().listeners
    (figures,) = started()["static_resources"]["listeners"]

    assert [each["name"] for each in manager(listeners["fraud"])["access_log"]] == ["envoy.access_loggers.stats"]
    assert "access_log" not in manager(listeners["ready"])
    assert "access_log" not in manager(figures)


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
