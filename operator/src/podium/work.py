"""What the process does for as long as it lives: workers, tasks of the leader, and how parts of it go on.

It knows reconcilers by the kind of their keys, and nothing of what they do.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from itertools import chain
from typing import Any, Final, Protocol

from podium.keys import Key
from podium.kube.client import ApiError, NotLeader
from podium.kube.lease import Lease
from podium.reconcile.outcome import PassRefused
from podium.telemetry import Metrics, about
from podium.watch.queue import Queue
from podium.watch.resync import Resync

log = logging.getLogger(__name__)

SOONEST: Final = 0.05
"""A pass that wants to be called again at once is called again after so many seconds, and never in a tight loop."""

READ_AHEAD: Final = 30.0
"""Seconds from one reading ahead to the next; what has not changed is not parsed again."""

NOT_SYNCED: Final = 0.5
"""Seconds until it is looked again whether the cache is filled."""

FIRST_RESTART: Final = 0.5
LAST_RESTART: Final = 30.0
"""Seconds before a part of the process that has failed goes on; each failure in a row doubles them."""


class Reconciling(Protocol):
    """What is called with the keys of one kind."""

    async def reconcile(self, key: Key) -> float | None:
        """One pass; seconds until the next one is wanted, None for "only when something happens"."""

    def keys(self) -> Iterable[Key]:
        """Everything there may be something to do for: it is looked at when the Lease is gained, and by each resync."""

    def read_ahead(self, key: Key) -> None:
        """Another replica leads: parse what the first pass of a new leader would, so that it is short. Writes nothing.

        Called with the key of what is gone, it forgets that.
        """

    def step_down(self) -> None:
        """The Lease is lost: what happens until it is gained again is not seen."""


Reconcilers = Mapping[str, Reconciling]
"""By the kind of their keys."""


def every_key(reconcilers: Reconcilers) -> list[Key]:
    """The keys of all reconcilers, in the order of these."""
    return list(chain.from_iterable(reconciler.keys() for reconciler in reconcilers.values()))


async def work(queue: Queue, reconcilers: Reconcilers, lease: Lease, metrics: Metrics, resync: Resync) -> None:
    """One worker: takes keys for as long as the process lives.

    A pass with nothing to do waits for nothing, so the event loop, on which the Lease is renewed, gets its turn between
    any two: a resync of thousands never holds it for longer than one pass of each worker.
    """
    while True:
        key = await queue.get()
        if key.namespace in resync.apart:
            queue.done(key)  # it comes again once its namespace can be read
            continue
        start = time.perf_counter()
        try:
            with lease.pinned(), about(**{key.kind.lower(): str(key)}):
                result = await attempt(queue, key, reconcilers)
        finally:
            queue.done(key)
        if result:
            metrics.reconciled(key.kind, result, time.perf_counter() - start)
        await asyncio.sleep(0)


async def attempt(queue: Queue, key: Key, reconcilers: Reconcilers) -> str:
    """One pass and what follows from its outcome; answers controller-runtime's word for it, empty if it was none."""
    try:
        again = await reconcilers[key.kind].reconcile(key)
    except NotLeader:
        # Whoever holds the Lease next looks at every key, this replica included.
        return ""
    except PassRefused as refused:
        delay = queue.retry(key, at_least=refused.retry_after)
        if refused.wake_in is not None:
            queue.add_after(key, max(refused.wake_in, SOONEST))
        log.info("the pass was refused something and is made again in %.2f s: %s", delay, refused)
        return "error"
    except ApiError as error:
        delay = queue.retry(key, at_least=error.retry_after or 0.0)
        # Somebody else was faster, or the cache is behind: expected, and the retry finds out.
        level = logging.DEBUG if error.status == 409 else logging.WARNING
        log.log(level, "the pass ended early and is tried again in %.2f s: %s", delay, error)
        return "error"
    except Exception:
        delay = queue.retry(key)
        log.exception("the pass failed and is tried again in %.2f s", delay)
        return "error"
    queue.forget(key)
    if again is None:
        return "success"
    queue.add_after(key, max(again, SOONEST))
    return "requeue_after"


async def lead(
    lease: Lease,
    resync: Resync,
    queue: Queue,
    reconcilers: Reconcilers,
    first: Collection[str] = (),
    look: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Whenever the Lease is gained: catch up with what its last holder wrote, then let the workers go.

    Keys of the kinds `first` have their pass before that: what they write is read by the passes of the others. `look`
    fills what is read beside the cache.
    """
    while True:
        await lease.gained()
        term = lease.term
        with lease.pinned():
            for key in every_key({kind: reconcilers[kind] for kind in first}):
                await attempt(queue, key, reconcilers)
            await resync.catch_up()
            if look is not None:
                await look()
        if lease.holding and lease.term == term:
            for key in every_key(reconcilers):
                queue.add(key)
            queue.resume()
        while lease.holding and lease.term == term:
            await lease.lost()


async def stand_by(lease: Lease, resync: Resync, reconcilers: Reconcilers) -> None:
    """While another replica leads: read ahead, again and again, so that little is new at a take-over."""
    before: set[Key] = set()
    while True:
        await lease.lost()
        synced = resync.synced
        keys = set(every_key(reconcilers)) if synced else set[Key]()
        for key in chain(keys, before - keys):
            if lease.holding:
                break
            try:
                reconcilers[key.kind].read_ahead(key)
            except Exception:  # the pass, once there is one, fails likewise, and tells of it
                log.debug("%s cannot be read ahead", key, exc_info=True)
            await asyncio.sleep(0)
        before = keys
        await asyncio.sleep(READ_AHEAD if synced else NOT_SYNCED)


async def enduring(name: str, part: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[str], None]) -> None:
    """Run a part of the process, and again whenever it fails: none of them takes the others down.

    What a part meets comes from the cluster, where anybody may write. What makes it impossible to run at all, as a
    wrong configuration, is found before any part begins.
    """
    loop, delay = asyncio.get_running_loop(), FIRST_RESTART
    while True:
        begun = loop.time()
        try:
            return await part()
        except Exception:
            failed(name)
            delay = FIRST_RESTART if loop.time() - begun > LAST_RESTART else min(delay * 2, LAST_RESTART)
            log.exception("a part of the operator (%s) failed and goes on in %.1f s", name, delay)
        await asyncio.sleep(delay)


class Crew:
    """Tasks that live as long as the process."""

    def __init__(self, parts: Iterable[Coroutine[Any, Any, None]]) -> None:
        self.tasks = [asyncio.create_task(part) for part in parts]

    async def end(self, within: float = 0.0) -> None:
        """Give the tasks `within` seconds to end by themselves, then cancel them; failures are logged."""
        if within:
            await asyncio.wait(self.tasks, timeout=within)
        for task in self.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("a part of the operator failed: %r", outcome, exc_info=outcome)


async def until(stop: asyncio.Event, *crews: Crew) -> None:
    """Return when told to stop; raise if any task of the crews ends before that."""
    told = asyncio.create_task(stop.wait())
    tasks = [task for crew in crews for task in crew.tasks]
    done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    if told in done:
        return
    told.cancel()
    for task in done:
        task.result()
    raise RuntimeError("a part of the operator ended by itself")
