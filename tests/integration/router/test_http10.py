"""Callers of HTTP/1.0 (old health checks and load testers, scripts) are answered as servers answer them."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from podium.router.endpoints import HTTP, Endpoint
from podium.router.routing import Routing, Share
from tests.integration.metrics.known import PORT, SECONDS, Router
from tests.integration.router.routing_rig import HERE, OLD


async def asked(address: str, request: str) -> tuple[list[str], str]:
    """The lines of the answer's head, and its body: all that comes until the connection is closed."""
    reader, writer = await asyncio.open_connection(address, PORT)
    writer.write(request.encode())
    found = await asyncio.wait_for(reader.read(), SECONDS)
    writer.close()
    head, _, body = found.decode().partition("\r\n\r\n")
    return head.lower().split("\r\n"), body


async def answers(request: web.Request) -> web.StreamResponse:
    """What the server got, in pieces of unknown number."""
    said = {"host": request.headers.get("host"), "bytes": len(await request.read())}
    found = web.StreamResponse()
    found.enable_chunked_encoding()
    await found.prepare(request)
    for piece in json.dumps(said):
        await found.write(piece.encode())
    return found


@pytest.mark.parametrize(("host", "got"), [("", "fraud"), ("host: shop\r\n", "shop")])
async def test_a_request_of_HTTP_1_0_is_answered_with_and_without_a_host(tmp_path: Path, host: str, got: str) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HERE, 0).start()
        pods = {(OLD, HTTP): (Endpoint(HERE, runner.addresses[0][1]),)}
        router = Router(tmp_path / "router", f"127.0.7.{2 + bool(host)}", pods)
        await asyncio.to_thread(router.tell, Routing("fraud", PORT, (Share(OLD, 10_000),)))
        with router.running():
            await router.until_ready()
            head, body = await asked(router.address, f"POST / HTTP/1.0\r\n{host}content-length: 3\r\n\r\nabc")
    finally:
        await runner.cleanup()

    assert head[0].split(" ")[1] == "200"
    assert f"x-podium-revision: {OLD}" in head
    # HTTP/1.0 knows no chunks: the answer ends with the connection
    assert not [line for line in head if line.startswith("transfer-encoding")]
    assert json.loads(body) == {"host": got, "bytes": 3}
