"""The places that count requests, one line each in this table."""

from collections.abc import Mapping
from typing import Final

from podium.metrics.labels import Labelled
from podium.metrics.place import Place
from podium.metrics.pods import Pods
from podium.metrics.routers import Routers
from podium.rollout.asked import Asked, Where

PLACES: Final[Mapping[Where, Place]] = {
    Where.ROUTERS: Routers(),
    Where.PODS: Pods(),
}


def place(asked: Asked) -> Place:
    """Where it is counted what an analysis asks for."""
    requests = PLACES[asked.at]
    return Labelled(requests) if asked.labelled else requests
