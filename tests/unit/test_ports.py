"""A reserved port is its owner's to listen on, again and again, and nobody else's until the owner is gone."""

import asyncio
import socket

import pytest

from tests.cluster import ports
from tests.cluster.ports import Port, reserve


async def listen_and_end(port: Port) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
    server.close()
    await server.wait_closed()


def test_the_owner_may_listen_end_and_listen_again() -> None:
    (port,) = reserve(1)
    asyncio.run(listen_and_end(port))
    asyncio.run(listen_and_end(port))


def test_nobody_is_given_a_reserved_port_before_its_owner_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "BELOW_EPHEMERAL", [int(port) for port in reserve(2)])
    first, second = reserve(2)
    assert first != second
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", first))
    number = int(first)
    del first
    assert reserve(1) == [number]
