"""The ConfigMap that tells a namespace's routers of one ModelDeployment."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from podium.api import names
from podium.api.v1alpha1 import Traffic, parse_duration
from podium.manifests.owner import Owner, child_metadata
from podium.manifests.quantities import whole
from podium.router.routing import MOST_REVISIONS, Routing, RoutingError, Share
from podium.router.state import KEY


def routing(model: str, port: int, weights: Mapping[str, int], known: Sequence[str], traffic: Traffic) -> Routing:
    """What the routers are told. `known`: all revisions that have pods, the newest first, as the candidate is.

    Those without a weight are known to the routers beforehand, so that a weight finds their pods connected.
    """
    order = [*known, *(name for name in weights if name not in known)]
    taken = [name for name in order if weights.get(name, 0)]
    idle = [name for name in order if not weights.get(name, 0)][: MOST_REVISIONS - len(taken)]
    return Routing(
        model=model,
        port=port,
        split=tuple(Share(name, weights.get(name, 0)) for name in order if name in taken or name in idle),
        timeout=parse_duration(traffic.timeout),
        idle_timeout=parse_duration(traffic.idle_timeout),
        max_request_bytes=whole(traffic.max_request_bytes),
    )


def config_map(owner: Owner, told: Routing, *, unused_since: str = "") -> dict[str, Any]:
    """`unused_since`: since when the stable Service has led past the routers; empty while it does not."""
    name = names.routing_name(owner.name)
    labels = names.model_labels(owner.name) | {names.LABEL_ROUTER: names.ROUTING}
    annotations = {names.ANNOTATION_UNUSED_SINCE: unused_since}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(owner, name, labels, annotations),
        "data": {KEY: told.to_json()},
    }


def told_in(live: Mapping[str, Any] | None) -> str:
    """The text in a ConfigMap as it is; empty without one."""
    data = (live or {}).get("data")
    text = data.get(KEY, "") if isinstance(data, Mapping) else ""
    return text if isinstance(text, str) else ""


@lru_cache(maxsize=8192)
def read_routing(text: str) -> Routing | None:
    """What a text tells the routers; None for what they would refuse.

    Remembered: who looks for a free port reads the texts of all of a namespace, in a takeover for each of them.
    """
    try:
        return Routing.read(text)
    except RoutingError:
        return None
