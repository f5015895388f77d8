"""What a pass observes from: the cache, what routers say, what is measured."""

from typing import Protocol

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import Resource
from podium.rollout.measuring import Findings, Task
from podium.router.said import Said


class View(Protocol):
    """The part of the cache that is read here."""

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """One object."""
        ...

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """All objects of a kind with the label of a ModelDeployment."""
        ...


class Answers(Protocol):
    """What the routers say: a second view beside the cache, filled by asking them."""

    def said(self, namespace: str, pod: str) -> Said | None:
        """What a router pod said last; None for one that has not answered."""
        ...


class Measures(Protocol):
    """What is measured of rollouts that are analysed: a third view, filled by counting at the routers or the pods."""

    def follow(self, key: Key, task: Task | None) -> None:
        """What is to be measured of a ModelDeployment from now on; None: nothing."""
        ...

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """What measuring that rollout has come to; None while it is not measured."""
        ...

    def forget(self) -> None:
        """Another operator measures from now on."""
        ...


class Nobody:
    """No router has been asked, and nobody measures."""

    def said(self, namespace: str, pod: str) -> Said | None:
        """See Answers."""
        return None

    def follow(self, key: Key, task: Task | None) -> None:
        """See Measures."""

    def findings(self, key: Key, rollout: str) -> Findings | None:
        """See Measures."""
        return None

    def forget(self) -> None:
        """See Measures."""
