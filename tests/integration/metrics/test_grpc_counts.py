"""gRPC, whose errors are answers 200: its statuses are counted, and answers that broke off."""

import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from aiohttp import web

from podium.metrics import counts
from podium.metrics.reading import Reading
from podium.metrics.routers import asks
from podium.metrics.scraper import Scraper
from podium.router.endpoints import GRPC, HTTP, Endpoint
from tests.integration.metrics.breaking import WAYS, breaking
from tests.integration.metrics.known import PORT, SECONDS, Router
from tests.integration.router.routing_rig import HERE
from tests.integration.router.servicer import ASK

CODES = {code.name: code for code in grpc.StatusCode}
FATES = {
    "OK": ("whole", 150), "INVALID_ARGUMENT": ("4xx", 40), "RESOURCE_EXHAUSTED": ("429", 30), "INTERNAL": ("5xx", 30),
    "UNAVAILABLE": ("5xx", 20), "hang": ("abandoned", 30),
}  # fmt: skip


class Servicer(grpc.GenericRpcHandler):
    """The request is its fate and its number; which ones came is noted."""

    def __init__(self, asked: dict[str, str], hangs: dict[str, asyncio.Event], revision: str) -> None:
        self._asked, self._hangs, self._revision = asked, hangs, revision

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self._answer)

    async def _answer(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        fate, _, number = request.decode().partition("/")
        self._asked[number] = self._revision
        if fate == "hang":
            self._hangs[number].set()
            await asyncio.sleep(SECONDS)
        elif fate != "OK":
            await context.abort(CODES[fate], fate)
        return b"ok"


async def read_until(router: Router, calls: int) -> Reading:
    """The router's counts, once so many calls are over."""
    found = None
    async with Scraper() as scraper:
        for _ in range(200):
            found = await scraper.round(asks({"router": router.address}, ["old", "new"]), 2.0)
            # On a slow machine it may not have been read: the counts are there at the next look.
            for sample in found.samples:
                if sum(sum((each.ended or {}).values()) for each in sample.reading.clusters.values()) >= calls:
                    return sample.reading
            await asyncio.sleep(0.05)
    raise AssertionError(f"{calls} calls are not over: {found}")


async def test_calls_are_counted_by_their_status(tmp_path: Path) -> None:
    asked: dict[str, str] = {}
    hangs: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    async with AsyncExitStack() as stack:
        pods: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
        for revision in ("old", "new"):
            server = grpc.aio.server(handlers=[Servicer(asked, hangs, revision)])
            pods[revision, HTTP], pods[revision, GRPC] = (), (Endpoint(HERE, server.add_insecure_port(f"{HERE}:0")),)
            await server.start()
            stack.push_async_callback(server.stop, 0)
        router = Router(tmp_path / "router", "127.0.3.2", pods)
        router.weigh(3_000)
        stack.enter_context(router.running())
        await router.until_ready()

        todo = [fate for fate, (_, count) in FATES.items() for _ in range(count)]
        random.Random(1).shuffle(todo)
        async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
            ask = channel.unary_unary(ASK)

            async def call(number: int, fate: str) -> None:
                calling = ask(f"{fate}/{number}".encode())
                if fate == "hang":
                    await hangs[str(number)].wait()
                    calling.cancel()
                assert await calling.code() == (grpc.StatusCode.CANCELLED if fate == "hang" else CODES[fate])

            for start in range(0, len(todo), 20):
                await asyncio.gather(
                    *(call(start + place, fate) for place, fate in enumerate(todo[start : start + 20]))
                )
        reading = await read_until(router, len(todo))

    for revision in ("old", "new"):
        saw = Counter(FATES[fate][0] for number, fate in enumerate(todo) if asked[str(number)] == revision)
        found = counts.levels(reading, f"{revision}.grpc")
        assert found is not None
        names = (counts.ABANDONED, *counts.CLASSES)
        assert {name: found[name] for name in names} == {name: saw[name] for name in names}, revision
        assert all(saw[name] for name in ("4xx", "429", "5xx", "abandoned")), saw
        assert (found["started"], found["finished"]) == (saw.total(), saw.total() - saw["abandoned"])


async def test_a_call_whose_answer_breaks_off_is_an_error(tmp_path: Path) -> None:
    async with breaking(WAYS) as broken:
        router = Router(tmp_path / "router", "127.0.3.3", {("new", HTTP): (), ("new", GRPC): (broken,),
                                                           ("old", HTTP): ()})  # fmt: skip
        router.weigh(10_000)
        with router.running():
            await router.until_ready()
            async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
                for _ in range(10 * len(WAYS)):
                    call = channel.unary_unary(ASK)(b"x")
                    assert await call.code() != grpc.StatusCode.OK
            reading = await read_until(router, 10 * len(WAYS))

    found = counts.levels(reading, "new.grpc")
    assert found is not None
    assert (found["reset"], found["5xx"], found["finished"]) == (30, 20, 50)


@pytest.mark.parametrize("answers", ["404", "200"])
async def test_calls_to_a_revision_without_a_gRPC_port_count_against_it(tmp_path: Path, answers: str) -> None:
    """A canary to another ModelRuntime, whose server says 404, or answers everything in its own way."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=int(answers))

    async with AsyncExitStack() as stack:
        server = grpc.aio.server(handlers=[Servicer({}, {}, "old")])
        old = Endpoint(HERE, server.add_insecure_port(f"{HERE}:0"))
        await server.start()
        stack.push_async_callback(server.stop, 0)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HERE, 0).start()
        new = Endpoint(HERE, runner.addresses[0][1])
        router = Router(tmp_path / "router", f"127.0.3.{4 + (answers == '200')}",
                        {("old", HTTP): (), ("old", GRPC): (old,), ("new", HTTP): (new,)})  # fmt: skip
        router.weigh(5_000)
        stack.enter_context(router.running())
        await router.until_ready()
        async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
            codes = [await channel.unary_unary(ASK)(f"OK/{number}".encode()).code() for number in range(60)]
        reading = await read_until(router, 60)

    failed = sum(code is not grpc.StatusCode.OK for code in codes)
    found = counts.levels(reading, "new.http")
    assert found is not None
    assert (found["started"], found["5xx"]) == (failed, failed)
    assert 0 < failed < 60
