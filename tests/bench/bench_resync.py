"""10,000 ModelDeployments at rest are planned, as a resync asks for it: how long the event loop is held at a time.

    PODIUM_BENCH_RESYNC=1000,10000 python -m tests.bench.bench_resync

There is no API server: the objects of one settled ModelDeployment of the planner's tests stand in the cache once for
each namespace. Cache, queue, workers and Reconciler are the operator's; a pass that would write ends the run. Somebody
else asks for every turn of the loop: the CPU time of the thread between two of these is what the Lease, whose renewal
takes some turns, would have had to wait for.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import Resource, resource_of
from podium.reconcile.loop import Reconciler
from podium.settings import Settings
from podium.telemetry import Metrics
from podium.watch.cache import Cache
from podium.watch.kinds import KINDS
from podium.watch.queue import Queue
from podium.work import work
from tests.bench.table import Row, show
from tests.unit.planner.given import serving
from tests.unit.planner.world import NAMESPACE, World

COUNTS = tuple(int(count) for count in os.environ.get("PODIUM_BENCH_RESYNC", "1000,10000").split(","))
AIM = "at most 50 ms"
SECONDS = 60.0
"""No resync takes longer; a pass that fails is tried again for ever."""


class Leads:
    """A Lease that is ours."""

    def pinned(self) -> AbstractContextManager[None]:
        """For as long as a pass lasts."""
        return nullcontext()


class Settling:
    """A client for the first pass over each, which stamps what it finds; what it writes later ends the run.

    A child's digest is of its namespace, too: all that the first pass changes of a copied one is this annotation.
    """

    settled = False

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def apply(self, obj: Object, **_: Any) -> Object:
        """The object as it is, with this stamp."""
        assert not self.settled, f"a pass with nothing to do applies {obj['kind']} {obj['metadata']['name']}"
        meta = obj["metadata"]
        live = self._cache.get(resource_of(obj), meta["namespace"], meta["name"])
        assert live is not None
        return {**live, "metadata": {**live["metadata"], "annotations": meta["annotations"], **self._newer(live)}}

    async def write_status(self, _: Resource, obj: Object, status: Object) -> Object:
        """The object with this status."""
        assert not self.settled, f"a pass with nothing to do writes status {status}"
        return {**obj, "metadata": {**obj["metadata"], **self._newer(obj)}, "status": status}

    def _newer(self, obj: Object) -> dict[str, str]:
        return {"resourceVersion": str(int(obj["metadata"]["resourceVersion"]) + 1)}


class Passes(Reconciler):
    """Says when so many passes are over."""

    def begin(self, count: int) -> asyncio.Event:
        """Is set then."""
        self.left, self.over = count, asyncio.Event()
        return self.over

    async def reconcile(self, key: Key) -> float | None:
        """One of them."""
        wait = await super().reconcile(key)
        self.left -= 1
        if not self.left:
            self.over.set()
        return wait


@dataclass
class Resynced:
    """What planning all of them took."""

    seconds: float
    cpu: float
    turns: list[float] = field(default_factory=list)
    """CPU seconds of the thread between two turns of somebody else."""


def filled(world: World, count: int) -> Cache:
    """The world's objects in so many namespaces."""
    cache = Cache()
    for resource in KINDS:
        for obj in world.api.all(resource):
            meta = obj["metadata"]
            for number in range(count if meta.get("namespace") == NAMESPACE else 1):
                there = {"namespace": f"{NAMESPACE}-{number}"} if "namespace" in meta else {}
                cache.put(resource, {**obj, "metadata": {**meta, **there}})
    return cache


async def watch(turns: list[float]) -> None:
    """Note the CPU time of each turn of the loop, for as long as it is let."""
    while True:
        used = time.thread_time()
        await asyncio.sleep(0)
        turns.append(time.thread_time() - used)


async def resync(world: World, count: int) -> Resynced:
    """All keys at once, twice: the first pass over each parses what the second one remembers, as in a process."""
    cache, queue = filled(world, count), Queue()
    client: Any = Settling(cache)
    reconciler = Passes(
        cache,
        client,
        world.heard,
        world.settings,
        lambda: world.now,
        answers=world.routers,
        measures=world.measuring,
    )
    queue.resume()
    keys = list(reconciler.keys())
    reconcilers: Any = {key.kind: reconciler for key in keys}
    metrics = Metrics(held=queue.held, leading=lambda: True, lease="podium")
    apart: Any = SimpleNamespace(apart=())
    leads: Any = Leads()
    workers = [asyncio.create_task(work(queue, reconcilers, leads, metrics, apart)) for _ in range(Settings.workers)]
    for _ in range(2):
        turns: list[float] = []
        watching = asyncio.create_task(watch(turns))
        await asyncio.sleep(0)
        began, used = time.perf_counter(), time.thread_time()
        over = reconciler.begin(count)
        for key in keys:
            queue.add(key)
        await asyncio.wait_for(over.wait(), SECONDS)
        found = Resynced(time.perf_counter() - began, time.thread_time() - used, turns)
        watching.cancel()
        client.settled = True
    for worker in workers:
        worker.cancel()
    return found


def figures() -> Iterator[Row]:
    """A row for each number."""
    world = serving(replicas=2)
    world.rest()
    for count in COUNTS:
        found = asyncio.run(resync(world, count))
        each = found.cpu / count * 1e3
        told = f"{found.cpu:.2f} s of CPU ({each:.2f} ms each), the event loop held for {max(found.turns) * 1e3:.0f} ms"
        yield Row(f"{count:,} planned at once, nothing to do", f"{told} at the most", AIM)


if __name__ == "__main__":
    show(list(figures()))
