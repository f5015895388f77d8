"""Where requests are counted, one line for each in this table."""

from collections.abc import Mapping
from typing import Final

from podium.metrics.labels import Labelled
from podium.metrics.pods import Pods
from podium.metrics.routers import Routers
from podium.metrics.source import Source
from podium.rollout.asked import Asked, Where

SOURCES: Final[Mapping[Where, Source]] = {
    Where.ROUTERS: Routers(),
    Where.PODS: Pods(),
}


def source(asked: Asked) -> Source:
    """Where it is counted what an analysis asks for."""
    requests = SOURCES[asked.at]
    return Labelled(requests) if asked.labelled else requests
