"""The composition root: the only place that wires things together."""

import asyncio
import importlib.metadata
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from podium.analysed_metrics import AnalysedMetrics
from podium.analysing import Analyst
from podium.asking import Asker
from podium.kube.aio import AioClient
from podium.kube.client import KubeClient
from podium.kube.connect import connect
from podium.kube.events import Recorder
from podium.kube.lease import Lease, boottime
from podium.kube.resources import MODEL_DEPLOYMENTS, MODEL_RUNTIMES, ROUTERS
from podium.kube.transport import Transport
from podium.metrics.access import Access
from podium.metrics.prometheus import Prometheus
from podium.reconcile.builtins import BuiltIns
from podium.reconcile.loop import Reconciler
from podium.reconcile.router_objects import RouterObjects
from podium.settings import Settings
from podium.telemetry import Metrics, Servers
from podium.watch.cache import Cache
from podium.watch.feed import Feed
from podium.watch.queue import Queue
from podium.watch.resync import Resync
from podium.watch.shell import Shell
from podium.work import Crew, Reconciling, enduring, every_key, lead, stand_by, until, work

log = logging.getLogger(__name__)

FINISH_SECONDS: Final = 0.6
"""What a pass in progress is given to end when the process is told to stop; the next leader waits for it."""

FLUSH_SECONDS: Final = 0.3
KOPF_SECONDS: Final = 5.0
LEASE_STUCK: Final = 60.0
"""Seconds without a look at the Lease after which the process does not count as alive."""


@dataclass(frozen=True)
class Parts:
    """What reconcilers are made of."""

    cache: Cache
    client: KubeClient
    recorder: Recorder
    settings: Settings
    answers: Asker
    measures: Analyst
    decided: Callable[[str, str], None]


MakeReconciler = Callable[[Parts], Reconciling]


def built_ins(parts: Parts) -> BuiltIns:
    """The ModelRuntimes that come with Podium."""
    return BuiltIns(parts.cache, parts.client, parts.settings)


def model_deployments(parts: Parts) -> Reconciler:
    """The ModelDeployments; all other reconcilers exist for their sake."""
    return Reconciler(
        parts.cache,
        parts.client,
        parts.recorder,
        parts.settings,
        answers=parts.answers,
        measures=parts.measures,
        decided=parts.decided,
    )


def router_objects(parts: Parts) -> RouterObjects:
    """The routers of the namespaces."""
    return RouterObjects(parts.cache, parts.client, parts.settings)


RECONCILERS: Final[Mapping[str, MakeReconciler]] = {
    MODEL_RUNTIMES.kind: built_ins,
    MODEL_DEPLOYMENTS.kind: model_deployments,
    ROUTERS: router_objects,
}
"""Who reconciles the keys of which kind."""

FIRST: Final = (MODEL_RUNTIMES.kind,)
"""Kinds that the passes of others read: at the beginning of a term they come before these."""


async def run(settings: Settings, makers: Mapping[str, MakeReconciler] = RECONCILERS) -> None:
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
    asker = Asker(cache, queue, leading=lambda: lease.leading)
    prometheus = Prometheus(access(settings))
    analyst = Analyst(cache, queue, leading=lambda: lease.leading, prometheus=prometheus)
    metrics.registry.register(AnalysedMetrics(analyst.analysed))
    parts = Parts(cache, client, recorder, settings, asker, analyst, metrics.decided)
    reconcilers = {kind: make(parts) for kind, make in makers.items()}
    resync.keys = partial(every_key, reconcilers)

    def step_down() -> None:
        queue.pause()
        for reconciler in reconcilers.values():
            reconciler.step_down()

    lease.on_lost = step_down
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
    worker = partial(work, queue, reconcilers, lease, metrics, resync)
    workers = Crew(enduring("worker", worker, metrics.failed) for _ in range(settings.workers))
    crew = Crew(
        [
            enduring("lease", lease.run, metrics.failed),
            enduring("resync", resync.run, metrics.failed),
            enduring("leader", partial(lead, lease, resync, queue, reconcilers, FIRST, asker.once), metrics.failed),
            enduring("standby", partial(stand_by, lease, resync, reconcilers), metrics.failed),
            enduring("events", recorder.run, metrics.failed),
            enduring("routers", asker.run, metrics.failed),
            enduring("measuring", analyst.run, metrics.failed),
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
        prometheus.close()
        await watches.end(KOPF_SECONDS)
        await transport.close()


def access(settings: Settings) -> Access:
    """How the Prometheus of metrics of that type is reached."""
    return Access(
        url=settings.prometheus_url,
        ca_file=settings.prometheus_ca_file,
        token_file=settings.prometheus_token_file,
        any_query=settings.prometheus_any_query,
        every=settings.prometheus_interval,
    )


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
