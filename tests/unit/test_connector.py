"""Whenever the callers of a connector are cancelled, it leaves no connection behind for the end of its loop."""

import asyncio
import ssl
from pathlib import Path

import aiohttp

from tests.cluster.pki import Authority
from tests.integration.connector import Connector
from tests.until import until

TURNS = 60
"""Of the loop: more than a request takes with its handshake, where both ends are in one loop."""


class _Deaf(asyncio.Protocol):
    """Reads nothing once it is connected: no request, and no farewell."""

    def __init__(self, connected: list[asyncio.Transport]) -> None:
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self._connected.append(transport)


async def _ask(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url):
        pass


async def _cancelled_after(turns: int | None, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> int:
    """Ask, and cancel after so many turns, or once connected; answers how many connections the server had."""
    connected: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Deaf(connected), "127.0.0.1", 0, ssl=server_tls)
    connector = Connector(limit=0, ssl=client_tls)
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asking = asyncio.create_task(_ask(session, url))
        for _ in range(turns or 0):
            await asyncio.sleep(0)
        if turns is None:
            await until(lambda: bool(connected))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await connector.abort()
        assert not connector.open()
    server.close()
    await _aborted(connected)
    return len(connected)


async def _aborted(transports: list[asyncio.Transport]) -> None:
    """Until the server's own sockets are closed."""
    for transport in transports:
        transport.abort()
    for _ in range(3):  # from the TLS layer to the socket, and back
        await asyncio.sleep(0)


def test_whenever_its_callers_are_cancelled_no_connection_is_left(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server", "server", hosts=["127.0.0.1"])
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(pair.certificate, pair.key)
    client_tls = ssl.create_default_context(cafile=str(authority.certificate))
    connected = [asyncio.run(_cancelled_after(turns, server_tls, client_tls)) for turns in (*range(TURNS), None)]
    assert connected[0] == 0, "the first is cancelled before it connects"
    assert connected[-1] == 1, "the last is cancelled when it has its connection"
