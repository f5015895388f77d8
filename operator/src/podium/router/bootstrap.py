"""Envoy's bootstrap: where it finds the rest, and what of itself it shows. Pure."""

from pathlib import PurePath
from typing import Any, Final

from podium.router.bounds import CONNECTIONS, EXEMPT, HEADERS_SECONDS, overload_manager
from podium.router.documents import TYPE, seconds
from podium.router.places import FIGURES, POLLED, SOCKET, STATS_PORT, XDS
from podium.router.routing import LONGEST_SECONDS
from podium.router.xds import AGENT, CLUSTERS, CONNECT_SECONDS, ENDED, LISTENERS, unbounded, watched

SHOWN: Final = ("/stats", "/ready")
EDGES_PER_DECADE: Final = 12


def grid() -> list[float]:
    """Milliseconds: the one grid of latencies, 12 edges a decade from 0.1 ms to 600 s. Envoy reads it once.

    Envoy prints no answers beyond its last edge: one more, at the longest time-out, counts those slower than 600 s.
    """
    edges = [round(0.1 * 10 ** (step / EDGES_PER_DECADE), 4) for step in range(7 * EDGES_PER_DECADE)]
    return [edge for edge in edges if edge < 600_000] + [600_000.0, 1000 * LONGEST_SECONDS]


def bootstrap(
    folder: PurePath, *, address: str, node: str, memory: int = 0, connections: int = CONNECTIONS
) -> dict[str, Any]:
    """The file that Envoy is started with; `folder` is what it shares with the agent.

    `memory`: the limit of Envoy's container in bytes, 0 for none; `connections`: of callers at a time.
    """
    files, admin = folder / XDS, folder / SOCKET
    clusters = [_at("admin", admin), _at(AGENT, folder / POLLED) | {"circuit_breakers": unbounded()}]
    return {
        "node": {"id": node, "cluster": "podium-router"},
        "admin": {"address": {"pipe": {"path": str(admin), "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": watched(files, LISTENERS),
            "cds_config": watched(files, CLUSTERS),
        },
        "static_resources": {"clusters": clusters, "listeners": [_figures(address)]},
        "overload_manager": overload_manager(memory, connections),
        "stats_flush_interval": "1s",
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"prefix": "cluster."}, "buckets": grid()}],
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": "cluster."},
                        {"prefix": "cluster_manager."},
                        {"prefix": "listener_manager."},
                        {"prefix": "http.to."},
                        {"prefix": "server."},
                        {"prefix": "overload."},
                        {"prefix": f"{ENDED}."},
                    ]
                }
            },
        },
    }


def _at(name: str, pipe: PurePath) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(pipe)}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(CONNECT_SECONDS),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _figures(address: str) -> dict[str, Any]:
    routes = [
        {"match": {"path_separated_prefix": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
         "route": {"cluster": "admin"}}
        for path in SHOWN
    ]  # fmt: skip
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": FIGURES,
        "route_config": {"virtual_hosts": [{"name": FIGURES, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router"},
            }
        ],
        "request_headers_timeout": seconds(HEADERS_SECONDS),
        # /stats/../quitquitquit is not /stats.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
    }
    return {
        "name": FIGURES,
        "address": {"socket_address": {"address": address, "port_value": STATS_PORT, "ipv4_compat": address == "::"}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        **EXEMPT,
    }
