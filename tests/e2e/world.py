"""The cluster of an e2e session, and scenes: what takes its time on it, played beside each other.

A scene is a function that makes something happen in a namespace of its own and returns what it saw. Tests take the
scene's name as a fixture and judge what was seen. All scenes that the collected tests need begin with the session, a
few at a time, in the order in which they are written. Those that need both cores for themselves are played alone: after
all others, when the first test asks for them.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from tests.client import Client, Object
from tests.cluster import podium
from tests.cluster.cluster import Cluster
from tests.models.digits import Digits
from tests.models.torchserve import TorchDigits
from tests.stage import Stage
from tests.watching import Watcher

AT_ONCE = 3
"""Scenes played at the same time: most of them wait most of the time, and two cores have to do for all."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The cluster with Podium on it, and models in its store."""

    cluster: Cluster
    client: Client
    digits: Digits
    torch: TorchDigits
    watcher: Watcher
    before_podium: Sequence[str]
    """The names of the CustomResourceDefinitions that were there before Podium was installed."""
    load_turn: threading.Lock = field(default_factory=threading.Lock)
    """Held by whoever counts lost requests: two loads at once on two cores would count what the machine loses."""

    def stage(self, namespace: str) -> Stage:
        """A new namespace, held to the restricted Pod Security Standard, with the store's credentials."""
        self.client.apply(_object("Namespace", namespace, labels=RESTRICTED))
        getattr(_playing, "namespaces", []).append(namespace)
        secret = podium.credentials_secret(self.cluster, namespace)
        self.client.apply(dict(secret))
        return Stage(self.cluster, self.client, namespace)


_playing = threading.local()
"""In a scene's thread: the namespaces that it has made."""


def _play(world: World, function: Callable[[World], T]) -> T:
    """Plays a scene, and takes its ModelDeployments away at its end: one node has to have room for the next ones."""
    _playing.namespaces = []
    try:
        return function(world)
    finally:
        for namespace in _playing.namespaces:
            for obj in world.client.list("ModelDeployment", namespace):
                world.client.delete("ModelDeployment", namespace, obj["metadata"]["name"])


def _object(kind: str, name: str, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **metadata}}


SCENES: dict[str, Callable[[World], Any]] = {}


@dataclass
class Performance:
    """The scenes that this session needs, under way."""

    pool: ThreadPoolExecutor
    futures: dict[str, Future[Any]] = field(default_factory=dict)

    def begin(self, world: World, names: Sequence[str]) -> None:
        """Begins the scenes, in this order, as far as there is room."""
        for name in names:
            self.futures[name] = self.pool.submit(_play, world, SCENES[name])

    def result(self, name: str) -> Any:
        """What a scene returned or raised, once it is over."""
        return self.futures[name].result()

    def finish(self) -> None:
        """Waits until all scenes are over, whatever became of them."""
        for future in self.futures.values():
            future.exception()


def scene(function: Callable[[World], T]) -> Callable[[World], T]:
    """Makes a function a scene, and a fixture of the same name: what it returned."""
    name = function.__name__
    SCENES[name] = function

    def result(performance: Performance) -> Any:
        return performance.result(name)

    result.__doc__ = function.__doc__
    return pytest.fixture(scope="session", name=name)(result)


def scene_alone(function: Callable[[World], T]) -> Callable[[World], T]:
    """Makes a function a scene that is played beside no other, nor beside another test; and a fixture, as above."""

    def result(performance: Performance, world: World) -> T:
        performance.finish()
        return _play(world, function)

    result.__doc__ = function.__doc__
    return pytest.fixture(scope="session", name=function.__name__)(result)
