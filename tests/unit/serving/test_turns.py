"""How long one client may hold up the others, under a clock that the test turns and the server's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import uvloop

from podium_serving.http.context import Context
from podium_serving.http.message import Request, Response
from podium_serving.http.protocol import Connection
from tests.unit.serving.clock import Clock
from tests.until import until

TURN = 0.005
SLICE = 64 * 1024
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200"


class Ticking(Clock):
    """A clock of which each look takes some time."""

    look = 0.0

    def __call__(self) -> float:
        self.now += self.look
        return self.now


@dataclass
class Play:
    """A connection whose requests each take `seconds` to be handled."""

    seconds: float
    clock: Ticking = field(default_factory=Ticking)
    seen: list[Request] = field(default_factory=list)
    waiting: "asyncio.Future[Response] | None" = None

    def __post_init__(self) -> None:
        self.context = Context(self.handle, 2**26, 620.0, 60.0, self.clock)

    def handle(self, request: Request) -> "Response | asyncio.Future[Response]":
        self.seen.append(request)
        self.clock.now += self.seconds
        if request.target == b"/later":
            self.waiting = asyncio.get_running_loop().create_future()
            return self.waiting
        return Response(200, request.target)

    @property
    def connection(self) -> Connection:
        (found,) = self.context.connections
        assert isinstance(found, Connection)
        return found

    @property
    def parsed(self) -> int:
        """Requests that were parsed, whether they have been handled or not."""
        return len(self.seen) + len(self.connection._queue)

    async def by_turn(self, count: Callable[[], int], end: int) -> list[int]:
        """What was added to the count in each of the loop's turns until it came to `end`."""
        turns, before = [], count()
        async with asyncio.timeout(20):
            while before < end:
                await asyncio.sleep(0)
                turns.append(count() - before)
                before = count()
        return turns


def play(given: Play, act: "Callable[[Play, socket.socket], Coroutine[None, None, None]]") -> None:
    """Runs `act` with the client's end of a connection."""

    async def whole() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Connection(given.context), "127.0.0.1", 0)
        try:
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.setblocking(False)
                await until(lambda: bool(given.context.connections), 10)
                await act(given, client)
            await until(lambda: not given.context.connections and not given.context.budget.used, 10)
        finally:
            for each in list(given.context.connections):
                each.abort()
            server.close()

    uvloop.run(whole())


async def received(client: socket.socket, answers: int) -> bytes:
    """What the server sends until so many answers are there, or until its end."""
    got = bytearray()
    missing = answers
    async with asyncio.timeout(20):
        while missing > 0 and (more := await asyncio.get_running_loop().sock_recv(client, 2**20)):
            got += more
            missing = answers - got.count(ANSWER) if got.endswith(b"/") else missing
    return bytes(got)


def test_requests_that_are_answered_at_once_are_handled_for_5_ms_before_others_have_their_turn() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        assert client.send(GET * 500) == len(GET) * 500
        turns = await given.by_turn(lambda: len(given.seen), 500)
        assert max(turns) <= 6
        assert (await received(client, 500)).count(ANSWER) == 500

    play(Play(0.001), act)


def test_a_single_slow_request_waits_for_no_further_turn() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        for _ in range(3):
            client.send(GET)
            await received(client, 1)
        assert not given.connection._resting

    play(Play(1.0), act)


def test_answers_keep_their_order_over_many_turns() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        sent = b"".join(b"GET /%d/ HTTP/1.1\r\nhost: x\r\n\r\n" % index for index in range(3000))
        assert client.send(sent) == len(sent)
        got = await received(client, 3000)
        assert [int(each.split(b"/")[0]) for each in got.split(b"\r\n\r\n/")[1:]] == list(range(3000))

    play(Play(0.001), act)


def test_what_was_read_is_not_parsed_either_once_the_turn_is_over() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        assert client.send(GET * 8000) == len(GET) * 8000
        turns = await given.by_turn(lambda: given.parsed, 8000)
        assert max(turns) <= SLICE / len(GET) + 1
        assert (await received(client, 8000)).count(ANSWER) == 8000

    play(Play(TURN / 50), act)


def test_bytes_that_wait_for_their_turn_count_as_memory() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        client.send(GET * 8000)
        await until(lambda: len(given.connection._rest) > 0, 10)
        assert given.context.budget.used >= len(given.connection._rest)
        await received(client, 8000)

    play(Play(TURN / 50), act)


def test_who_sends_many_requests_and_then_nothing_more_gets_all_answers() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        assert client.send(GET * 8000) == len(GET) * 8000
        client.shutdown(socket.SHUT_WR)
        assert (await received(client, 8001)).count(ANSWER) == 8000

    play(Play(TURN / 50), act)


def test_nothing_is_handled_for_who_has_gone_before_his_next_turn() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        client.send(GET * 8000)
        await until(lambda: len(given.connection._rest) > 0, 10)
        given.connection.abort()
        handled = len(given.seen)
        await until(lambda: not given.context.connections, 10)
        assert len(given.seen) == handled

    play(Play(TURN / 50), act)


def test_requests_behind_one_that_takes_long_are_parsed_in_turns_and_answered_when_it_is() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        sent = GET.replace(b" / ", b" /later ") + GET * 8000
        assert client.send(sent) == len(sent)
        given.clock.look = TURN / 4
        # One read of 250 kB; the next one is put off until the queue is shorter.
        turns = await given.by_turn(lambda: given.parsed, 4000)
        assert max(turns) <= SLICE / len(GET) + 1
        assert given.waiting is not None
        given.waiting.set_result(Response(200, b"/"))
        assert (await received(client, 8001)).count(ANSWER) == 8001

    play(Play(0), act)


def test_a_body_in_chunks_of_one_byte_is_parsed_in_turns() -> None:
    async def act(given: Play, client: socket.socket) -> None:
        sent = client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(b"1\r\n \r\n" * 10_000)
        given.clock.look = TURN / 2
        turns = await given.by_turn(lambda: len(given.connection._reader._body), sent // 6 - 100)
        assert max(turns) <= 4 * SLICE / 6

    play(Play(0), act)
