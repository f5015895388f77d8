"""Who moves the traffic, one module a router.

A new router is a module with a class of the protocol in `base.py`, and a line in ROUTERS: its `writes` are objects of
the stage TRAFFIC, its `traffic` reads what its replicas confirm.
"""

from podium.reconcile.routers.base import Ask, Router, RouterPod, Seen
from podium.reconcile.routers.envoy import Envoy
from podium.reconcile.routers.selector import ServiceSelector

ROUTERS: dict[str, Router] = {"None": ServiceSelector(), "Envoy": Envoy()}
"""By spec.traffic.router."""

__all__ = ["ROUTERS", "Ask", "Router", "RouterPod", "Seen"]
