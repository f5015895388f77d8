"""What connections may take of a server: memory, time, and the work of those who wait for an answer no longer."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvloop

from podium_serving.budget import Budget
from podium_serving.http.context import Context
from podium_serving.http.message import Request, Response
from podium_serving.http.protocol import Connection
from tests.unit.serving.clock import Clock
from tests.until import until

MIB = 2**20


@dataclass
class Stand:
    """Connections under a clock that the test turns, before a handler that answers when the test says so."""

    context: Context
    clock: Clock
    port: int
    waiting: "list[asyncio.Future[Response]]" = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    instantly: bool = True
    refused: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def handle(self, request: Request) -> "Response | asyncio.Future[Response]":
        self.seen.append(request)
        if request.refusal:
            return request.refusal
        if self.instantly:
            return Response(200, b"%d" % request.body.nbytes)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def no_room(self) -> None:
        self.refused += 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    def let_pass(self, seconds: float) -> None:
        self.clock.now += seconds
        self.context.tick()


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    clock = Clock()
    context = Context(
        handler=lambda request: made.handle(request),
        max_body=64 * MIB,
        keep_alive=620.0,
        read_timeout=60.0,
        clock=clock,
        body_timeout=300.0,
        life=10.0,
        room_timeout=5.0,
        budget=Budget(10 * MIB),
        no_room=lambda: made.no_room(),
        draw=lambda low, high: high,
    )
    server = await asyncio.get_running_loop().create_server(lambda: Connection(context), "127.0.0.1", 0)
    made = Stand(context, clock, server.sockets[0].getsockname()[1])
    async with asyncio.timeout(20):
        yield made
        for writer in made.writers:
            writer.close()
        for waiting in made.waiting:
            waiting.cancel()
        await until(lambda: not context.connections and not context.budget.used, 10)
    server.close()


def post(body: bytes, more: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (more, len(body), body)


def head(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


# Memory


async def test_an_idle_connection_holds_nothing_of_its_last_request(stand: Stand) -> None:
    reader, writer = await stand.connect()
    writer.write(post(bytes(8 * MIB)))
    assert (await answer(reader))[2] == b"%d" % (8 * MIB)
    assert stand.context.budget.used == 0
    body = stand.seen.pop().body
    # Whoever else held the body would have exported it once more.
    assert isinstance(body.obj, bytearray)
    held = body.obj
    body.release()
    held.clear()


async def test_a_broken_off_upload_is_let_go_of_without_a_garbage_collection(stand: Stand) -> None:
    import gc
    import weakref

    gc.disable()
    try:
        _, writer = await stand.connect()
        writer.write(head(8 * MIB) + bytes(4 * MIB))
        await until(lambda: stand.context.budget.used == 8 * MIB, 10)
        (connection,) = stand.context.connections
        gone = weakref.ref(connection._reader)  # type: ignore[attr-defined]
        del connection
        writer.transport.abort()
        await until(lambda: not stand.context.connections, 10)
        await until(lambda: gone() is None, 5)
    finally:
        gc.enable()
    assert stand.context.budget.used == 0


async def test_a_body_for_which_there_is_no_room_is_not_read_until_there_is(stand: Stand) -> None:
    _, first = await stand.connect()
    first.write(head(8 * MIB) + b"x")
    await until(lambda: stand.context.budget.used == 8 * MIB, 10)
    reader, second = await stand.connect()
    second.write(post(bytes(6 * MIB)))
    await until(lambda: any(each._wanted for each in stand.context.connections), 10)  # type: ignore[attr-defined]
    first.transport.abort()
    assert (await answer(reader))[0] == 200


async def test_a_body_that_waits_too_long_for_room_is_refused_with_503_and_may_come_again(stand: Stand) -> None:
    _, first = await stand.connect()
    first.write(head(8 * MIB) + bytes(MIB))
    await until(lambda: stand.context.budget.used == 8 * MIB, 10)
    reader, second = await stand.connect()
    second.write(head(6 * MIB) + b"x")
    await until(lambda: any(each._wanted for each in stand.context.connections), 10)  # type: ignore[attr-defined]
    stand.let_pass(4)
    stand.let_pass(2)
    status, headers, body = await answer(reader)
    assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert b"the memory for requests is used up (PODIUM_MEMORY_BYTES)" in body
    assert stand.refused == 1


async def test_who_announces_a_body_and_hardly_sends_it_gives_its_room_to_others_that_wait(stand: Stand) -> None:
    idle, first = await stand.connect()
    first.write(head(8 * MIB) + bytes(1000))
    await until(lambda: stand.context.budget.used == 8 * MIB, 10)
    stand.let_pass(20)
    assert stand.context.budget.used == 8 * MIB, "as long as nobody waits for it"
    reader, second = await stand.connect()
    second.write(post(bytes(6 * MIB)))
    await until(lambda: any(each._wanted for each in stand.context.connections), 10)  # type: ignore[attr-defined]
    stand.let_pass(1)
    status, _, body = await answer(idle)
    assert status == 408
    assert b"others wait for its memory, and at this pace it takes over 300 s (PODIUM_BODY_SECONDS)" in body
    assert (await answer(reader))[0] == 200


async def test_time_in_which_a_body_was_not_read_for_want_of_room_is_not_held_against_it(stand: Stand) -> None:
    _, first = await stand.connect()
    first.write(head(8 * MIB) + bytes(4 * MIB))
    await until(lambda: stand.context.budget.used == 8 * MIB, 10)
    reader, second = await stand.connect()
    second.write(head(6 * MIB) + b"x")
    await until(lambda: any(each._wanted for each in stand.context.connections), 10)  # type: ignore[attr-defined]
    _, third = await stand.connect()
    third.write(head(6 * MIB) + b"x")
    await until(lambda: len([c for c in stand.context.connections if c._wanted]) == 2, 10)  # type: ignore[attr-defined]
    stand.let_pass(4.8)
    first.transport.abort()
    await until(lambda: stand.context.budget.used == 6 * MIB, 10)
    stand.let_pass(0.2)
    second.write(bytes(6 * MIB - 1))
    assert (await answer(reader))[0] == 200


async def test_a_body_that_is_let_go_of_counts_no_more_while_its_request_waits_for_the_answer(stand: Stand) -> None:
    stand.instantly = False
    _, writer = await stand.connect()
    writer.write(post(bytes(8 * MIB)))
    await until(lambda: len(stand.waiting) == 1, 10)
    assert stand.context.budget.used > 8 * MIB
    stand.seen[-1].let_go()
    assert stand.context.budget.used < MIB


async def test_a_body_that_could_never_fit_is_refused_at_once(stand: Stand) -> None:
    reader, writer = await stand.connect()
    writer.write(head(11 * MIB))
    status, _, body = await answer(reader)
    assert status == 413
    # What is to be raised is the bound that was met, which is not that of bodies.
    for named in (str(10 * MIB), "PODIUM_MEMORY_BYTES", "spec.runtime.resources.limits.memory"):
        assert named in body.decode()
    assert b"PODIUM_MAX_BODY_BYTES" not in body


async def test_a_body_in_chunks_is_taken_up_to_the_very_size_of_the_memory(stand: Stand) -> None:
    size = stand.context.budget.size = 10 * MIB - 100
    reader, writer = await stand.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)))
    assert (await answer(reader))[0] == 200


async def test_bodies_in_chunks_count_as_they_grow(stand: Stand) -> None:
    _, writer = await stand.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n" % (3 * MIB, bytes(3 * MIB)))
    await until(lambda: stand.context.budget.used == 4 * MIB, 10)


async def test_a_pipelining_connection_is_not_read_beyond_what_may_wait(stand: Stand) -> None:
    stand.instantly = False
    _, writer = await stand.connect()
    writer.write(post(bytes(MIB)) * 24)
    await until(lambda: len(stand.waiting) == 1, 10)
    for _ in range(24):
        await until(lambda: stand.context.budget.used > 0, 10)
        assert stand.context.budget.used < 4 * MIB
        count = len(stand.waiting)
        stand.waiting[-1].set_result(Response(200, b""))
        if count < 24:
            await until(lambda count=count: len(stand.waiting) > count, 10)  # type: ignore[misc]


async def test_the_heads_of_requests_that_wait_count_as_their_bodies_do(stand: Stand) -> None:
    stand.instantly = False
    _, writer = await stand.connect()
    writer.write(post(b"x", b"a: %b\r\n" % bytes(b"b" * 50_000)) * 4)
    await until(lambda: stand.context.budget.used > 4 * 50_000, 10)
    for connection in stand.context.connections:
        connection.abort()


async def test_a_large_head_counts_before_it_comes_to_its_end_and_a_small_one_does_not(stand: Stand) -> None:
    _, small = await stand.connect()
    small.write(b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 4000)
    _, large = await stand.connect()
    large.write(b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 50_000)
    await until(lambda: stand.context.budget.used >= 50_000, 10)
    assert stand.context.budget.used < 52_000


async def test_requests_that_wait_cost_time_in_proportion_to_their_number(stand: Stand) -> None:
    stand.instantly = False

    async def seconds(count: int) -> float:
        """Of CPU, for so many requests that come at once behind one that is not answered yet."""
        await stand.connect()
        await until(lambda: len(stand.context.connections) == 1, 10)
        (connection,) = stand.context.connections
        began = time.process_time()
        connection.data_received(post(b"") * count)  # type: ignore[attr-defined]
        taken = time.process_time() - began
        connection.abort()
        await until(lambda: not stand.context.connections, 10)
        return taken

    # In turn, so that both meet the machine in the same state, and again where it has hit one of them alone.
    for _ in range(3):
        taken = [(await seconds(8000), await seconds(2000)) for _ in range(5)]
        large, small = (min(each) for each in zip(*taken, strict=True))
        if large < 9 * small:
            break
    # In proportion it is 4 times, by the square 16 times.
    assert large < 9 * small


async def test_an_answer_that_is_not_read_counts_until_it_is(stand: Stand) -> None:
    stand.context.handler = lambda _: Response(200, bytes(64 * MIB))
    reader, writer = await stand.connect()
    writer.write(post(b""))
    await until(lambda: stand.context.budget.used > 32 * MIB, 10)
    assert len((await answer(reader))[2]) == 64 * MIB
    stand.let_pass(1)
    assert stand.context.budget.used == 0


async def test_a_body_has_a_total_time_however_steadily_it_trickles(stand: Stand) -> None:
    reader, writer = await stand.connect()
    writer.write(head(1000))
    await until(lambda: len(stand.context.connections) == 1, 10)
    (connection,) = stand.context.connections
    for number in range(1, 12):
        writer.write(b"x")
        await until(lambda number=number: len(connection._reader._body) == number, 10)  # type: ignore[misc, attr-defined]
        assert len(stand.context.connections) == 1
        stand.let_pass(29)
    status, _, body = await answer(reader)
    assert (status, b"not complete after 300 s (PODIUM_BODY_SECONDS)" in body) == (408, True)


# Turns


def test_a_fast_client_is_read_in_turn_with_others() -> None:
    """Under the server's own event loop, which takes all that a socket has unless it is stopped."""
    length = 64 * MIB
    context = Context(lambda _: Response(200, b""), 2 * length, 620.0, 60.0, Clock())

    async def read_in_one_turn() -> list[int]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(context), "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            await until(lambda: bool(context.connections), 10)
            sent = client.send(head(length))
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += client.send(bytes(MIB))
            assert sent > 2 * MIB, "the sockets' buffers do not hold enough for this test"
            (connection,) = context.connections
            seen, turns = 0, []
            while seen < sent - len(head(length)):
                await asyncio.sleep(0)
                now = len(connection._reader._body)  # type: ignore[attr-defined]
                turns.append(now - seen)
                seen = now
        server.close()
        return turns

    turns = uvloop.run(read_in_one_turn())
    assert max(turns) <= 1.25 * MIB


# Connections


async def test_a_connection_that_has_had_its_time_ends_with_its_next_answer_and_not_before(stand: Stand) -> None:
    reader, writer = await stand.connect()
    writer.write(post(b"x"))
    assert "connection" not in (await answer(reader))[1]
    stand.let_pass(13)  # a fifth over ten seconds is 12
    stand.let_pass(500)
    assert not reader.at_eof()
    assert len(stand.context.connections) == 1
    writer.write(post(b"x"))
    assert (await answer(reader))[1]["connection"] == "close"
    assert await reader.read() == b""


async def test_requests_that_wait_behind_the_last_answer_are_answered_before_the_end(stand: Stand) -> None:
    stand.instantly = False
    reader, writer = await stand.connect()
    writer.write(post(b"x") * 2)
    await until(lambda: len(stand.waiting) == 1, 10)
    stand.let_pass(13)
    stand.instantly = True
    stand.waiting[0].set_result(Response(200, b""))
    assert "connection" not in (await answer(reader))[1]
    assert (await answer(reader))[1]["connection"] == "close"


def test_lives_are_drawn_from_a_fifth_below_to_a_fifth_above_so_that_not_all_end_at_once() -> None:
    context = Context(lambda _: Response(200, b""), 1, 1, 1, Clock(), life=10.0)
    drawn = [context.end_of_life(0.0) for _ in range(1000)]
    assert 8 <= min(drawn) < 8.5
    assert 11.5 < max(drawn) <= 12
    context.life = 0
    assert context.end_of_life(0.0) == float("inf")


# Clients that have gone


async def test_what_is_computed_for_a_connection_that_is_lost_is_given_up(stand: Stand) -> None:
    stand.instantly = False
    _, writer = await stand.connect()
    writer.write(post(b"x"))
    await until(lambda: len(stand.waiting) == 1, 10)
    writer.transport.abort()
    await until(lambda: stand.waiting[0].cancelled(), 10)


async def test_a_client_that_closed_its_socket_in_good_order_has_gone_as_well(stand: Stand) -> None:
    stand.instantly = False
    _, writer = await stand.connect()
    writer.write(post(b"x"))
    await until(lambda: len(stand.waiting) == 1, 10)
    writer.close()
    await until(lambda: stand.waiting[0].cancelled(), 10)


async def test_a_client_that_is_only_done_with_sending_gets_its_answer(stand: Stand) -> None:
    stand.instantly = False
    reader, writer = await stand.connect()
    writer.write(post(b"x"))
    await until(lambda: len(stand.waiting) == 1, 10)
    writer.write_eof()
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    stand.let_pass(1)
    stand.waiting[0].set_result(Response(200, b"here"))
    while (got := await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100"):
        pass
    assert got.startswith(b"HTTP/1.1 200")
    assert await reader.read() == b"here"


async def test_a_client_of_http_1_0_that_is_done_with_sending_is_sent_nothing_but_its_answer(stand: Stand) -> None:
    stand.instantly = False
    reader, writer = await stand.connect()
    writer.write(b"POST / HTTP/1.0\r\ncontent-length: 1\r\n\r\nx")
    await until(lambda: len(stand.waiting) == 1, 10)
    writer.write_eof()
    (connection,) = stand.context.connections
    await until(lambda: connection._eof, 10)  # type: ignore[attr-defined]
    stand.let_pass(1)  # at which it is looked for
    stand.waiting[0].set_result(Response(200, b"here"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.read() == b"here"


async def test_nobody_is_asked_whether_he_is_still_there_while_nobody_waits_for_others(stand: Stand) -> None:
    stand.instantly = False
    stand.context.crowded = lambda: False
    reader, writer = await stand.connect()
    writer.write(post(b"x"))
    await until(lambda: len(stand.waiting) == 1, 10)
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            pytest.fail(f"was sent {await reader.read(100)!r}")
    stand.waiting[0].set_result(Response(200, b"here"))
    assert (await answer(reader))[2] == b"here"


# Expect


async def test_a_client_that_waits_to_send_its_body_is_told_to_once_the_answers_before_it_are_out(
    stand: Stand,
) -> None:
    stand.instantly = False
    reader, writer = await stand.connect()
    writer.write(post(b"x") + b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    await until(lambda: len(stand.waiting) == 1, 10)
    stand.let_pass(59)
    stand.let_pass(59)
    stand.instantly = True
    stand.waiting[0].set_result(Response(200, b"first"))
    assert (await answer(reader))[2] == b"first"
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ab")
    assert (await answer(reader))[2] == b"2"
