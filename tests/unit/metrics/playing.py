"""A scraper that asks nobody: who plays one says what a round finds."""

from types import TracebackType
from typing import Self

from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.metrics.scraper import Scraper
from tests.unit.planner.world import World

ADDRESS = "10.0.0.7"
"""Of each router pod."""


class PlayedScraper(Scraper):
    """Has no connections. `round` is the player's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def addressed(world: World, resource: Resource, namespace: str, model: str) -> list[Object]:
    """What belongs to a ModelDeployment or to the routers, with addresses: pods of the world have none."""
    pods = world.cache.owned(resource, namespace, model)
    return [pod | {"status": pod["status"] | {"podIP": ADDRESS}} for pod in pods]
