"""What measuring costs the operator: 20 and 100 rollouts that are analysed, two routers each, read every two seconds.

    PODIUM_BENCH_ANALYSED=20,100 PODIUM_BENCH_SECONDS=60 python -m tests.bench.bench_measuring

The Analyst is the operator's own, in this process; passes of the planner are not in it. The routers' statistics come
from a process beside it, in Envoy's own words but not Envoy's: 200 of those do not fit on the machine. The floor is the
same reading, from which nothing is made. What the whole operator uses, passes and writes included, bench_analysing
measures: for 20 rollouts, alone and among 1,000 ModelDeployments that are not analysed.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import unquote

from aiohttp import web

from podium.analysing import Analyst
from podium.analysis.metrics import Kind
from podium.api import names
from podium.keys import Key
from podium.kube.client import Object
from podium.kube.resources import MODEL_DEPLOYMENTS, PODS, Resource
from podium.metrics.routers import asks
from podium.metrics.scraper import Ask, Round, Scraper
from podium.rollout.asked import Asked
from podium.rollout.measuring import Task
from podium.rollout.wish import Wish
from tests.bench.table import Row, show
from tests.cluster.progress import say
from tests.unit.metrics.given import cluster, ended, text

ANALYSED = tuple(int(count) for count in os.environ.get("PODIUM_BENCH_ANALYSED", "20,100").split(","))
SECONDS = float(os.environ.get("PODIUM_BENCH_SECONDS", "60"))
HERE, ROUTERS, EVERY, RATE = "127.0.0.1", 2, 2.0, 50
WISHES = (
    Wish("errors", Kind.ERROR_RATE, 1.5, 1.0, 0.001),
    Wish("rejections", Kind.REJECTIONS, 1.5, 1.0, 0.001),
    Wish("abandoned", Kind.ABANDONED, 1.5, 1.0, 0.01),
    Wish("latency", Kind.LATENCY, 1.5, 1.5, 0.01),
)


async def serve() -> None:
    """Statistics of any two revisions: 50 requests a second of each, 1 % of which fail."""
    began = time.time()

    async def answer(request: web.Request) -> web.Response:
        asked = re.search(r"cluster\\\.\(([^)]*)\)", unquote(request.query_string))
        assert asked is not None
        count, parts = int((time.time() - began + 100) * RATE), []
        for name in asked[1].replace("\\", "").split("|"):
            parts += [cluster(f"{name}.http", total=count, times={3: count // 2, 8: count // 2})]
            parts += [
                ended(200, count=count * 99 // 100, name=f"{name}.http"),
                ended(500, count=count // 100, name=f"{name}.http"),
            ]
        return web.Response(text=text(*parts, uptime=int(time.time() - began + 100)))

    app = web.Application()
    app.router.add_get("/stats", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


class Pods:
    """Routers of every namespace."""

    def owned(self, resource: Resource, namespace: str, model: str) -> list[Object]:
        """See podium.analysing.View."""
        assert (resource, model) == (PODS, names.ROUTER)
        status = {"phase": "Running", "podIP": HERE, "conditions": [{"type": "Ready", "status": "True"}]}
        return [{"metadata": {"name": f"{namespace}-{n}"}, "status": status} for n in range(ROUTERS)]


class Woken:
    """Counts the passes that are asked for."""

    def __init__(self) -> None:
        self.passes = 0

    def add(self, key: Key) -> None:
        """See podium.analysing.Queue."""
        self.passes += 1


def _task(number: int) -> Task:
    return Task(
        rollout=f"r{number}",
        champion=f"fraud-{number:03}-old",
        candidate=f"fraud-{number:03}-new",
        asked=Asked(WISHES, interval=EVERY),
        weights=3,
        longest=86_400.0,
        weight=5_000,
        applied=True,
        applied_since=None,
        step=0,
        begins=True,
        pods=(2, 2),
        warm_at=0.0,
    )


class Nearby(Scraper):
    """Asks the routers that this bench plays, on their one port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def round(self, asks: Sequence[Ask], interval: float) -> Round:
        """See Scraper."""
        return await super().round([replace(ask, port=self._port) for ask in asks], interval)


async def _measured(port: int, analysed: int) -> tuple[float, float]:
    """Share of a core, and passes a second that it asks for."""
    woken = Woken()
    analyst = Analyst(Pods(), woken, lambda: True, scraper=lambda: Nearby(port))
    job = asyncio.create_task(analyst.run())
    for number in range(analysed):
        analyst.follow(MODEL_DEPLOYMENTS.key(f"ns-{number}", "fraud"), _task(number))
        await asyncio.sleep(EVERY / analysed)  # as rollouts begin: not all at once
    await asyncio.sleep(15)
    used, began, woken.passes = time.process_time(), time.monotonic(), 0
    await asyncio.sleep(SECONDS)
    took = time.monotonic() - began
    share, passes = (time.process_time() - used) / took, woken.passes / took
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    return share, passes


async def _floor(port: int, analysed: int) -> float:
    """Share of a core that the same reading takes."""

    async def rounds(scraper: Scraper, number: int) -> None:
        task, pods = _task(number), {f"ns-{number}-{n}": HERE for n in range(ROUTERS)}
        while True:
            due = time.monotonic() + EVERY
            await scraper.round(asks(pods, (task.champion, task.candidate)), EVERY)
            await asyncio.sleep(due - time.monotonic())

    async with Nearby(port) as scraper:
        jobs = []
        for number in range(analysed):
            jobs.append(asyncio.create_task(rounds(scraper, number)))
            await asyncio.sleep(EVERY / analysed)
        used, began = time.process_time(), time.monotonic()
        await asyncio.sleep(SECONDS)
        share = (time.process_time() - used) / (time.monotonic() - began)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
    return share


def figures() -> Iterator[Row]:
    """For each number both, one after the other."""
    command = [sys.executable, "-m", "tests.bench.bench_measuring", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            for analysed in ANALYSED:
                say(f"{analysed} rollouts for {SECONDS:.0f} s, twice")
                yield from _rows(port, analysed)
        finally:
            server.terminate()


def _rows(port: int, analysed: int) -> Iterator[Row]:
    floor = asyncio.run(_floor(port, analysed))
    share, passes = asyncio.run(_measured(port, analysed))
    what = f"{analysed} analysed rollouts, {ROUTERS} routers each, every {EVERY:g} s"
    aim = f"under {analysed / 2:g} % together with passes, which are not in it"
    yield Row(f"{what}: CPU of measuring, share of a core", f"{share:.1%}", aim)
    yield Row(f"{what}: of which bare reading", f"{floor:.1%}")
    yield Row(
        f"{what}: checkpoints a second", f"{passes:.1f} (each is a write of the ledger, one of status)", "at most 4"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        show(list(figures()))
