"""What callers may take of a router's Envoy, whoever they are: memory, connections, and the time for a head. Pure.

https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge asks for these of an Envoy whose callers
are not trusted. docs/traffic.md gives the reasons of the values.
"""

from typing import Final

from podium.router.documents import TYPE, Document

CONNECTIONS: Final = 10_000
"""Of callers at a time; the next one is closed at once."""
HEADERS_SECONDS: Final = 10.0
"""For the head of a request, from its first byte."""
BESIDE_HEAP: Final = 96 * 2**20
"""Bytes of the container's limit that are not heap: Envoy's program, and what the kernel keeps for its sockets."""
SHRINK, REFUSE = 0.90, 0.95
"""Of the heap: free pages are given back; new requests are answered 503."""
EXEMPT: Final[Document] = {"ignore_global_conn_limit": True, "bypass_overload_manager": True}
"""Of a listener that answers also when callers have taken everything: that of readiness, and that of statistics."""
_MONITORS: Final = "envoy.resource_monitors"


def heap(memory: int) -> int:
    """Bytes of heap for a container's limit; of a small limit a half."""
    return max(memory - BESIDE_HEAP, memory // 2)


def overload_manager(memory: int, connections: int) -> Document:
    """`memory`: the container's limit in bytes; 0 for none, and then the heap has no bound either.

    https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager
    """
    monitors = [
        _monitor(
            "global_downstream_max_connections",
            "downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections=connections,
        )
    ]
    actions = []
    if memory:
        monitors.append(_monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=heap(memory)))
        actions = [_action("shrink_heap", SHRINK), _action("stop_accepting_requests", REFUSE)]
    return {"refresh_interval": "0.250s", "resource_monitors": monitors, "actions": actions}


def _monitor(name: str, kind: str, **values: int) -> Document:
    return {
        "name": f"{_MONITORS}.{name}",
        "typed_config": {"@type": f"{TYPE}.extensions.resource_monitors.{kind}", **values},
    }


def _action(name: str, share: float) -> Document:
    trigger = {"name": f"{_MONITORS}.fixed_heap", "threshold": {"value": share}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}
