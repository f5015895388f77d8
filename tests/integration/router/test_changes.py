"""What is changed in spec.traffic holds for new requests, and cuts off none that is under way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from podium.router.endpoints import HTTP, Endpoint
from podium.router.routing import Routing, Share
from tests.integration.metrics.known import PORT, Router
from tests.integration.router.routing_rig import HERE, OLD, POD

PATIENT = Routing("fraud", PORT, (Share(OLD, 10_000),))
PAUSE = 0.2
PIECES = int(2 * POD.drain_seconds / PAUSE)
"""Of an answer that lasts twice as long as a drain."""
ADDRESSES = iter(range(2, 250))


async def answers(request: web.Request) -> web.StreamResponse:
    """In pieces at `/pieces`; nowhere else at all."""
    found = web.StreamResponse()
    await found.prepare(request)
    for _ in range(PIECES):
        await found.write(b"x")
        await asyncio.sleep(PAUSE)
    return found


async def hangs(request: web.Request) -> web.StreamResponse:
    """No answer."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def router(tmp_path: Path) -> AsyncIterator[Router]:
    """A running one, of which PATIENT is asked."""
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/pieces", answers)
        app.router.add_get("/hang", hangs)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HERE, 0).start()
        found = Router(tmp_path / "router", f"127.0.6.{next(ADDRESSES)}",
                       {(OLD, HTTP): (Endpoint(HERE, runner.addresses[0][1]),)})  # fmt: skip
        await asyncio.to_thread(found.tell, PATIENT)
        stack.enter_context(found.running())
        await found.until_ready()
        yield found


@pytest.mark.parametrize("change", [{"idle_timeout": 1.0}, {"timeout": 1.0}, {"max_request_bytes": 5}])
async def test_what_is_under_way_goes_on_as_it_began(router: Router, change: dict[str, float]) -> None:
    url = f"http://{router.address}:{PORT}"
    changed = replace(PATIENT, **change)  # type: ignore[arg-type]
    async with aiohttp.ClientSession() as http, http.get(f"{url}/pieces") as answer:
        await asyncio.to_thread(router.tell, changed)

        assert await answer.read() == b"x" * PIECES

    async with aiohttp.ClientSession() as http:
        if "max_request_bytes" in change:
            assert (await http.post(f"{url}/pieces", data=b"123456")).status == 413
        else:
            assert (await http.get(f"{url}/hang")).status == 504
