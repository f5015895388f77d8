"""A client that reads its answer slowly, under a clock that the test turns."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from podium_serving.http.context import Context
from podium_serving.http.message import Request, Response
from podium_serving.http.protocol import Connection
from tests.unit.serving.clock import Clock

LIMIT = 60.0
# Small buffers between the two, so that what the client reads is soon missing in the server's own.
BUFFER = 64 * 1024
PIECE = 2**20
PIECES = 10


@dataclass
class Conversation:
    """A client that has asked for 10 MiB and has read none of them."""

    context: Context
    clock: Clock
    client: socket.socket

    def let_pass(self, seconds: float) -> None:
        self.clock.now += seconds
        self.context.tick()

    async def read(self, size: int) -> int:
        """Reads so many bytes; returns how many came before the end."""
        loop = asyncio.get_running_loop()
        missing = size
        with contextlib.suppress(ConnectionResetError):
            while missing and (piece := await loop.sock_recv(self.client, missing)):
                missing -= len(piece)
        return size - missing


@pytest.fixture
async def conversation() -> AsyncIterator[Conversation]:
    clock = Clock()
    asked = asyncio.Event()

    def answer(_: Request) -> Response:
        asked.set()
        return Response(200, bytes(PIECES * PIECE))

    context = Context(answer, 1000, 620.0, LIMIT, clock)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(context), sock=listener)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await asked.wait()
        yield Conversation(context, clock, client)
    server.close()


async def test_a_client_that_reads_slowly_but_steadily_gets_its_whole_answer(conversation: Conversation) -> None:
    conversation.let_pass(1)
    for _ in range(PIECES):
        assert await conversation.read(PIECE) == PIECE
        conversation.let_pass(LIMIT - 1)
    assert conversation.context.connections


async def test_a_client_that_reads_nothing_any_more_is_cut_off(conversation: Conversation) -> None:
    conversation.let_pass(1)
    await conversation.read(PIECE)
    conversation.let_pass(LIMIT - 1)
    conversation.let_pass(LIMIT - 1)
    assert conversation.context.connections
    conversation.let_pass(2)
    assert await conversation.read(PIECES * PIECE) < (PIECES - 1) * PIECE
