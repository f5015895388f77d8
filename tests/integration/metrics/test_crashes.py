"""20,000 requests through a canary whose pods crash, fail, refuse, shed load and hang, and whose callers give up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.metrics.conftest import Place
from tests.integration.metrics.known import GIVES_UP, Callers, Server
from tests.integration.metrics.test_counts import BROKEN, COUNTED, loaded, requests

SEEN = {"200": 17_400, "400": 800, "429": 500, "500": 500, "200-reset": 100, "200-slow": 100}
HANGING, GIVEN_UP = {"200-hang": 180}, {"200-hang": 200}
DOWN, BETWEEN = 0.3, 1.5
"""Seconds that a crashed server does not listen, and between two crashes: of four pods one is down at a time."""


@asynccontextmanager
async def crashing(servers: list[Server]) -> AsyncIterator[list[Server]]:
    """Meanwhile one after the other crashes and comes back; which ones did."""
    crashed: list[Server] = []

    async def crash() -> None:
        while True:
            for server in servers:
                await asyncio.sleep(BETWEEN)
                await server.crash(DOWN)
                crashed.append(server)

    task = asyncio.create_task(crash())
    try:
        yield crashed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_of_20_000_requests_each_is_counted_as_its_caller_saw_it(place: Place, callers: Callers) -> None:
    todo = [*requests(**SEEN), *requests(**HANGING), *requests(**BROKEN), *requests(GIVES_UP, **GIVEN_UP)]
    assert len(todo) == 20_000

    async with crashing([server for pair in zip(*place.servers.values(), strict=True) for server in pair]) as crashed:
        measuring = await loaded(place.router, callers, todo)

    assert len(crashed) >= 4, "each pod crashed"
    assert callers.repeated() == {}, "what a pod got is never sent again"
    for at, revision in enumerate(("old", "new")):
        counted, saw = measuring.sums(at), callers.saw(revision)
        assert {name: counted[name] for name in COUNTED} == {name: saw[name] for name in COUNTED}, revision
        assert all(saw[name] > 20 for name in COUNTED), saw
        assert counted["started"] == sum(saw[name] for name in (*COUNTED, "whole"))
        assert counted["answered"] == saw["answered"]
    assert sum(callers.saw("old").values()) > 5_000 < sum(callers.saw("new").values())
