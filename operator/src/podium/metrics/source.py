"""What counts requests, as a protocol; sources.py lists them."""

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
    """All existing pods that may have counted something; earlier readings of other pods are dropped."""
    asks: Sequence[Ask]
    """The questions to the pods that are read in this round."""
    needed: Mapping[str, str]
    """Pods that get requests and so must be read, by name, with their revision; empty for a router."""


class Source(Protocol):
    """Where the requests of a rollout are counted."""

    def targets(self, cache: View, key: Key, task: Task) -> Targets:
        """The pods that count now."""
        ...
