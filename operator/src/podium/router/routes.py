"""The route table of one ModelDeployment: which revision answers a request, and who sees a copy of it. Pure."""

from typing import Final

from podium.router.documents import TYPE, Document, Pods, cluster_name, seconds
from podium.router.endpoints import GRPC, HTTP
from podium.router.routing import Routing

REVISION_HEADER: Final = "x-podium-revision"
RETRIES: Final = 3


def route_table(routing: Routing, pods: Pods) -> Document:
    """The RouteConfiguration of one ModelDeployment."""
    large = {
        "match": {
            "prefix": "/",
            "headers": [
                {
                    "name": "content-length",
                    "range_match": {"start": routing.max_request_bytes + 1, "end": 2**63 - 1},
                }
            ],
        },
        "direct_response": {
            "status": 413,
            "body": {
                "inline_string": f"the request is larger than {routing.max_request_bytes} bytes "
                "(spec.traffic.maxRequestBytes)"
            },
        },
    }
    routes = [large]
    if any((share.revision, GRPC) in pods for share in routing.split):
        # A stream may last; what it may not do is stand still.
        action = _action(routing, GRPC) | {"timeout": "0s"}
        routes.append({"match": {"prefix": "/", "grpc": {}}, "route": action})
    routes.append({"match": {"prefix": "/"}, "route": _action(routing, HTTP) | {"timeout": seconds(routing.timeout)}})
    return {"name": routing.model, "virtual_hosts": [{"name": routing.model, "domains": ["*"], "routes": routes}]}


def _action(routing: Routing, port: str) -> Document:
    """A retry stays with the revision: the cluster is chosen once. Only what no pod can have begun is tried again."""
    clusters = [
        {
            "name": cluster_name(share.revision, port),
            "weight": share.weight,
            "response_headers_to_add": [
                {
                    "header": {"key": REVISION_HEADER, "value": share.revision},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
        }
        for share in routing.split
    ]
    return {
        "weighted_clusters": {"clusters": clusters},
        "idle_timeout": seconds(routing.idle_timeout),
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream",
            "num_retries": RETRIES,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": f"{TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                }
            ],
            "host_selection_retry_max_attempts": 5,
        },
    }
