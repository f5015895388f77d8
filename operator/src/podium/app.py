"""The composition root: the only place that wires things together."""

import asyncio
import importlib.metadata
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final, Protocol

from podium.keys import Key
from podium.kube.aio import AioClient
from podium.kube.client import ApiError, KubeClient, NotLeader
from podium.kube.connect import connect
from podium.kube.events import Recorder
from podium.kube.lease import Lease, boottime
from podium.kube.transport import Transport
from podium.reconcile.builtins import apply_runtimes, read_runtimes
from podium.reconcile.outcome import PassRefused
from podium.settings import Settings
from podium.telemetry import Metrics, Servers, about
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.queue import Queue
from podium.watch.resync import Resync
from podium.watch.shell import Shell

log = logging.getLogger(__name__)

FINISH_SECONDS: Final = 0.6
"""What a pass in progress is given to end when the process is told to stop; the next leader waits for it."""

SOONEST: Final = 0.05
"""A pass that wants to be called again at once is called again after so many seconds, and never in a tight loop."""

FLUSH_SECONDS: Final = 0.3
KOPF_SECONDS: Final = 5.0
RUNTIMES_AGAIN: Final = 30.0
"""Seconds between attempts to apply the built-in runtimes."""

FIRST_RESTART: Final = 0.5
LAST_RESTART: Final = 30.0
"""Seconds before a part of the process that has failed goes on; each failure in a row doubles them."""

LEASE_STUCK: Final = 60.0
"""Seconds without a look at the Lease after which the process does not count as alive."""


class Reconciling(Protocol):
    """What a worker calls."""

    async def reconcile(self, key: Key) -> float | None:
        """One pass; seconds until the next one is wanted, None for "only when something happens"."""

    def step_down(self) -> None:
        """The Lease is lost: what happens until it is gained again is not seen."""


MakeReconciler = Callable[[Cache, KubeClient, Recorder, Settings], Reconciling]


async def run(settings: Settings, make_reconciler: MakeReconciler) -> None:
    """Run the operator until SIGTERM or SIGINT; raises if a part of it fails for good."""
    stop = asyncio.Event()

    # What is known, and what is due.
    queue: Queue
    lease: Lease
    shell: Shell
    metrics = Metrics(held=lambda: queue.held(), leading=lambda: lease.leading, lease=settings.lease_name)
    cache = Cache(on_unreadable=metrics.unreadable)
    queue = Queue(observer=metrics)

    # The API server, and the right to write to it.
    connection = await connect(f"podium/{version()} ({settings.identity})")
    transport = Transport(connection, observer=metrics)
    lease = Lease(transport, settings)
    client = AioClient(transport, fence=lease.fence, write_timeout=lease.left)
    recorder = Recorder(client, settings.identity)

    # From events to passes.
    resync = Resync(client, cache, queue, settings)
    resync.on_older = lambda: shell.again()
    resync.on_failure = lambda: metrics.failed("resync")
    lease.on_older = resync.relist_all
    lease.on_failure = lambda: metrics.failed("lease")
    feed = Feed(cache, queue, relisted=resync.relisted, failed=metrics.unreadable)
    reconciler = make_reconciler(cache, client, recorder, settings)

    def step_down() -> None:
        queue.pause()
        reconciler.step_down()

    lease.on_lost = step_down
    runtimes = read_runtimes(settings.runtimes_file) if settings.runtimes_file and not settings.watch_namespaces else []
    shell = Shell(
        settings,
        connection,
        client,
        feed,
        stop=stop,
        on_signals=lambda: stop_on_signals(stop),
        on_restart=resync.relist_all,
    )
    servers = Servers(live=lambda: alive(lease), ready=lambda: ready(resync), registry=metrics.registry)

    # Everything starts before kopf, which at its end cancels whatever has been started after it.
    stop_on_signals(stop)
    await servers.start(settings.health_port, settings.metrics_port)
    worker = partial(work, queue, reconciler, lease, metrics)
    workers = Crew(enduring("worker", worker, metrics.failed) for _ in range(settings.workers))
    crew = Crew(
        [
            enduring("lease", lease.run, metrics.failed),
            enduring("resync", resync.run, metrics.failed),
            enduring("leader", partial(lead, lease, resync, cache, queue, client, runtimes), metrics.failed),
            enduring("events", recorder.run, metrics.failed),
        ]
    )
    watches = Crew([enduring("watches", shell.run, metrics.failed)])
    metrics.workers(settings.workers)
    log.info("Podium %s runs as %s", version(), settings.identity)
    try:
        await until(stop, workers, crew, watches)
    finally:
        # The next leader waits for this, so what is quick and needed for it comes first.
        stop.set()
        queue.pause()
        await wait_for(lambda: not queue.held(), FINISH_SECONDS)
        await workers.end()
        await crew.end()
        await recorder.flush(FLUSH_SECONDS)
        await lease.release()
        await servers.stop()
        await watches.end(KOPF_SECONDS)
        await transport.close()


async def work(queue: Queue, reconciler: Reconciling, lease: Lease, metrics: Metrics) -> None:
    """One worker: takes keys for as long as the process lives.

    A pass with nothing to do waits for nothing, so the event loop, on which the Lease is renewed, gets its turn between
    any two: a resync of thousands never holds it for longer than one pass of each worker.
    """
    while True:
        key = await queue.get()
        start = time.perf_counter()
        try:
            with lease.pinned(), about(modeldeployment=str(key)):
                result = await attempt(queue, key, reconciler)
        finally:
            queue.done(key)
        if result:
            metrics.reconciled(result, time.perf_counter() - start)
        await asyncio.sleep(0)


async def attempt(queue: Queue, key: Key, reconciler: Reconciling) -> str:
    """One pass and what follows from its outcome; answers controller-runtime's word for it, empty if it was none."""
    try:
        again = await reconciler.reconcile(key)
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
    lease: Lease, resync: Resync, cache: Cache, queue: Queue, client: KubeClient, runtimes: list[dict[str, Any]]
) -> None:
    """Whenever the Lease is gained: catch up with what its last holder wrote, then let the workers go."""
    while True:
        await lease.gained()
        term, missing = lease.term, runtimes
        with lease.pinned():
            await resync.catch_up()
            missing = await apply_fenced(client, missing)
        if lease.holding and lease.term == term:
            for key in cache.keys():  # noqa: SIM118 -- not a mapping
                queue.add(key)
            queue.resume()
        while lease.holding and lease.term == term:
            try:
                async with asyncio.timeout(RUNTIMES_AGAIN if missing else None):
                    await lease.lost()
            except TimeoutError:
                with lease.pinned():
                    missing = await apply_fenced(client, missing)


async def apply_fenced(client: KubeClient, runtimes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`apply_runtimes`, where the loss of the Lease is no error: the next holder does it. What fails is tried again."""
    try:
        return await apply_runtimes(client, runtimes)
    except NotLeader:
        return []
    except Exception:
        log.exception("the built-in ModelRuntimes could not be applied, next attempt in %.0f s", RUNTIMES_AGAIN)
        return runtimes


def alive(lease: Lease) -> str:
    """What is wrong with the process, if anything: that it answers shows that its event loop turns."""
    silence = boottime() - lease.ticked
    return f"the Lease was last looked at {silence:.0f} s ago" if silence > LEASE_STUCK else ""


def ready(resync: Resync) -> str:
    """What this replica lacks to take over at any moment."""
    return "" if resync.synced else "the cache is not filled yet: see the log for what it waits for"


def version() -> str:
    """The version that is installed."""
    try:
        return importlib.metadata.version("podium")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true within so many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() >= end:
            return False
        await asyncio.sleep(0.01)
    return True


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
