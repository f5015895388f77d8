"""Pods behind a revision's Service, from its EndpointSlices (discovery/v1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HTTP, GRPC = "http", "grpc"
"""Names of ports, as the Service and its slices have them."""


@dataclass(frozen=True, order=True)
class Endpoint:
    """One pod's port."""

    address: str
    """IPv4 or IPv6."""
    port: int


def endpoints_of(slices: Iterable[Mapping[str, Any]], port: str) -> tuple[Endpoint, ...]:
    """The pods that may be asked on the port of that name, each once, in one order, from all slices of a Service.

    Those that are ready (`ready` not false: unset counts as ready); if there are none, those that serve while they
    terminate, as kube-proxy has it. Of a dual-stack Service, where each pod has both, those of IPv4 alone.
    """
    ordered = sorted(slices, key=lambda each: each["metadata"]["name"])
    families = [each.get("addressType", "IPv4") for each in ordered if each.get("endpoints")]
    family = "IPv4" if "IPv4" in families else (families[0] if families else "IPv4")
    ready: set[Endpoint] = set()
    leaving: set[Endpoint] = set()
    for piece in ordered:
        numbers = [each["port"] for each in piece.get("ports") or [] if each.get("name") == port and each.get("port")]
        if not numbers or piece.get("addressType", "IPv4") != family:
            continue
        for one in piece.get("endpoints") or []:
            conditions = one.get("conditions") or {}
            found = {Endpoint(address, numbers[0]) for address in (one.get("addresses") or [])[:1]}
            if conditions.get("ready") is not False:
                ready |= found
            elif conditions.get("serving") and conditions.get("terminating"):
                leaving |= found
    return tuple(sorted(ready or leaving))
