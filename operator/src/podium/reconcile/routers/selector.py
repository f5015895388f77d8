"""`router: None`: the stable Service selects pods of models, and the numbers of pods make the shares."""

from collections.abc import Iterator
from dataclasses import replace

from podium.kube.resources import SERVICES
from podium.manifests.service import stable_service
from podium.reconcile.routers.base import Ask, Seen
from podium.reconcile.routers.leaving import leave
from podium.reconcile.routers.preview import preview
from podium.reconcile.routers.reading import endpoints, weighted
from podium.reconcile.writes import Apply, Stage, Write
from podium.rollout.traffic import Traffic


class ServiceSelector:
    """The stable Service selects one revision's pods, or all of the ModelDeployment's."""

    exact = False

    def writes(self, ask: Ask) -> Iterator[Write]:
        """See Router. What routers were told before follows the split for as long as callers may be there."""
        yield from leave(ask)
        stable = stable_service(ask.owner, revision=ask.split.sole, ports=dict(ask.ports[ask.lead]))
        yield Write(Stage.TRAFFIC, SERVICES, ask.owner.name, Apply(stable))
        yield from preview(ask)

    def traffic(self, seen: Seen) -> Traffic:
        """See Router: what the stable Service's EndpointSlices list, and routers that callers have not left yet."""
        if seen.config_map is None:
            return endpoints(seen)
        return replace(weighted(seen, asked_for=False), weighted=False)
