"""The front of the runtime torchserve: HTTP goes through unharmed, and a drain loses no request."""

import asyncio
import contextlib
import importlib
import json
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podium_serving.http import protocol
from podium_serving.metrics import EDGES
from podium_serving.settings import Settings
from tests.until import until

SOURCES = Path("charts/runtimes")


def load() -> Any:
    """As serve.py loads it: the folder is the first to be searched."""
    sys.path.insert(0, str(SOURCES.resolve()))
    try:
        return importlib.import_module("front")
    finally:
        del sys.path[0]


front_module = load()
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Stand:
    """A server and the front before it."""

    front: Any
    port: int
    reason: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer


@contextlib.asynccontextmanager
async def standing(handler: Handler) -> AsyncIterator[Stand]:
    """The front before a server that serves each connection by `handler`; twenty seconds, then it counts as hung."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await handler(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stand: Stand

    async def state() -> str:
        return stand.reason

    front = front_module.Front(server.sockets[0].getsockname(), "digits-x", state)
    listener = await front.listen(0)
    stand = Stand(front, listener.sockets[0].getsockname()[1])
    async with asyncio.timeout(20):
        yield stand
        for writer in stand.writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        for _ in range(3):  # a connection that was just made is accepted in the loop's next round
            await asyncio.sleep(0)
            await until(lambda: not any(each.transport for each in front.clients), 10)
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)
    listener.close()
    server.close()


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status (0 of a request) and headers."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0, headers


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    status, headers = await head_of(reader)
    return status, headers, await reader.readexactly(int(headers["content-length"]))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its own body."""
    while True:
        _, headers = await head_of(reader)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        writer.write(b"HTTP/1.1 200 \r\ncontent-length: %d\r\nconnection: keep-alive\r\n\r\n%b" % (len(body), body))
        await writer.drain()


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /predictions/digits HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_requests_of_one_connection_go_through_one_by_one_and_the_answers_say_the_revision() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        for body in (b"one", b"", b"three"):
            writer.write(post(body))
            status, headers, answer = await answer_of(reader)
            assert (status, answer) == (200, body)
            assert headers["x-podium-revision"] == "digits-x"
            assert headers["connection"] == "keep-alive"


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(post(b"one") + post(b"two") + post(b"three"))

        assert [(await answer_of(reader))[2] for _ in range(3)] == [b"one", b"two", b"three"]


async def test_a_request_in_pieces_goes_through() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        for byte in post(b"slow"):
            writer.write(bytes([byte]))
            await writer.drain()

        assert (await answer_of(reader))[2] == b"slow"


async def test_large_bodies_go_through_both_ways() -> None:
    body = bytes(range(256)) * 40_000
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(post(body))

        assert (await answer_of(reader))[2] == body


@pytest.mark.parametrize("wish", [b"Connection: close", b"connection: Close"])
async def test_a_client_that_wants_to_close_is_closed(wish: bytes) -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(post(b"x", wish))

        assert (await answer_of(reader))[1]["connection"] == "close"
        assert await reader.read() == b""


async def test_chunked_bodies_with_trailers_end_where_they_end() -> None:
    chunks = b"5;a=b\r\nhello\r\n1\r\n \r\n0\r\nX-T: 1\r\n\r\n"

    async def chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            assert await reader.readexactly(len(chunks)) == chunks
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks:
                writer.write(bytes([byte]))
                await writer.drain()

    async with standing(chunked) as stand:
        reader, writer = await stand.connect()
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            status, _ = await head_of(reader)
            assert status == 200
            assert await reader.readexactly(len(chunks)) == chunks


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def until_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall there is")

    async with standing(until_close) as stand:
        reader, writer = await stand.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await head_of(reader))[1]["connection"] == "close"
        assert await reader.read() == b"all there is"


async def test_interim_answers_and_answers_without_a_body_go_through() -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(2) == b"ok"
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        await head_of(reader)

    async with standing(server) as stand:
        reader, writer = await stand.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await head_of(reader))[0] == 100
        writer.write(b"ok")
        assert (await head_of(reader))[0] == 204
        writer.write(b"HEAD / HTTP/1.1\r\n\r\n")
        assert (await head_of(reader))[1]["content-length"] == "99"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"x" * 70_000,
        # What ends a line for TorchServe alone, or for the front alone.
        b"POST / HTTP/1.1\r\nX: y\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nX: y\n\nGET /hidden HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nX: y\rContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \0\r\n\r\n",
        # What is a header for one of two readers, and for the other none or a part of the one before.
        b"GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\r\n Content-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length\r\n\r\n",
        CHUNKED + b"+5\r\n",
        CHUNKED + b"5\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        CHUNKED + b"0\r\n\n",
        CHUNKED + b"0\r\n \r\n\r\n",
        CHUNKED + b"0\r\nX: y\n\r\n",
    ],
)
async def test_a_request_whose_end_is_in_doubt_is_refused(request_: bytes) -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(request_)

        status, _, body = await answer_of(reader)
        assert status == 400
        assert json.loads(body)["error"]
        assert stand.front.in_flight == 0


async def test_what_is_unusual_in_a_head_and_not_in_doubt_goes_through() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(
            b"\r\nPOST http://x/y HTTP/1.1\r\nHost:\r\nX!#$%&'*+-.^_`|~1:\t\xc3\xa9 y\t\r\ncontent-length:2\r\n\r\nok"
        )

        assert (await answer_of(reader))[::2] == (200, b"ok")


LARGE = bytes(4_000_000)
"""More than fits into the buffers between two: of a connection that is closed meanwhile, the answer is lost."""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n" + LARGE, 400),
        (CHUNKED + b"nonsense\r\n" + LARGE, 400),
        (post(LARGE), 413),
        (post(LARGE, b"Connection: close"), 413),
        (post(LARGE), 503),
        (b"GET /podium/ready HTTP/1.1\r\n\r\n" + LARGE, 200),
    ],
)
async def test_a_caller_that_is_still_sending_gets_its_answer_and_the_server_hears_no_more(
    request_: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_module, "LINGER", 60.0, raising=False)  # or its end would hide what lasts until then
    asked, gone = asyncio.Event(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """By the head, and reads on, as TorchServe does where the body is too large."""
        try:
            await head_of(reader)
            asked.set()
            if status == 413:
                writer.write(b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 2\r\n\r\n{}")
            while await reader.read(65536):
                pass
        finally:
            gone.set()

    async with standing(refuse) as stand:
        if status == 503:
            stand.front.server = ("127.0.0.1", 1)
        reader, writer = await stand.connect()
        writer.write(request_)
        await writer.drain()

        answer = await answer_of(reader)
        assert (answer[0], answer[1]["connection"]) == (status, "close")
        assert await reader.read() == b""
        if status == 413:
            await gone.wait()
        assert stand.front.in_flight == 0
    assert asked.is_set() == (status == 413)


async def test_an_answer_that_ends_its_connection_is_not_lost_to_a_request_that_was_sent_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_module, "LINGER", 60.0)
    async with standing(echo) as stand:
        stand.front.draining = True
        reader, writer = await stand.connect()
        writer.write(post(b"one") + post(LARGE))
        await writer.drain()

        _, headers, body = await answer_of(reader)
        assert (headers["connection"], body) == ("close", b"one")
        assert await reader.read() == b""


async def test_a_caller_that_does_not_close_behind_its_last_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "LINGER", 0.05)
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"nonsense\r\n\r\n")
        assert (await answer_of(reader))[0] == 400
        await until(lambda: not stand.front.clients, 20)


async def test_an_answer_that_has_begun_is_cut_off_where_its_request_turns_out_to_be_none() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        await reader.read()

    async with standing(early) as stand:
        reader, writer = await stand.connect()
        writer.write(CHUNKED)
        assert (await head_of(reader))[0] == 200
        writer.write(b"nonsense\r\n")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await until(lambda: not stand.front.in_flight, 20)


async def test_a_server_that_hangs_up_is_a_502() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)

    async with standing(hang_up) as stand:
        reader, writer = await stand.connect()
        writer.write(post(b""))
        assert (await answer_of(reader))[0] == 502
        assert stand.front.in_flight == 0


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


async def test_readiness_is_the_models_and_ends_with_the_drain() -> None:
    async with standing(echo) as stand:

        async def ready() -> tuple[int, str]:
            reader, writer = await stand.connect()
            writer.write(b"GET /podium/ready HTTP/1.1\r\n\r\n")
            status, _, body = await answer_of(reader)
            writer.close()
            return status, json.loads(body)["reason"]

        assert await ready() == (200, "")
        stand.reason = "no worker of the model is READY: UNLOADING"
        assert await ready() == (503, stand.reason)
        stand.reason, stand.front.draining = "", True
        assert await ready() == (503, "told to stop")


def counted(text: str, name: str) -> dict[str, float]:
    """Values by the last label's value ("" if there is none) of a metric of the front."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                found[next(iter(reversed(sample.labels.values())), "")] = sample.value
    return found


async def metrics(stand: Stand) -> str:
    reader, writer = await stand.connect()
    writer.write(b"GET /podium/metrics?a=b HTTP/1.1\r\n\r\n")
    status, _, body = await answer_of(reader)
    assert status == 200
    return body.decode()


async def test_what_callers_saw_is_counted_by_code_class_and_probes_are_not() -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = (await reader.readuntil(b"\r\n")).decode()
            await head_of(reader)
            if "hang-up" in line:
                return
            code = line.split("/")[2].split()[0] if "predictions" in line else "200"
            writer.write(b"HTTP/1.1 %b \r\ncontent-length: 0\r\n\r\n" % code.encode())

    async with standing(server) as stand:
        for path in ("predictions/200", "predictions/200", "predictions/404", "predictions/507", "ping", "hang-up"):
            reader, writer = await stand.connect()
            writer.write(b"POST /%b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % path.encode())
            await answer_of(reader)
        text = await metrics(stand)
        assert stand.front.in_flight == 0

    codes: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "podium_serving_requests_total":
                codes[sample.labels["code_class"]] = codes.get(sample.labels["code_class"], 0) + sample.value
    assert codes == {"2xx": 2, "4xx": 1, "5xx": 2}
    assert counted(text, "podium_serving_requests_started_total") == {"": 5}
    assert counted(text, "podium_serving_request_duration_seconds_count") == {"": 5}
    assert counted(text, "podium_serving_requests_in_flight") == {"": 0}
    buckets = counted(text, "podium_serving_request_duration_seconds_bucket")
    assert [*buckets] == [*(str(edge) for edge in EDGES), "+Inf"]
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets["+Inf"] == 5


async def test_a_caller_that_goes_away_before_its_answer_is_counted_as_abandoned_alone() -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asked.set()
        await reader.read()

    async with standing(never) as stand:
        _, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        writer.transport.abort()
        await until(lambda: not stand.front.in_flight, 20)
        text = await metrics(stand)
    assert counted(text, "podium_serving_requests_abandoned_total") == {"": 1}
    assert counted(text, "podium_serving_request_duration_seconds_count") == {"": 0}


async def test_a_readiness_probe_leaves_nothing_in_flight() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"GET /podium/ready HTTP/1.1\r\n\r\n")
        await answer_of(reader)
        assert stand.front.in_flight == 0


async def test_a_connection_that_has_had_its_time_ends_with_its_next_answer_and_not_before() -> None:
    async with standing(echo) as stand:
        lives = [front_module.Client(stand.front).ends - time.monotonic() for _ in range(200)]
        assert 7.9 < min(lives) < max(lives) <= 12
        stand.front.life = 0.001
        reader, writer = await stand.connect()
        await asyncio.sleep(0.01)
        assert not reader.at_eof()
        writer.write(post(b"one") + post(b"two"))
        for body, wish in ((b"one", "keep-alive"), (b"two", "close")):
            _, headers, answer = await answer_of(reader)
            assert (answer, headers["connection"]) == (body, wish)
        assert await reader.read() == b""


async def test_a_drain_waits_for_what_is_in_flight_and_closes_by_the_header() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asked.set()
        await go_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()

    async with standing(slow) as stand:
        # given a request in flight when the drain begins
        reader, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        drain = asyncio.ensure_future(stand.front.drain(30))
        await asyncio.sleep(front_module.QUIET * 1.5)
        assert not drain.done()

        # when it is answered, then the answer is whole, announces the end, and the drain is over a quiet second later
        go_on.set()
        status, headers, body = await answer_of(reader)
        assert (status, headers["connection"], body) == (200, "close", b"ok")
        assert await reader.read() == b""
        await asyncio.wait_for(drain, 5)


async def test_no_request_is_lost_while_clients_that_obey_the_header_go_on_through_a_drain() -> None:
    answers, warm, stop = [0, 0], asyncio.Event(), asyncio.Event()

    async def client(stand: Stand) -> None:
        streams: Streams | None = None
        while not stop.is_set():
            streams = streams or await stand.connect()
            streams[1].write(post(b"x"))
            _, headers, body = await answer_of(streams[0])
            assert body == b"x"
            answers[stand.front.draining] += 1
            if sum(answers) == 200:
                warm.set()
            if headers["connection"] == "close":
                streams[1].close()
                streams = None
                if stand.front.draining:
                    return  # the Service leads new connections elsewhere
        if streams:
            streams[1].close()

    async with standing(echo) as stand:
        clients = [asyncio.ensure_future(client(stand)) for _ in range(8)]
        await warm.wait()
        await asyncio.wait_for(stand.front.drain(20), 25)
        stop.set()
        await asyncio.gather(*clients)
        assert answers[1] >= 8  # each connection was told to close, by an answer


async def idling(stand: Stand) -> Streams:
    """A connection that has had an answer, and may be asked again."""
    reader, writer = await stand.connect()
    writer.write(post(b"x"))
    assert (await answer_of(reader))[1]["connection"] == "keep-alive"
    return reader, writer


async def test_a_drain_keeps_an_idle_connection_until_its_next_request_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever closes it may meet the request that its caller sends just then."""
    monkeypatch.setattr(front_module, "QUIET", 0.05)
    async with standing(echo) as stand:
        # given a connection that idles for longer than a drain needs to be quiet
        reader, writer = await idling(stand)
        drain = asyncio.ensure_future(stand.front.drain(20))
        await asyncio.wait([drain], timeout=0.5)
        assert not drain.done()

        # when its caller asks again, then it is answered, told to go, and nothing is left to wait for
        writer.write(post(b"late"))
        _, headers, body = await answer_of(reader)
        assert (headers["connection"], body) == ("close", b"late")
        assert await reader.read() == b""
        await asyncio.wait_for(drain, 5)


async def test_a_drain_ends_connections_that_idle_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "QUIET", 0.05)
    monkeypatch.setattr(front_module, "IDLE", 0.3)
    async with standing(echo) as stand:
        reader, _ = await idling(stand)
        await asyncio.wait_for(stand.front.drain(20), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""


def test_a_drain_keeps_idle_connections_as_long_as_podiums_own_server() -> None:
    assert Settings.from_environment({"PODIUM_MODEL": "x"}).drain_idle == front_module.IDLE


async def test_a_drain_does_not_outlast_its_time() -> None:
    asked = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()

    async with standing(never) as stand:
        _, writer = await stand.connect()
        writer.write(post(b""))
        await asked.wait()
        await asyncio.wait_for(stand.front.drain(0.5), 5)
