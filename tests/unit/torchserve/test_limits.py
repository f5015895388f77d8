"""What takes too long, or too much, is cut off, by the limits of Podium's own server."""

import asyncio
import resource
import socket
from dataclasses import dataclass
from typing import Any

import pytest

from podium_serving.http import protocol
from podium_serving.settings import Settings
from tests.unit.torchserve.standing import (
    CHUNKED,
    LARGE,
    Stand,
    answer_of,
    echo,
    front_module,
    head_of,
    idling,
    post,
    standing,
)
from tests.until import until


@dataclass
class Clock:
    """The front's, which the test turns."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def let_pass(self, seconds: float, stand: Stand) -> None:
        self.now += seconds
        stand.front.check(self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(front_module, "time", made)
    return made


async def received(stand: Stand) -> Any:
    """The front's side of the only connection, once something of a request is there."""
    await until(lambda: any(each.ahead or each.request for each in stand.front.clients), 20)
    return next(iter(stand.front.clients))


def test_the_limits_are_those_of_podiums_own_server() -> None:
    settings = Settings.from_environment({"PODIUM_MODEL": "x"})
    assert settings.read_timeout == front_module.STALLED
    assert settings.body_timeout == front_module.WHOLE
    assert settings.keep_alive == front_module.KEEP
    assert protocol._LINGER_SECONDS == front_module.LINGER


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads, and does not answer."""
    while await reader.read(65536):
        pass


HALVES = [b"POST / HT", post(b"0123456789")[:-7], CHUNKED + b"5\r\nhel"]


@pytest.mark.parametrize("half", HALVES)
async def test_a_request_that_stops_halfway_is_answered_408(half: bytes, clock: Clock) -> None:
    async with standing(never) as stand:
        reader, writer = await stand.connect()
        writer.write(half)
        client = await received(stand)
        clock.let_pass(59, stand)
        assert not client.deaf
        clock.let_pass(2, stand)

        status, headers, _ = await answer_of(reader)
        assert (status, headers["connection"]) == (408, "close")
        assert stand.front.in_flight == 0


async def test_the_front_looks_for_what_stalls_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "STALLED", 0.05, raising=False)
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(HALVES[1])
        assert (await answer_of(reader))[0] == 408


async def test_a_body_that_goes_on_arriving_is_waited_for_up_to_ten_minutes(clock: Clock) -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(post(bytes(1000))[:-1000])
        client = await received(stand)
        for left in range(999, 989, -1):
            clock.let_pass(59, stand)
            writer.write(b"x")
            await until(lambda left=left: client.request.left == left, 20)  # type: ignore[misc]
        assert not client.deaf
        clock.let_pass(11, stand)
        assert (await answer_of(reader))[0] == 408


async def test_a_head_has_to_be_there_after_a_minute_however_it_trickles(clock: Clock) -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"PO")
        client = await received(stand)
        clock.let_pass(59, stand)
        writer.write(b"ST")
        await until(lambda: client.ahead == b"POST", 20)
        clock.let_pass(2, stand)
        assert (await answer_of(reader))[0] == 408


async def test_a_caller_whose_body_the_server_does_not_take_is_not_to_blame(clock: Clock) -> None:
    go_on = asyncio.Event()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await head_of(reader)
        await go_on.wait()
        await reader.readexactly(int(headers["content-length"]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()

    async with standing(later) as stand:
        reader, writer = await stand.connect()
        writer.write(post(LARGE * 8))
        client = await received(stand)
        await until(lambda: not client.transport.is_reading(), 20)
        clock.let_pass(61, stand)
        go_on.set()
        assert (await answer_of(reader))[::2] == (200, b"ok")


async def test_a_server_may_take_its_time_to_answer_and_within_its_answer(clock: Clock) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        for piece in (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"o", b"k"):
            await go_on.wait()
            go_on.clear()
            writer.write(piece)
        await reader.read()

    async with standing(slow) as stand:
        stand.front.life = 0
        reader, writer = await stand.connect()
        writer.write(post(b""))
        client = await received(stand)
        for piece in (b"HTTP", b"o", b"k"):
            clock.let_pass(10_000, stand)
            go_on.set()
            if piece == b"HTTP":
                assert (await head_of(reader))[0] == 200
            else:
                assert await reader.readexactly(1) == piece
        clock.let_pass(61, stand)
        assert client in stand.front.clients  # it may be asked again
        assert not client.transport.is_closing()


SIZE = 16 * 2**20


async def much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with more than fits into the buffers on its way."""
    await head_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE + bytes(SIZE))
    await writer.drain()
    await reader.read()


async def test_a_caller_that_does_not_read_its_answer_is_cut_off(clock: Clock) -> None:
    async with standing(much) as stand:
        _, writer = await stand.connect()
        writer.write(post(b""))
        client = await received(stand)
        await until(lambda: client.transport.get_write_buffer_size() > 0, 20)

        def gone() -> bool:
            clock.let_pass(61, stand)  # the kernel's buffers may still grow meanwhile
            return not stand.front.clients

        await until(gone, 20)
        assert stand.front.in_flight == 0
        assert stand.front.counts.abandoned == 0  # its answer had begun


async def test_a_caller_that_is_done_with_sending_is_not_held_for_ever(clock: Clock) -> None:
    async with standing(never) as stand:
        _, writer = await stand.connect()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")  # to which no interim answer can be sent
        client = await received(stand)
        writer.write_eof()
        await until(lambda: client.eof, 20)
        clock.let_pass(599, stand)
        assert not client.transport.is_closing()
        clock.let_pass(2, stand)
        await until(lambda: not stand.front.clients, 20)
        assert stand.front.in_flight == 0
        assert stand.front.counts.abandoned == 1


async def test_a_caller_that_does_not_take_its_answers_is_not_given_more(clock: Clock) -> None:
    async with standing(echo) as stand:
        stand.front.life = 0
        reader, writer = await idling(stand)
        client = next(iter(stand.front.clients))
        client.pause_writing()
        writer.write(post(bytes(1000)) + post(LARGE))
        await until(lambda: client.request or not client.transport.is_reading(), 20)
        assert client.request is None
        clock.let_pass(61, stand)
        assert not client.deaf

        client.resume_writing()
        assert [len((await answer_of(reader))[2]) for _ in range(2)] == [1000, len(LARGE)]


async def test_a_caller_that_reads_slowly_gets_all_of_its_answer(clock: Clock) -> None:
    async with standing(much) as stand:
        reader, writer = await stand.connect()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        writer.write(post(b""))
        client = await received(stand)
        await until(lambda: client.transport.get_write_buffer_size() > 0, 20)

        def unsent() -> int:
            return int(client.transport.get_write_buffer_size())

        await head_of(reader)
        left, before, stalls = SIZE, client.written - unsent(), 0
        while left:
            piece = await reader.read(65536)
            assert piece
            left -= len(piece)
            if unsent() and client.written - unsent() > before:
                before = client.written - unsent()
                clock.let_pass(59, stand)
                stalls += 1
        assert stalls > 2


async def test_a_connection_that_idles_is_closed_after_620_s(clock: Clock) -> None:
    async with standing(echo) as stand:
        stand.front.life = 0  # never to be ended by its age
        silent, _ = await stand.connect()
        await until(lambda: len(stand.front.clients) == 1, 20)
        clock.let_pass(300, stand)
        asked, _ = await idling(stand)
        clock.let_pass(319, stand)
        assert len(stand.front.clients) == 2
        clock.let_pass(2, stand)
        assert await silent.read() == b""
        await until(lambda: len(stand.front.clients) == 1, 20)
        clock.let_pass(300, stand)
        assert await asked.read() == b""


async def test_the_front_accepts_as_many_connections_as_its_system_lets_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        async with standing(echo):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_of_one_connection_a_little_is_read_before_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks of one byte take most time of all: 80 ms for the 256 KiB that asyncio reads at once."""
    sizes = []
    real = front_module.Client.data_received

    def seen(client: Any, data: bytes) -> None:
        sizes.append(len(data))
        real(client, data)

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    monkeypatch.setattr(front_module.Client, "data_received", seen)
    async with standing(server) as stand:
        reader, writer = await stand.connect()
        request = CHUNKED + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
        writer.write(request)
        assert (await head_of(reader))[0] == 204
    assert sum(sizes) == len(request)
    assert max(sizes) <= 32768
