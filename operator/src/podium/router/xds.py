"""Envoy's configuration for the routings of a namespace, as xDS. Pure.

https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol. Per ModelDeployment a listener and a route table; per
revision a cluster for HTTP/1.1 and one for gRPC (HTTP/2), each with its endpoints as a resource of its own. A change of
weights is then one small file, and a change of pods another. Envoy watches the files of listeners and of clusters;
those of routes and endpoints, of which there are as many as ModelDeployments and revisions, it polls from the agent.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from podium.router.bounds import EXEMPT, HEADERS_SECONDS
from podium.router.discovery import HOLD_SECONDS, polled_file
from podium.router.documents import TYPE, Document, Pods, cluster_name, seconds
from podium.router.endpoints import GRPC, HTTP, Endpoint
from podium.router.places import READY, READY_PORT
from podium.router.routes import route_table
from podium.router.routing import STRIPPED, Routing

LISTENERS, CLUSTERS = "listeners.json", "clusters.json"
AGENT: Final = "agent"
"""Envoy's cluster of its agent."""
POLL_DELAY: Final = 0.2
"""Seconds: a second change that follows on a first one arrives so much later, or twice as much."""
UNBOUNDED: Final = 2**31
"""Envoy's own bounds (1,024 connections, requests, retries a cluster) would refuse what the pods could still take."""
CONNECT_SECONDS: Final = 2.0
UPSTREAM_IDLE_SECONDS: Final = 300.0
"""Of a connection to a pod; under the servers' own 620 s, so that none is closed under a request."""
UNROUTED_IDLE_SECONDS: Final = 300.0
"""Of a request that no route has been found for yet, and of a refused one; Envoy's default. Routes have idleTimeout."""
ENDED: Final = "ended"
"""Prefix of the counters of how requests ended."""


@dataclass(frozen=True)
class Config:
    """All that one router loads; each part by its name, in the order in which they are needed."""

    endpoints: dict[str, Document]
    """By cluster."""
    clusters: dict[str, Document]
    routes: dict[str, Document]
    """By ModelDeployment."""
    listeners: dict[str, Document]


def render(routings: list[Routing], pods: Pods, *, address: str, ready: bool) -> Config:
    """All resources; listeners bind to `address`, `ready` opens READY_PORT."""
    config = Config({}, {}, {}, {})
    for routing in routings:
        for share in routing.split:
            for port in (HTTP, GRPC):
                found = pods.get((share.revision, port))
                if found is not None:
                    name = cluster_name(share.revision, port)
                    config.endpoints[name] = _endpoints(name, found)
                    config.clusters[name] = _cluster(name, port)
        config.routes[routing.model] = route_table(routing, pods)
        if not routing.leaving:  # Envoy drains the listener that it no longer has: its callers are asked to leave
            config.listeners[routing.model] = _listener(routing, address)
    if ready:
        config.listeners[READY] = _ready_listener(address)
    return config


def routes_file(model: str) -> str:
    """The file with the route table of one ModelDeployment."""
    return polled_file("routes", model)


def endpoints_file(cluster: str) -> str:
    """The file with the endpoints of one cluster."""
    return polled_file("endpoints", cluster)


def discovery(kind: str, resources: Iterable[Document]) -> Document:
    """A DiscoveryResponse of these resources. Its version is their hash: Envoy confirms them by naming it."""
    typed = [{"@type": f"{TYPE}.{kind}", **each} for each in resources]
    version = hashlib.sha256(json.dumps(typed, sort_keys=True).encode()).hexdigest()[:16]
    return {"version_info": version, "resources": typed}


def watched(folder: PurePath, file: str) -> Document:
    """A config source: this file, read anew whenever it is replaced."""
    return {
        "path_config_source": {"path": str(folder / file), "watched_directory": {"path": str(folder)}},
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    }


def polled() -> Document:
    """A config source: the agent's `Discovery`. Envoy asks again from one to two delays after each answer."""
    return {
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": [AGENT],
            "refresh_delay": seconds(POLL_DELAY),
            "request_timeout": seconds(HOLD_SECONDS + 30),
        },
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    }


def _listener(routing: Routing, address: str) -> Document:
    """The same for as long as the ModelDeployment has this port.

    When a listener changes, Envoy drains it, and what outlasts the drain is cut off: whatever spec.traffic says belongs
    into routes.
    """
    manager = _manager(f"to.{routing.model}") | {
        "rds": {"route_config_name": routing.model, "config_source": polled()},
        "stream_idle_timeout": seconds(UNROUTED_IDLE_SECONDS),
        "access_log": [_ends()],
        # As servers do. Such a request may name no host: all hosts have the same routes, and this one is the Service's.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": routing.model},
    }
    return _bound(routing.model, address, routing.port, manager)


def _ends() -> Document:
    """Counts each request once, when it is over, by what its caller saw.

    docs/decisions/routers-log-how-requests-end.md says why. `metrics.reading` reads what comes of it, counters named
    `ended.requests.cluster.CLUSTER.code.CODE.flags.FLAGS.grpc.STATUS`.
    https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/stats/v3/stats.proto
    """
    tags = {
        "cluster": "%UPSTREAM_CLUSTER_RAW%",
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "grpc": "%GRPC_STATUS_NUMBER%",
    }
    stat = {"name": "requests", "tags": [{"name": name, "value_format": value} for name, value in tags.items()]}
    return {
        "name": "envoy.access_loggers.stats",
        "typed_config": {
            "@type": f"{TYPE}.extensions.access_loggers.stats.v3.Config",
            "stats_scope": {"prefix": ENDED},
            "counters": [{"stat": stat, "value_fixed": 1}],
        },
    }


def _ready_listener(address: str) -> Document:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ready\n"}}}
    host = {"name": READY, "domains": ["*"], "routes": [answer]}
    manager = _manager(READY) | {"route_config": {"name": READY, "virtual_hosts": [host]}}
    return _bound(READY, address, READY_PORT, manager) | EXEMPT


def _bound(name: str, address: str, port: int, manager: Document) -> Document:
    filters = [{"name": "http", "typed_config": manager}]
    return {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port, "ipv4_compat": address == "::"}},
        "filter_chains": [{"filters": filters}],
    }


def _manager(prefix: str) -> Document:
    """How requests are read; only our own and Envoy's own headers are taken out, which no caller may set."""
    strip = [{"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}} for prefix in STRIPPED]
    mutation = {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": strip,
        },
    }
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True},
    }
    return {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": prefix,
        "codec_type": "AUTO",
        "early_header_mutation_extensions": [mutation],
        "http_filters": [router],
        "request_headers_timeout": seconds(HEADERS_SECONDS),
        "generate_request_id": False,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "local_reply_config": {"body_format": {"json_format": {"error": "podium-router: %LOCAL_REPLY_BODY%"}}},
    }


def unbounded() -> Document:
    """Of a cluster: as many connections and requests as there are."""
    bounds = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(bounds, UNBOUNDED)]}


def _cluster(name: str, port: str) -> Document:
    protocol: Document = {"http2_protocol_options": {}} if port == GRPC else {"http_protocol_options": {}}
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": polled()},
        "connect_timeout": seconds(CONNECT_SECONDS),
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": unbounded(),
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        # Only a pod that cannot be connected to is passed over: what it answers is evidence, and stays so.
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "base_ejection_time": "5s",
            "max_ejection_time": "15s",
            "max_ejection_percent": 50,
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": seconds(UPSTREAM_IDLE_SECONDS)},
                "explicit_http_config": protocol,
            }
        },
    }


def _endpoints(name: str, pods: tuple[Endpoint, ...]) -> Document:
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": pod.address, "port_value": pod.port}}}} for pod in pods
    ]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
