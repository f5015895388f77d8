"""A connection that has ended while it was to be found out whether its client had gone: nothing happens."""

import asyncio
import socket
from typing import Any

import uvloop

from podium_serving.http.context import Context
from podium_serving.http.message import Request, Response
from podium_serving.http.protocol import Connection


class Mourned(Connection):
    """Says when it is over."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.over = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.over.set()


async def ended() -> Connection:
    """A connection that its server has ended while an answer was awaited."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    made: list[Mourned] = []

    def answer(_: Request) -> "asyncio.Future[Response]":
        asked.set()
        return loop.create_future()

    context = Context(answer, 1000, 620.0, 2**20, loop.time)

    def connection() -> Connection:
        made.append(Mourned(context))
        return made[-1]

    server = await loop.create_server(connection, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asked.wait()
        made[0].abort()
        await made[0].over.wait()
    server.close()
    return made[0]


def test_a_client_is_not_looked_for_on_a_connection_that_is_closed_already() -> None:
    failed: list[dict[str, Any]] = []

    async def play() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, context: failed.append(context))
        connection = await ended()
        loop.call_soon(connection._look_for_peer)
        loop.call_soon(done.set)
        await done.wait()

    uvloop.run(play())

    assert not failed
