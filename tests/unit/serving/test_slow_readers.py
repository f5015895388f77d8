"""A client that reads its answer slowly, under a clock that the test turns."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import uvloop

from podium_serving.http.context import Context
from podium_serving.http.message import Request, Response
from podium_serving.http.protocol import Connection
from tests.unit.serving.clock import Clock
from tests.until import until

LIMIT = 60.0
# Small buffers between the two, so that what the client reads is soon missing in the server's own.
BUFFER = 64 * 1024
PIECE = 2**20
PIECES = 10
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
# Two of them are less than what makes the loop ask for no more writing.
SMALL = 30_000


@dataclass
class Conversation:
    """A client that has asked for something and has read none of it."""

    context: Context
    clock: Clock
    client: socket.socket

    @property
    def connection(self) -> Connection:
        (found,) = self.context.connections
        assert isinstance(found, Connection)
        return found

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
    """A client that has asked for 10 MiB."""
    async with conversing(PIECES * PIECE) as made:
        yield made


@contextlib.asynccontextmanager
async def conversing(size: int) -> AsyncIterator[Conversation]:
    clock = Clock()
    asked = asyncio.Event()

    def answer(_: Request) -> Response:
        asked.set()
        return Response(200, bytes(size))

    context = Context(answer, 1000, 620.0, LIMIT, clock)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(context), sock=listener)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        await loop.sock_sendall(client, GET)
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


@pytest.mark.parametrize("done", [False, True], ids=["silent", "done with sending"])
async def test_a_client_is_cut_off_however_little_of_its_answers_waits_in_the_server(done: bool) -> None:
    async with conversing(SMALL) as conversation:
        connection, loop = conversation.connection, asyncio.get_running_loop()
        while connection._transport.get_write_buffer_size() < SMALL:
            asked = connection._last_activity
            conversation.clock.now += 0.01
            await loop.sock_sendall(conversation.client, GET)
            await until(lambda asked=asked: connection._last_activity > asked, 10)  # type: ignore[misc]
        assert not connection._write_paused
        if done:
            conversation.client.shutdown(socket.SHUT_WR)
            await until(lambda: connection._eof, 10)
        conversation.let_pass(1)
        conversation.let_pass(LIMIT - 2)
        assert conversation.context.connections
        conversation.let_pass(2)
        await until(lambda: not conversation.context.connections, 10)


def test_what_was_written_just_now_does_not_count_as_unread() -> None:
    """Under the server's own event loop, which sends at the end of its turn."""

    async def play() -> bool:
        loop, clock = asyncio.get_running_loop(), Clock()
        computing = loop.create_future()
        context = Context(lambda _: computing, 1000, 620.0, LIMIT, clock)
        server = await loop.create_server(lambda: Connection(context), "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.sendall(GET)
            await until(lambda: any(each.active for each in context.connections), 10)
            (connection,) = context.connections
            assert isinstance(connection, Connection)
            clock.now += LIMIT + 1
            connection._probe()  # as while a client that is done with sending waits for its answer
            context.tick()
            cut = connection._transport.is_closing()
            connection.abort()
        server.close()
        return cut

    assert not uvloop.run(play())
