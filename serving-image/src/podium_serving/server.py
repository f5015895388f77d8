"""The server process: listen, answer, drain on SIGTERM, exit."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from typing import NoReturn

from podium_serving import cpu, last_words, memory
from podium_serving.budget import Budget
from podium_serving.engine import Engine
from podium_serving.http.context import Context
from podium_serving.http.protocol import Connection
from podium_serving.json_process import JsonProcess
from podium_serving.large_json import LargeJson
from podium_serving.loading import WarmUp
from podium_serving.logs import LOG, log
from podium_serving.metrics import Metrics
from podium_serving.model import Model
from podium_serving.service import Service
from podium_serving.settings import Settings
from podium_serving.waiting import Limits

EXIT_DRAINED = 0
EXIT_CUT = 70
_BACKLOG = 2048
_POLL_SECONDS = 0.05
# How soon a thread that computes in Python gives way to the event loop; by default five times as late.
_SWITCH_SECONDS = 0.001


def allow_connections() -> None:
    """Raises the limit of open files, and so of connections, as far as it may be: some systems begin at 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listen(port: int) -> socket.socket:
    """A socket that accepts IPv4 and, where the host has it, IPv6. Raises OSError."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        except OSError as problem:
            if problem.errno != 97:  # EAFNOSUPPORT: compiled in, but switched off
                raise
    return socket.create_server(("", port), backlog=_BACKLOG)


async def serve(settings: Settings, model: Model, warm: WarmUp, listener: socket.socket) -> NoReturn:
    """Answers until SIGTERM or SIGINT, then drains, and ends the process with an exit code."""
    memory.return_what_is_freed()
    allow_connections()
    sys.setswitchinterval(_SWITCH_SECONDS)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(settings)
    metrics.loaded({"samples": len(warm.samples), "sizes": len(warm.sizes)}, len(model.refusals))
    workers = cpu.available()
    words = last_words.opened(workers + 1)
    limits = Limits(workers, settings.queue_length, settings.queue_seconds)
    budget = Budget(settings.memory or memory.for_requests(memory.limit(), memory.resident()))
    engine = Engine(model, metrics, limits, budget, words)
    process = JsonProcess(model.signature, settings.model, settings.version, memory=budget.size)
    large = LargeJson(process, metrics, limits, budget)
    service = Service(settings, model.signature, engine, metrics, large)
    context = Context(
        handler=service.handle,
        max_body=settings.max_body,
        keep_alive=settings.keep_alive,
        read_timeout=settings.read_timeout,
        body_timeout=settings.body_timeout,
        life=settings.connection_life,
        room_timeout=settings.queue_seconds,
        budget=budget,
        crowded=lambda: engine.waiting > 0 or large.waiting > 0 or service.draining,
        no_room=lambda: metrics.shed("memory"),
        clock=time.monotonic,
        extra_headers=f"x-podium-revision: {settings.revision}\r\n".encode() if settings.revision else b"",
    )
    context.tick()
    # What is there now stays, and need not be looked through again: 20 ms, in the middle of some request.
    gc.collect()
    gc.freeze()
    chores = [loop.create_task(_tick(context)), loop.create_task(_give_back(model))]
    server = await loop.create_server(lambda: Connection(context), sock=listener, backlog=_BACKLOG)
    log(logging.INFO, "ready", port=listener.getsockname()[1], seconds_since_start=_age())
    await stop.wait()
    code = await _drain(settings, service, context, server)
    for chore in chores:
        chore.cancel()
    words.close()
    # A thread that still computes, for somebody who has gone, would keep the interpreter from ending.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


async def _tick(context: Context) -> None:
    while True:
        await asyncio.sleep(1)
        context.tick()


async def _give_back(model: Model) -> None:
    """In a thread: the system takes some 90 ms for 1 GiB."""
    while True:
        await asyncio.sleep(1)
        try:
            await asyncio.to_thread(model.give_back)
        except Exception:
            LOG.exception("memory of earlier runs could not be given back")


async def _drain(settings: Settings, service: Service, context: Context, server: asyncio.AbstractServer) -> int:
    """Answers what still comes, each with Connection: close, until it is quiet or the time is up.

    New connections are still accepted: a pod is told to stop at the same moment as those who send it requests. Those
    that idle are kept for a while: whoever closes one may meet the request that its caller sends just then.
    """
    started = time.monotonic()
    deadline = started + settings.grace
    service.draining = context.draining = True
    log(logging.INFO, "draining", connections=len(context.connections), grace_seconds=settings.grace)
    while time.monotonic() < deadline:
        now = time.monotonic()
        quiet = now - max(started, service.last_request) >= settings.drain_quiet
        left = not context.connections or now - started >= settings.drain_idle
        if quiet and left and not _active(context):
            break
        await asyncio.sleep(_POLL_SECONDS)
    server.close()
    cut = _active(context)
    for connection in list(context.connections):
        if connection.active:
            connection.abort()
        else:
            connection.close()
    await asyncio.sleep(0)
    log(
        logging.WARNING if cut else logging.INFO,
        "the time to drain is up: requests were cut off" if cut else "drained",
        cut=cut,
        seconds=round(time.monotonic() - started, 3),
    )
    return EXIT_CUT if cut else EXIT_DRAINED


def _active(context: Context) -> int:
    return sum(connection.active for connection in context.connections)


def _age() -> float:
    """Seconds since this process was started, by the kernel's account."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = float(stat.read().rsplit(")", 1)[1].split()[19])
        return round(float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"), 3)
