"""gRPC through the router, by a real client and real servers: the weights, the revision's name, streams that last."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from podium.router.routing import Routing, Share
from tests.cluster.controlplane import ControlPlane
from tests.integration.router.routing_rig import NEW, OLD, Router
from tests.integration.router.servicer import ASK, STREAM, serving

PORT = 20_000
TIME_OUT = 2.0
"""Seconds: long enough for any single call on a slow machine."""


@pytest.fixture
async def router(plane: ControlPlane, namespace: str, make_router: Callable[..., Router]) -> AsyncIterator[Router]:
    """Half and half, with a time-out that no stream keeps."""
    async with AsyncExitStack() as stack:
        found = make_router()
        for revision in (OLD, NEW):
            found.pods(revision, await stack.enter_async_context(serving(revision)), port="grpc")
        found.ask_for(Routing("fraud", PORT, (Share(NEW, 5_000), Share(OLD, 5_000)), timeout=TIME_OUT))
        await found.run()
        yield found


async def test_calls_are_split_by_weight_and_say_which_revision_answered(router: Router) -> None:
    seen: Counter[bytes] = Counter()
    async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
        ask = channel.unary_unary(ASK)
        for _ in range(400):
            call = ask(b"x")
            answer = await call
            assert ("x-podium-revision", answer.decode()) in tuple(await call.initial_metadata())
            seen[answer] += 1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(b"no")
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no")
    # 200 are expected of one connection; 5 standard deviations are 50
    assert abs(seen[NEW.encode()] - 200) < 50, seen


async def test_a_stream_outlasts_the_time_out_and_stays_with_its_revision(router: Router) -> None:
    async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
        call = channel.stream_stream(STREAM)()
        await call.write(b"first")
        revision = await call.read()
        other = OLD if revision == NEW.encode() else NEW
        routing = Routing("fraud", PORT, (Share(NEW, 0), Share(OLD, 10_000)) if other == OLD
                          else (Share(NEW, 10_000), Share(OLD, 0)), timeout=TIME_OUT)  # fmt: skip
        router.ask_for(routing)
        await router.until_applied(routing)

        end = time.monotonic() + 1.5 * TIME_OUT
        while time.monotonic() < end:
            await call.write(b"next")
            assert await call.read() == revision
            await asyncio.sleep(0.1)
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
        assert await channel.unary_unary(ASK)(b"x") == other.encode()


async def test_a_stream_in_which_nothing_moves_for_idleTimeout_is_ended_and_no_other(router: Router) -> None:
    half = Routing("fraud", PORT, (Share(NEW, 5_000), Share(OLD, 5_000)))
    async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
        patient = channel.stream_stream(STREAM)()
        await patient.write(b"first")
        await patient.read()
        hasty = replace(half, idle_timeout=3.0)
        router.ask_for(hasty)
        await router.until_applied(hasty)

        call = channel.stream_stream(STREAM)()
        await call.write(b"first")
        await call.read()
        assert await asyncio.wait_for(call.code(), 60) == grpc.StatusCode.INTERNAL

        await patient.write(b"next")
        assert await patient.read()
        await patient.done_writing()
        assert await patient.code() == grpc.StatusCode.OK


async def test_a_stream_goes_on_while_its_router_leaves_and_ends_when_it_is_done(router: Router) -> None:
    async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
        call = channel.stream_stream(STREAM)()
        await call.write(b"first")
        revision = await call.read()

        leaving = asyncio.create_task(router.leave())
        # longer than the least that a drain takes
        for _ in range(40):
            await call.write(b"next")
            assert await call.read() == revision
            await asyncio.sleep(0.2)
        assert not leaving.done()
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK
    await leaving


async def test_a_stream_that_outlives_the_drain_is_told_so(router: Router) -> None:
    async with grpc.aio.insecure_channel(f"{router.address}:{PORT}") as channel:
        call = channel.stream_stream(STREAM)()
        await call.write(b"first")
        await call.read()

        await router.leave(1.0)

        assert await call.code() == grpc.StatusCode.UNAVAILABLE
