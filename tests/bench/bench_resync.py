"""10,000 ModelDeployments at rest are planned, as a resync asks for it: how long the event loop is held at a time.

    PODIUM_BENCH_RESYNC=1000,10000 python -m tests.bench.bench_resync

There is no API server: the objects of one settled ModelDeployment of the planner's tests stand in the cache once for
each namespace. Cache, queue, workers and Reconciler are the operator's; a pass that would write ends the run. Somebody
else asks for a turn of the loop every millisecond: the CPU time of the thread between two of these is what was planned
meanwhile, and what the Lease would have had to wait for.
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


class Leads:
    """A Lease that is ours."""

    def pinned(self) -> AbstractContextManager[None]:
        """For as long as a pass lasts."""
        return nullcontext()


class NoCalls:
    """A client of which any call ends the run."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a pass with nothing to do calls {name} of the API server")


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
    """Note the CPU time between any two turns, for as long as it is let."""
    while True:
        used = time.thread_time()
        await asyncio.sleep(0.001)
        turns.append(time.thread_time() - used)


async def resync(world: World, count: int) -> Resynced:
    """All keys at once, twice: the first pass over each parses what the second one remembers, as in a process."""
    cache, queue = filled(world, count), Queue()
    reconciler = Passes(
        cache,
        NoCalls(),  # type: ignore[arg-type]
        world.heard,
        world.settings,
        lambda: world.now,
        answers=world.routers,
        measures=world.measuring,
    )
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
        await over.wait()
        found = Resynced(time.perf_counter() - began, time.thread_time() - used, turns)
        watching.cancel()
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
