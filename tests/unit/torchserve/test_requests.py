"""Requests go through the front unharmed, one by one, and what is in doubt is refused."""

import asyncio
import json

import pytest

from tests.unit.torchserve.standing import (
    CHUNKED,
    answer_of,
    echo,
    head_of,
    post,
    standing,
)
from tests.until import until


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
        # Who tries every split of the blanks is at it for longer than the stand waits.
        b"POST / HTTP/1.1\r\nContent-Length: 3" + b" " * 60_000 + b"4\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: x" + b"\t" * 60_000 + b"y\r\n\r\n",
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


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("path", [b"/podium/ready", b"/podium/metrics"])
@pytest.mark.parametrize("framing", [b"Content-Length: 24", b"Transfer-Encoding: chunked"])
async def test_a_body_of_what_the_front_answers_itself_is_no_request_to_the_server(
    used: bool, path: bytes, framing: bytes
) -> None:
    heads: list[bytes] = []
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def state() -> str:
        asked.set()
        await go_on.wait()
        return ""

    async with standing(server) as stand:
        stand.front.state = state
        reader, writer = await stand.connect()
        if used:
            writer.write(post(b""))
            assert (await head_of(reader))[0] == 204
        await until(lambda: bool(stand.front.clients), 20)
        client = next(iter(stand.front.clients))
        writer.write(b"GET " + path + b" HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        await until(lambda: client.deaf or asked.is_set(), 20)
        before = client.heard
        writer.write(b"GET /hidden HTTP/1.1\r\n\r\n")
        await until(lambda: client.deaf or client.heard > before, 20)
        go_on.set()
        assert (await answer_of(reader))[0] == 400
        assert len(heads) == used
        assert stand.front.in_flight == 0


@pytest.mark.parametrize("blanks", [b"", b" ", b"\t \t"])
async def test_blanks_around_what_says_where_a_body_ends_are_none_of_it(blanks: bytes) -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length:" + blanks + b"2" + blanks + b"\r\n\r\nok")
        assert (await answer_of(reader))[::2] == (200, b"ok")


async def test_what_is_unusual_in_a_head_and_not_in_doubt_goes_through() -> None:
    async with standing(echo) as stand:
        reader, writer = await stand.connect()
        writer.write(
            b"\r\nPOST http://x/y HTTP/1.1\r\nHost:\r\nX!#$%&'*+-.^_`|~1:\t\xc3\xa9 y\t\r\ncontent-length:2\r\n\r\nok"
        )

        assert (await answer_of(reader))[::2] == (200, b"ok")
