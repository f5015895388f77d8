"""`router: Envoy`: the namespace's routers divide the requests, by weights out of 10,000. Pure.

A ConfigMap tells them (manifests/routing.py), and the stable Service leads to them. It is switched when all of them
have loaded what it says and have reached a pod of every revision that has a weight; until then, and where that does not
come, the Service selects pods itself, as without a router.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from podium.api import names
from podium.kube.resources import CONFIG_MAPS, SERVICES
from podium.manifests.routing import config_map, routing, told_in
from podium.manifests.service import revision_service, routed_service, stable_service
from podium.reconcile.routers.base import Ask, Seen
from podium.reconcile.routers.preview import preview
from podium.reconcile.routers.reading import is_past, is_routed, weighted
from podium.reconcile.writes import Apply, Place, Remove, Stage, Told, Write
from podium.rollout.traffic import Split, Traffic
from podium.router.routing import Routing

PATIENCE: Final = timedelta(seconds=10)
"""How long a rollback waits while its ConfigMap is refused before the stable Service bypasses the routers."""


class Envoy:
    """Weights are kept exactly once the stable Service leads to the routers."""

    exact = True

    def writes(self, ask: Ask) -> Iterator[Write]:
        """See Router."""
        told = told_for(ask)
        yield from services(ask)
        yield config_map_write(ask, told)
        yield self._stable(ask, told)
        yield from preview(ask)
        yield from unneeded(ask)

    def traffic(self, seen: Seen) -> Traffic:
        """See Router."""
        return weighted(seen, asked_for=True)

    def _stable(self, ask: Ask, told: Routing) -> Write:
        """The stable Service: to the routers, past them to the champion's pods, or as without a router."""
        ports, service = dict(ask.ports[ask.lead]), ask.seen.service
        weighed = [share.revision for share in told.split if share.weight]
        served = all(name in ask.seen.idle or ask.capacity.get(name) for name in weighed)
        confirmed = served and not ask.traffic.doubt and told_in(ask.seen.config_map) == told.to_json()
        needs: frozenset[Place] = frozenset()
        if self._goes_past(ask) or (is_past(service) and not confirmed):
            # While Podium waits for the routers, the rolled-back revision must get no requests.
            obj = stable_service(ask.owner, revision=ask.lead, ports=ports)
            obj["metadata"]["annotations"] = {names.ANNOTATION_PAST_ROUTER: "true"}
        elif confirmed or is_routed(service):
            obj = routed_service(ask.owner, listener=told.port, ports=ports)
            needs = needs if is_routed(service) else frozenset({routing_place(ask)})
        else:
            obj = stable_service(ask.owner, revision=ask.split.sole, ports=ports)
        return Write(Stage.TRAFFIC, SERVICES, ask.owner.name, Apply(obj), needs=needs)

    def _goes_past(self, ask: Ask) -> bool:
        """Whether the stable Service is to select the champion's pods, past the routers, if one of these pods is ready.

        It is while a rollback's ConfigMap has been refused for PATIENCE, or no router has been ready for as long.
        """
        if not ask.capacity.get(ask.lead, 0) or not is_routed(ask.seen.service):
            return False
        if ask.unreachable and not any(router.ready and not router.terminating for router in ask.seen.routers):
            return True
        since = ask.refused.get(routing_place(ask))
        back = any(name in ask.rejected for name in ask.known)
        return since is not None and back and ask.moment.reached(since + PATIENCE)


def routing_place(ask: Ask) -> Place:
    """The ConfigMap."""
    return CONFIG_MAPS, names.routing_name(ask.owner.name)


def told_for(ask: Ask) -> Routing:
    """The weights for the routers. A revision without a ready pod gets none while another revision has one.

    Where the stable Service leads to the pods, those that are ready make the shares, and so they do here.
    """
    assert ask.port is not None
    split = ask.split.within(ask.capacity)
    if is_past(ask.seen.service):
        split = Split.to(ask.lead)  # what was rolled back gets nothing when the routers are led to again
    elif not ask.traffic.weighted and all(ask.capacity.get(name) for name in split.weights):
        split = Split.by_pods({name: ask.capacity[name] for name in split.weights})
    return routing(ask.owner.name, ask.port, split.weights, ask.known, ask.settings)


def config_map_write(ask: Ask, told: Routing, *, unused_since: str = "") -> Write:
    """Tells them."""
    return Write(Stage.TRAFFIC, *routing_place(ask), Apply(config_map(ask.owner, told, unused_since=unused_since)))


def services(ask: Ask) -> Iterator[Write]:
    """One for each revision: the routers find its pods by it."""
    for name in ask.known:
        if name in ask.ports:
            obj = revision_service(ask.owner, revision=name, ports=dict(ask.ports[name]))
            yield Write(Stage.TRAFFIC, SERVICES, name, Apply(obj))


def unneeded(ask: Ask, *, all_of_them: bool = False) -> Iterator[Write]:
    """Services of revisions that have no pods any more and get no requests."""
    for resource, name in ask.live:
        own = resource is SERVICES and name == (ask.live[resource, name]["metadata"].get("labels") or {}).get(
            names.LABEL_REVISION
        )
        if own and (all_of_them or (name not in ask.known and not ask.traffic.reaches(name))):
            yield Write(Stage.REMOVE, SERVICES, name, Remove(), Told.MESSAGE)
