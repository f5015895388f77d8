"""HTTP that lasts: answers that come in pieces, and callers who speak HTTP/2 without gRPC."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web

from podium.router.routing import Routing, Share
from tests.integration.router.routing_rig import HERE, OLD, Pod, Router, revision_name

PORT = 20_000
SHORT, LONG = 3.0, 60.0
"""Seconds: an `idleTimeout`, and by when what exceeds it has been ended at the latest."""
SILENT = "/silent"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, END_STREAM, END_HEADERS, ACK = 0x0, 0x1, 0x4, 0x1, 0x4, 0x1


@pytest.fixture
async def heard() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A server that sends its second piece once the first one has arrived; its address, and that it has.

    At SILENT it does not even begin before that.
    """
    arrived = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == SILENT:
            await arrived.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await arrived.wait()
        await response.write(b"two")
        return response

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HERE, 0).start()
    yield f"{HERE}:{runner.addresses[0][1]}", arrived
    await runner.cleanup()


async def started(make_router: Callable[..., Router], address: str) -> Router:
    router = make_router()
    router.pods(OLD, address)
    router.ask_for(Routing("fraud", PORT, (Share(OLD, 10_000),)))
    await router.run()
    return router


async def test_each_piece_of_an_answer_passes_at_once(
    make_router: Callable[..., Router], heard: tuple[str, asyncio.Event]
) -> None:
    address, arrived = heard
    router = await started(make_router, address)

    async with aiohttp.ClientSession() as http, http.post(router.url(PORT)) as answer:
        assert await answer.content.readexactly(3) == b"one"
        arrived.set()
        assert await answer.content.read() == b"two"


@pytest.fixture
async def two(make_router: Callable[..., Router], heard: tuple[str, asyncio.Event]) -> Router:
    """Two ModelDeployments with the same server: `idleTimeout` is short at PORT, and long at the next one."""
    router = make_router()
    for model, port, idle in (("fraud", PORT, SHORT), ("spam", PORT + 1, 600.0)):
        revision = revision_name(0, model)
        router.pods(revision, heard[0])
        router.ask_for(Routing(model, port, (Share(revision, 10_000),), idle_timeout=idle))
    await router.run()
    return router


async def test_an_answer_that_stands_still_for_idleTimeout_is_ended_and_with_a_longer_one_goes_on(
    two: Router, heard: tuple[str, asyncio.Event]
) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(two.url(PORT + 1)) as patient,
        http.post(two.url(PORT)) as hasty,
    ):
        assert await patient.content.readexactly(3) == b"one"
        assert await hasty.content.readexactly(3) == b"one"
        # the patient one has stood still for at least as long when the other is ended
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(hasty.content.read(), LONG)

        heard[1].set()
        assert await patient.content.read() == b"two"


async def test_a_pod_that_begins_no_answer_within_idleTimeout_costs_its_caller_a_504(
    two: Router, heard: tuple[str, asyncio.Event]
) -> None:
    async with aiohttp.ClientSession() as http, asyncio.timeout(LONG), http.post(two.url(PORT) + SILENT) as answer:
        assert answer.status == 504
        assert (await answer.json())["error"].startswith("podium-router: ")
    heard[1].set()


async def test_HTTP_2_without_gRPC_reaches_a_server_of_HTTP_1(make_router: Callable[..., Router]) -> None:
    async with Pod(OLD) as pod:
        router = await started(make_router, pod.address)
        said = json.loads(await asyncio.wait_for(ask_by_http_2(router.address, PORT, "/v2/x"), LONG))
    assert (said["revision"], said["path"]) == (OLD, "/v2/x")


async def ask_by_http_2(host: str, port: int, path: str) -> bytes:
    """The body of one answer, by prior knowledge: RFC 9113, headers as literals without Huffman codes (RFC 7541)."""
    fields = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "x")]
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(PREFACE + _frame(SETTINGS) + _frame(HEADERS, END_STREAM | END_HEADERS, 1, block))
    body = b""
    try:
        while True:
            head = await reader.readexactly(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = await reader.readexactly(length)
            if kind == SETTINGS and not flags & ACK:
                writer.write(_frame(SETTINGS, ACK))
            if kind == DATA:
                body += payload
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return body
    finally:
        writer.close()


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()
