"""Canaries in a row under load, half of it gRPC: each has pods of its own, which come before it and go after it.

PODIUM_CANARIES=100 for more of them.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from podium.router.routing import Routing, Share
from tests.integration.router.routing_rig import CALLERS, Pod, Router, enough, failed, load, revision_name
from tests.integration.router.servicer import ASK, serving

PORT = 20_000
CANARIES = int(os.environ.get("PODIUM_CANARIES", "10"))
STEPS = (0, 500, 2_500, 5_000, 10_000)


@dataclass
class Revision:
    """A server for each protocol, until they are stopped."""

    name: str
    stack: AsyncExitStack

    async def stop(self) -> None:
        """Its pods are told to end: what they have been asked they answer."""
        await self.stack.aclose()


async def started(router: Router, name: str) -> Revision:
    """With its pods listed."""
    stack = AsyncExitStack()
    pod = await stack.enter_async_context(Pod(name))
    await asyncio.to_thread(router.pods, name, pod.address)
    await asyncio.to_thread(router.pods, name, await stack.enter_async_context(serving(name, grace=5)), port="grpc")
    return Revision(name, stack)


async def told(router: Router, *shares: tuple[str, int]) -> None:
    """Until the router says that it has it."""
    routing = Routing("fraud", PORT, tuple(Share(*share) for share in shares))
    await asyncio.to_thread(router.ask_for, routing)
    await router.until_applied(routing)


@asynccontextmanager
async def calls(router: Router) -> AsyncIterator[Counter[str]]:
    """Callers by gRPC, each on a channel of its own: how often which answer came."""
    seen: Counter[str] = Counter()
    done = asyncio.Event()

    async def caller(number: int) -> None:
        # Channels of one process to one address share their connection, unless they differ.
        options = [("grpc.use_local_subchannel_pool", 1), ("podium.number", number)]
        async with grpc.aio.insecure_channel(f"{router.address}:{PORT}", options=options) as channel:
            ask = channel.unary_unary(ASK)
            while not done.is_set():
                try:
                    seen[(await ask(b"x", timeout=10)).decode()] += 1
                except grpc.aio.AioRpcError as error:
                    seen[f"failed: {error.code()} {error.details()}"] += 1

    callers = [asyncio.create_task(caller(number)) for number in range(CALLERS)]
    try:
        yield seen
    finally:
        done.set()
        await asyncio.gather(*callers)


async def test_canaries_in_a_row_lose_no_request(make_router: Callable[..., Router]) -> None:
    router = make_router()
    champion = await started(router, revision_name(0))
    router.ask_for(Routing("fraud", PORT, (Share(revision_name(0), 10_000),)))
    await router.run()

    async with load(router, PORT) as seen, calls(router) as called:
        for number in range(1, CANARIES + 1):
            candidate = await started(router, revision_name(number))
            for weight in STEPS:
                await told(router, (candidate.name, weight), (champion.name, 10_000 - weight))
                await enough(seen, 40)
                await enough(called, 40)
            await told(router, (candidate.name, 10_000))
            for port in ("http", "grpc"):
                await asyncio.to_thread(router.pods, champion.name, port=port)
            await champion.stop()
            champion = candidate
    await champion.stop()

    for each in (seen, called):
        assert failed(each) == {}
        assert len(each) == CANARIES + 1, each


async def test_a_candidate_whose_pods_go_before_its_weight_is_seen_by_both(make_router: Callable[..., Router]) -> None:
    router = make_router()
    champion, candidate = await started(router, revision_name(0)), await started(router, revision_name(1))
    router.ask_for(Routing("fraud", PORT, (Share(revision_name(1), 5_000), Share(revision_name(0), 5_000))))
    await router.run()

    async with load(router, PORT) as seen, calls(router) as called:
        for each in (seen, called):
            await enough(each)
        await candidate.stop()
        for each in (seen, called):
            await enough(each)
    await champion.stop()

    assert failed(seen)
    assert failed(called)
