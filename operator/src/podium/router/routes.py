"""The route table of one ModelDeployment: which revision answers a request, and who sees a copy of it. Pure.

With a sticky key the requests that have one meet a route of their own, whose split goes by xxh64(salt:value) % 10,000
(the candidate is listed first: who is below its weight goes there). Envoy's own policy for cookies has no way to add a
salt, so of a cookie, too, the header is hashed, rewritten to the salt and the cookie's value.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto says what the fields mean.
"""

import re
from typing import Final

from podium.router.documents import TYPE, Document, Pods, cluster_name, seconds
from podium.router.endpoints import GRPC, HTTP
from podium.router.routing import Mirror, Routing, Sticky

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
        action = _action(routing, GRPC, pods) | {"timeout": "0s"}
        routes += _by_key(routing.sticky, {"prefix": "/", "grpc": {}}, action)
    action = _action(routing, HTTP, pods) | {"timeout": seconds(routing.timeout)}
    routes += _by_key(routing.sticky, {"prefix": "/"}, action)
    return {"name": routing.model, "virtual_hosts": [{"name": routing.model, "domains": ["*"], "routes": routes}]}


def _by_key(sticky: Sticky | None, match: Document, action: Document) -> list[Document]:
    """The route of all requests; before it the one of those with a key.

    Without a route of their own requests with an empty key, or with other cookies alone, would all hash alike.
    """
    drawn = {"match": match, "route": action}
    if sticky is None:
        return [drawn]
    split = action["weighted_clusters"] | {"use_hash_policy": True}
    hashed = action | {"weighted_clusters": split, "hash_policy": [{"header": _hashed(sticky)}]}
    return [{"match": match | {"headers": _has_key(sticky)}, "route": hashed}, drawn]


def _has_key(sticky: Sticky) -> list[Document]:
    if sticky.header is not None:
        empty = {"name": sticky.header, "string_match": {"exact": ""}, "invert_match": True}
        return [{"name": sticky.header, "present_match": True}, empty]
    return [{"name": "cookie", "string_match": {"safe_regex": {"regex": _cookie(sticky)}}}]


def _hashed(sticky: Sticky) -> Document:
    """Each line of a header is rewritten for itself, and all are hashed: a line of other cookies to the salt alone."""
    if sticky.header is not None:
        name, pattern, value = sticky.header, "^", ""
    else:
        name, pattern, value = "cookie", rf"^{_cookie(sticky)}$|^\C*$", r"\1"
    rewrite = {"pattern": {"regex": pattern}, "substitution": f"{sticky.salt}:{value}"}
    return {"header_name": name, "regex_rewrite": rewrite}


def _cookie(sticky: Sticky) -> str:
    """RE2 for a whole header `cookie`; its group is the cookie's first value that is not empty.

    `\\C` is any byte: other cookies may be of any encoding. A comma stands between two lines of the header, where Envoy
    looks at them as one.
    """
    return rf"(?:\C*?[;,]\s*)??{re.escape(sticky.cookie or '')}=([^;]+)(?:;\C*)?"


def _copies(mirror: Mirror, port: str) -> Document:
    share = {"default_value": {"numerator": mirror.percent, "denominator": "HUNDRED"}}
    return {
        "cluster": cluster_name(mirror.revision, port),
        "runtime_fraction": share,
        "disable_shadow_host_suffix_append": True,
    }


def _cluster(revision: str, port: str, pods: Pods) -> str:
    """One that Envoy knows: where a revision takes no gRPC, its pods answer that at their other port.

    What failed of an unknown cluster would be in nobody's figures.
    """
    return cluster_name(revision, port if (revision, port) in pods else HTTP)


def _action(routing: Routing, port: str, pods: Pods) -> Document:
    """A retry stays with the revision: the cluster is chosen once. Only what no pod can have begun is tried again."""
    clusters = [
        {
            "name": _cluster(share.revision, port, pods),
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
    copies: Document = {}
    if routing.mirror is not None and (routing.mirror.revision, port) in pods:
        copies = {"request_mirror_policies": [_copies(routing.mirror, port)]}
    return copies | {
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
