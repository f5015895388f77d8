"""What a place that counts requests is. Those that there are: places.py."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.metrics.scraper import Ask
from podium.rollout.measuring import Task


class View(Protocol):
    """What is read of the cache."""

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind that are found by a name."""
        ...


class Targets(NamedTuple):
    """The pods that one rollout is counted at."""

    known: frozenset[str]
    """All that exist and may have counted something: what was seen of others is forgotten."""
    asks: Sequence[Ask]
    """What those are asked that are read in this round."""
    needed: Mapping[str, str]
    """Those that requests go to and must be read, and of which revision each is; a router is of none."""


class Place(Protocol):
    """Where the requests of a rollout are counted."""

    def targets(self, cache: View, key: Key, task: Task) -> Targets:
        """Who counts now."""
        ...
