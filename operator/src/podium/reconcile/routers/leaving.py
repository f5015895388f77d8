"""From routers back to no router: routers keep their ConfigMap until their callers have gone. Pure.

Callers that keep a connection to a router go on asking it. Once all others have gone they are asked to end it: routers
close their listener, and Envoy, while it drains that, says `Connection: close` or GOAWAY with its answers.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from podium.api import names
from podium.manifests.routing import read_routing, told_in
from podium.reconcile.routers.base import Ask
from podium.reconcile.routers.envoy import config_map_write, routing_place, services, told_for, unneeded
from podium.reconcile.routers.reading import is_routed, lists_routers
from podium.reconcile.writes import Remove, Stage, Told, Write

LINGER: Final = timedelta(seconds=30)
"""For nodes that are late to learn where the stable Service leads now."""
GRACE: Final = timedelta(seconds=30)
"""For what was under way then: a pod's usual grace; or `traffic.timeout`, as it was, where that is longer. Once more
after the drain, for routers that are late to begin it."""
BOUNDS: Final = ("timeout", "idle_timeout", "max_request_bytes")
"""What callers of the routers were promised."""


def leave(ask: Ask) -> Iterator[Write]:
    """What a ModelDeployment that has left the routers, or is about to, still tells them."""
    live = ask.seen.config_map
    if live is None:
        yield from unneeded(ask, all_of_them=True)
        return
    since, known = _unused_since(ask), read_routing(told_in(live))
    alone = LINGER + max(GRACE, timedelta(seconds=known.timeout if known else 0))
    if since is not None and known is not None and not known.leaving:
        since = max(since, ask.moment.now - alone)  # after a time without an operator, too, they are asked first
    if since is not None and ask.moment.reached(since + alone + ask.drain + GRACE):
        yield Write(Stage.REMOVE, *routing_place(ask), Remove(), Told.MESSAGE)
        return
    yield from services(ask)
    port = ask.port or (known.port if known else None)
    if port is not None:
        told = told_for(replace(ask, port=port))
        if known is not None:  # spec may name none of these any more, and callers of the routers still rely on them
            told = replace(told, **{bound: getattr(known, bound) for bound in BOUNDS})
        if since is not None and ask.moment.reached(since + alone):
            told = replace(told, leaving=True)
        yield config_map_write(ask, told, unused_since=since.isoformat() if since else "")


def _unused_since(ask: Ask) -> datetime | None:
    """Since when the stable Service has led elsewhere; None while it leads to the routers, or lists one of them."""
    if is_routed(ask.seen.service) or lists_routers(ask.seen):
        return None
    annotations = (ask.seen.config_map or {"metadata": {}})["metadata"].get("annotations") or {}
    try:
        at = datetime.fromisoformat(annotations.get(names.ANNOTATION_UNUSED_SINCE, ""))
    except ValueError:
        return ask.moment.now
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(at, ask.moment.now)
